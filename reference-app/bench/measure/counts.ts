import type pg from 'pg';
import type { Pool } from '../../services/shared/database.ts';

/** The requests of a stage to the database. They do not depend on the machine or its load. */
export interface Counts {
  /** The number of times that a client waits for an answer. */
  readonly roundTrips: number;
  readonly commits: number;
  /** Syncs of the log; commits at the same moment may share one. */
  readonly fsyncs: number;
  readonly walBytes: number;
}

/** Counts the answers that the pool's connections wait for. The returned function reads the number so far. */
export function countRoundTrips(pool: Pool): () => number {
  let count = 0;
  pool.on('connect', (client) => {
    // Sent by the server at the end of each request.
    (client as unknown as { connection: NodeJS.EventEmitter }).connection.on('readyForQuery', () => count++);
  });
  return () => count;
}

const SNAPSHOT = `
  SELECT (SELECT xact_commit FROM pg_stat_database WHERE datname = current_database())::float8 AS commits,
         (SELECT sum(fsyncs) FROM pg_stat_io WHERE object = 'wal')::float8 AS fsyncs,
         pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::float8 AS "walBytes"`;

type Snapshot = Omit<Counts, 'roundTrips'>;

/** Runs the work and counts its requests. The pool must have opened its connections, and nothing else may use the server. */
export async function countWork(
  admin: pg.Pool, pool: Pool, roundTrips: () => number, connections: number, work: () => Promise<void>,
): Promise<Counts> {
  await flushStatistics(pool, connections);
  const before = await snapshot(admin);
  const tripsBefore = roundTrips();
  await work();
  const trips = roundTrips() - tripsBefore;
  await flushStatistics(pool, connections);
  const after = await snapshot(admin);
  return {
    roundTrips: trips,
    // Without the flush itself and the snapshot before.
    commits: Math.max(0, after.commits - before.commits - connections - 1),
    fsyncs: after.fsyncs - before.fsyncs,
    walBytes: after.walBytes - before.walBytes,
  };
}

/** A connection publishes its counters with a delay unless it is asked. */
async function flushStatistics(pool: Pool, connections: number): Promise<void> {
  const clients = await Promise.all(Array.from({ length: connections }, () => pool.connect()));
  await Promise.all(clients.map((client) => client.query('SELECT pg_stat_force_next_flush()')));
  clients.forEach((client) => client.release());
}

async function snapshot(admin: pg.Pool): Promise<Snapshot> {
  const client = await admin.connect();
  try {
    await client.query('SELECT pg_stat_force_next_flush()');
    await client.query('SELECT pg_stat_clear_snapshot()');
    return (await client.query<Snapshot>(SNAPSHOT)).rows[0]!;
  } finally {
    client.release();
  }
}
