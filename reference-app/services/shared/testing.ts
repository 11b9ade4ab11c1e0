import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import { startPostgres, type Postgres } from 'cdk-local-run/rds/postgres';
import pg from 'pg';
import { secretLogin } from './database-login.ts';
import { createPool, type Pool } from './database.ts';
import { readSchemas } from '../migrate/files.ts';
import { migrate } from '../migrate/migrate.ts';
import { applyFunctions, applyTables } from '../migrate/migrations.ts';
import type { EventEnvelope } from './events/index.ts';
import { publishParameters, publishValues } from './messaging/outbox.ts';
import { createLogger, type Logger } from './telemetry.ts';

// Only tests import this file.

/** The folder of `migrations/` and `services/`. */
export const SQL_ROOT = join(import.meta.dirname, '../..');

/** Makes the tables and functions of these schemas, without roles and privileges. */
export async function createSchemas(pool: Pool, schemas: readonly string[]): Promise<void> {
  const client = await pool.connect();
  try {
    const read = await readSchemas(SQL_ROOT, schemas);
    await applyTables(client, read, { logger: silentLogger() });
    await applyFunctions(client, read, undefined, { logger: silentLogger() });
  } finally {
    client.release();
  }
}

export function silentLogger(): Logger {
  return createLogger({ service: 'test', level: process.env.TEST_LOG_LEVEL ?? 'silent' });
}

export interface TestDatabase {
  /** As the database's administrator. */
  readonly admin: Pool;
  /** As the login of the command side, or of the workload. */
  readonly command: Pool;
  /** As the query role. */
  readonly query: Pool;
  readonly name: string;
  /** Connections as the login of a workload that `logins` names, by default one. */
  as(workload: string, max?: number): Pool;
  drop(): Promise<void>;
}

export interface TestServer {
  readonly postgres: Postgres;
  readonly logFile: string;
  pool(options: { database: string; host?: string; port?: number; user?: string; password?: string; max?: number }): Pool;
  /**
   * A database of its own with the schemas (by default all), roles and no data. With `workload`, `command` may do what this one may; the
   * workloads of `logins` have a login each.
   */
  database(options?: { schemas?: readonly string[]; workload?: string; logins?: readonly string[] }): Promise<TestDatabase>;
  stop(): Promise<void>;
}

/** One real PostgreSQL for a test file; each test takes a database of its own. */
export async function startTestServer(options: { replica?: boolean } = {}): Promise<TestServer> {
  const dataDir = await mkdtemp(join(tmpdir(), 'order-pipeline-test-'));
  const postgres = await startPostgres({ dataDir, replica: options.replica ?? false });
  const { host, port, user, password } = postgres.writer;
  /** Each with its clients that are not released yet. */
  const pools = new Map<Pool, Set<pg.PoolClient>>();
  let databases = 0;

  const watch = (made: Pool) => {
    const taken = new Set<pg.PoolClient>();
    made.on('acquire', (client) => void taken.add(client)).on('release', (_error, client) => void taken.delete(client));
    pools.set(made, taken);
  };

  const pool: TestServer['pool'] = (login) => {
    const created = new pg.Pool({ host, port, user, password, max: 20, ...login, connectionTimeoutMillis: 10_000 });
    created.on('error', () => undefined);
    watch(created);
    return created;
  };
  const end = async (...ended: Pool[]) => {
    for (const one of ended) {
      // A test that fails within a transaction leaves its client, for which the end would wait forever.
      for (const client of pools.get(one) ?? []) client.release(true);
      if (pools.delete(one) && !one.ended) await one.end();
    }
  };

  return {
    postgres,
    logFile: join(dataDir, 'postgres-primary.log'),
    pool,
    async database({ schemas, workload, logins: names = [] } = {}) {
      const name = `test_${++databases}`;
      const server = pool({ database: 'postgres', max: 1 });
      await server.query(`CREATE DATABASE ${name}`);
      const admin = pool({ database: name });
      const command = { username: `${name}_command`, password: `pass'word "of" ${name}` };
      const query = { username: `${name}_query`, password: 'query-password' };
      const logins = names.map((one) => ({ workload: one, username: `${name}_${one}`, password: 'workload-password' }));
      const client = await admin.connect();
      try {
        await migrate(client, {
          root: SQL_ROOT,
          schemas,
          query,
          logger: silentLogger(),
          ...(workload === undefined ? { command, logins } : { logins: [{ workload, ...command }, ...logins] }),
        });
      } finally {
        client.release();
      }
      // As the services make it.
      const commandPool = createPool({
        endpoint: `${host}:${port}`,
        database: name,
        applicationName: 'test',
        max: 20,
        login: secretLogin('test', { send: async () => ({ SecretString: JSON.stringify(command) }) } as unknown as SecretsManagerClient),
      });
      watch(commandPool);
      const queryPool = pool({ database: name, user: query.username, password: query.password });
      const others: Pool[] = [];
      return {
        name,
        admin,
        command: commandPool,
        query: queryPool,
        as(one, max = 1) {
          const login = logins.find((candidate) => candidate.workload === one);
          if (!login) throw new Error(`The test database has no login for ${one}: add it to "logins".`);
          const made = pool({ database: name, user: login.username, password: login.password, max });
          others.push(made);
          return made;
        },
        async drop() {
          await end(admin, commandPool, queryPool, ...others);
          await server.query(`DROP DATABASE ${name} WITH (FORCE)`);
          await end(server);
        },
      };
    },
    async stop() {
      try {
        await end(...pools.keys());
      } finally {
        await postgres.stop();
        await rm(dataDir, { recursive: true, force: true });
      }
    },
  };
}

