/** The way to a PostgreSQL server. It is apart from the code, since its users need no types of a client library. */
export interface DatabaseAddress {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  readonly database: string;
}
