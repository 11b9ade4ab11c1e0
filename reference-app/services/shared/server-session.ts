import type { ClientBase } from 'pg';

/** The server at the other end of a connection. */
export interface ServerSession {
  /**
   * A pooler or proxy (RDS Proxy, PgBouncer) is between. In its transaction mode the next transaction may run in another session, so there
   * are no settings, prepared statements and locks of a session. It gives the connection a process id of its own, which shows it.
   */
  readonly isPooled: boolean;
  /** A replica, or a former writer after a failover. */
  readonly isReader: boolean;
}

/** Refuses a connection that does not keep its session. */
export class PooledError extends Error {
  override readonly name = 'PooledError';

  constructor() {
    super('DB_WRITER_ENDPOINT leads to a pooler or proxy, which gives each transaction another session, so locks of a session would not hold: '
      + 'set it to the endpoint of the database.');
  }
}

/** Asks the server about itself. */
export async function inspectSession(client: ClientBase): Promise<ServerSession> {
  const { rows: [session] } = await client.query<{ pid: number; reader: boolean }>('SELECT pg_backend_pid() AS pid, pg_is_in_recovery() AS reader');
  return { isPooled: session!.pid !== (client as { processID?: number | null }).processID, isReader: session!.reader };
}