/** Polls until the condition holds; a test that waits for something never sleeps for a fixed time. */
export async function eventually<T>(read: () => Promise<T> | T, holds: (value: T) => boolean, deadlineMs = 30_000): Promise<T> {
  const deadline = Date.now() + deadlineMs;
  for (;;) {
    const value = await read();
    if (holds(value)) return value;
    if (Date.now() > deadline) throw new Error(`Still not so after ${deadlineMs} ms: ${JSON.stringify(value).slice(0, 500)}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** The status before and after each event of an order. */
const STEPS: Partial<Record<EventEnvelope['type'], readonly [from: string | null, to: string]>> = {
  'order.created': [null, 'PENDING'],
  'inventory.validated': [null, 'PENDING'],
  'order.confirmed': ['PENDING', 'CONFIRMED'],
  'order.update-requested': ['CONFIRMED', 'UPDATE_PENDING'],
  'order.updated': ['UPDATE_PENDING', 'CONFIRMED'],
  'order.update-rejected': ['UPDATE_PENDING', 'CONFIRMED'],
  'order.update-expired': ['UPDATE_PENDING', 'CONFIRMED'],
  'order.cancel-requested': ['CONFIRMED', 'CANCEL_PENDING'],
  'order.expired': ['CANCEL_PENDING', 'EXPIRED'],
};

/**
 * Makes the orders that these events tell of, for a test that begins with the events: what an order has not said is refused. The items are
 * those of the first event.
 */
export async function tellOrders(database: Pick<pg.ClientBase, 'query'>, events: readonly EventEnvelope[]): Promise<void> {
  // In one order: callers at the same time must not wait for each other's rows in a circle.
  const told = events.filter(({ type }) => STEPS[type])
    .sort((a, b) => (a.subject === b.subject ? Number(a.sequence) - Number(b.sequence) : a.subject < b.subject ? -1 : 1));
  const first = told.filter(({ data }) => 'items' in data || 'lines' in data);
  await database.query(
    `INSERT INTO orders.orders (order_id, customer_id, status, version, items)
     SELECT o, 'c', 'PENDING', 1, (SELECT jsonb_agg(jsonb_build_object('sku', sku, 'quantity', quantity) ORDER BY sku COLLATE "C")
       FROM (SELECT l ->> 'sku' AS sku, sum(coalesce(l ->> 'quantity', l ->> 'requested')::int) AS quantity FROM jsonb_array_elements(i::jsonb) AS l GROUP BY 1) AS s)
     FROM unnest($1::uuid[], $2::text[]) AS t (o, i) ON CONFLICT DO NOTHING`,
    [first.map(({ subject }) => subject), first.map(({ data }) => JSON.stringify('items' in data ? data.items : (data as { lines: unknown }).lines))],
  );
  await database.query(
    `INSERT INTO orders.status_change (order_id, version, from_status, to_status, event_id)
     SELECT * FROM unnest($1::uuid[], $2::int[], $3::text[], $4::text[], $5::uuid[]) ON CONFLICT DO NOTHING`,
    [told.map(({ subject }) => subject), told.map(({ sequence }) => sequence), told.map(({ type }) => STEPS[type]![0]),
      told.map(({ type }) => STEPS[type]![1]), told.map(({ id }) => id)],
  );
}

/** Makes the ledger say these answers, for a test that begins with them. */
export async function tellLedger(database: Pick<pg.ClientBase, 'query'>, events: readonly EventEnvelope[]): Promise<void> {
  const told = events.flatMap((event) => (event.type === 'inventory.updated' ? event : []));
  const types = { RESERVED: 'RESERVE', REJECTED: 'REJECT', DEDUCTED: 'COMMIT', RELEASED: 'RELEASE', RETURNED: 'RETURN' };
  await database.query(
    `INSERT INTO inventory.ledger (document_id, version, line, type, sku, location, delta_on_hand, delta_reserved, event_id)
     SELECT o, v, 1 + floor(random() * 1000000000), t, 'A', CASE t WHEN 'COMMIT' THEN 'MAIN' END, d, d, e
     FROM (SELECT o, v, t, e, CASE t WHEN 'COMMIT' THEN -1 ELSE 0 END AS d FROM unnest($1::uuid[], $2::int[], $3::text[], $4::uuid[]) AS u (o, v, t, e)) AS said
     WHERE NOT EXISTS (SELECT FROM inventory.ledger l WHERE l.document_id = o AND l.event_id = e)`,
    [
      told.map(({ subject }) => subject), told.map(({ sequence }) => sequence), told.map(({ data }) => types[data.outcome]),
      told.map(({ id }) => id),
    ],
  );
}

const APPEND = { name: 'outbox-append', text: `SELECT messaging.publish(${publishParameters(1)})` };

/** Adds events to the outbox by themselves, in the order given; the services do it in the call that makes them true. */
export async function appendToOutbox(database: Pick<pg.ClientBase, 'query'>, events: readonly EventEnvelope[]): Promise<void> {
  if (events.length > 0) await database.query({ ...APPEND, values: publishValues(events) });
}
