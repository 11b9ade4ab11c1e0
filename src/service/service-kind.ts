/**
 * The part that a service has in a pipeline.
 */
export enum ServiceKind {
  /** Answers requests. */
  API = 'API',

  /** Moves events from the outbox to the transport; one works, others stand by. */
  RELAY = 'RELAY',

  /** Brings the schema of a database up to date, once in each deployment that changes it. */
  MIGRATION = 'MIGRATION',

  /** Any other service. */
  SERVICE = 'SERVICE',
}
