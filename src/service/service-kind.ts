/**
 * The part that a service has in a pipeline.
 */
export enum ServiceKind {
  /** An API, which answers requests. */
  API = 'API',

  /** A relay, which moves events from the outbox to the transport; one replica works, the others stand by. */
  RELAY = 'RELAY',

  /** A migration, which brings the schema of a database up to date, once in each deployment that changes it. */
  MIGRATION = 'MIGRATION',

  /** Any other service. */
  SERVICE = 'SERVICE',
}
