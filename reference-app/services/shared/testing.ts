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
  drop(): Promise<void>;
}

export interface TestServer {
  readonly postgres: Postgres;
  readonly logFile: string;
  pool(options: { database: string; host?: string; port?: number; user?: string; password?: string; max?: number }): Pool;
  /** A database of its own with the schemas (by default all), roles and no data. With `workload`, `command` may do what this one may. */
  database(options?: { schemas?: readonly string[]; workload?: string }): Promise<TestDatabase>;
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
    async database({ schemas, workload } = {}) {
      const name = `test_${++databases}`;
      const server = pool({ database: 'postgres', max: 1 });
      await server.query(`CREATE DATABASE ${name}`);
      const admin = pool({ database: name });
      const command = { username: `${name}_command`, password: `pass'word "of" ${name}` };
      const query = { username: `${name}_query`, password: 'query-password' };
      const client = await admin.connect();
      try {
        await migrate(client, {
          root: SQL_ROOT, schemas, query, logger: silentLogger(), ...(workload === undefined ? { command } : { logins: [{ workload, ...command }] }),
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
      return {
        name,
        admin,
        command: commandPool,
        query: queryPool,
        async drop() {
          await end(admin, commandPool, queryPool);
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

const APPEND = { name: 'outbox-append', text: `SELECT messaging.publish(${publishParameters(1)})` };

/** Adds events to the outbox by themselves, in the order given; the services do it in the call that makes them true. */
export async function appendToOutbox(database: Pick<pg.ClientBase, 'query'>, events: readonly EventEnvelope[]): Promise<void> {
  if (events.length > 0) await database.query({ ...APPEND, values: publishValues(events) });
}
