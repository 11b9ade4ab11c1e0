/** How a client connects to a PostgreSQL server. Apart from the code, since its users need no types of a client library. */
export interface DatabaseAddress {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  readonly database: string;
}
