import { chmodSync, existsSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import { unprivilegedAccount } from 'cdk-local-run/rds/account';
import type { DatabaseAddress } from 'cdk-local-run/rds/address';
import { findBinaries } from 'cdk-local-run/rds/binaries';
import { startPostgres } from 'cdk-local-run/rds/postgres';
import { startServer } from 'cdk-local-run/rds/server';
import type { Server } from 'cdk-local-run/rds/server';
import pg from 'pg';
import { migrate } from '../../services/migrate/migrate.ts';
import { secretLogin } from '../../services/shared/database-login.ts';
import { createPool } from '../../services/shared/database.ts';
import type { Pool } from '../../services/shared/database.ts';
import { createLogger } from '../../services/shared/telemetry.ts';

/** The bench has its own output; `BENCH_LOG_LEVEL` turns the services' log on. */
export const silent = createLogger({ service: 'bench', level: process.env.BENCH_LOG_LEVEL ?? 'silent' });

export const COMMAND = { username: 'bench_command', password: 'bench-command' };
const QUERY = { username: 'bench_query', password: 'bench-query' };
const TEMPLATE = 'bench_template';
const SQL_ROOT = join(import.meta.dirname, '../..');

/**
 * The settings of a server of this size. It is durable: fsync and synchronous_commit stay on. Checkpoints are rare, so that no slice
 * pays for the writes of another (Aurora has no checkpoints at all).
 */
export const SETTINGS: Readonly<Record<string, string>> = {
  max_connections: '200',
  shared_buffers: '1GB',
  wal_level: 'replica',
  max_wal_size: '12GB',
  min_wal_size: '4GB',
  checkpoint_timeout: '20min',
  timezone: 'UTC',
};

/** The address of one database; plain data, so that it can be sent to threads and processes. */
export interface DatabaseLocation {
  readonly endpoint: string;
  readonly database: string;
}

export interface BenchDatabase {
  readonly location: DatabaseLocation;
  /** Connections of the superuser. */
  readonly admin: pg.Pool;
  drop(): Promise<void>;
}

export interface BenchServer {
  readonly version: string;
  readonly dataDir: string;
  readonly address: DatabaseAddress;
  readonly postmaster: () => number | undefined;
  /**
   * Makes a database with schema and roles.
   *
   * @param endpoint the address in its location, such as that of a proxy @default - the server's own address
   */
  database(name: string, endpoint?: string): Promise<BenchDatabase>;
  stop(): Promise<void>;
}

export interface ServerOptions {
  /** A library that PostgreSQL loads first, and its environment; it makes fsync slow. @default - none */
  readonly preload?: { readonly library: string; readonly env: Readonly<Record<string, string>> };
  /**
   * Starts with log files that can be used again, like a server that has run for a while. A new server fills and syncs 16 MB of zeros
   * for every 16 MB of log. All commits wait for that, and it slows the fastest variant most. Takes 4 GB of disk and about ten seconds.
   * @default false
   */
  readonly usedLog?: boolean;
}

/** Starts the PostgreSQL of the local run with the settings above, in a temporary folder. */
export async function startBenchServer(options: ServerOptions = {}): Promise<BenchServer> {
  const dataDir = mkdtempSync(join(tmpdir(), 'order-pipeline-bench-'));
  // PostgreSQL's account has to get in.
  chmodSync(dataDir, 0o755);
  let server: Server | undefined;
  const pools = new Set<pg.Pool>();
  const stop = async () => {
    await Promise.all([...pools].map((pool) => pool.end()));
    pools.clear();
    await server?.stop();
    await rm(dataDir, { recursive: true, force: true });
    const moved = join(dataDir, 'postgres', 'moved-to');
    if (existsSync(moved)) await rm(readFileSync(moved, 'utf8').trim(), { recursive: true, force: true });
  };
  try {
    // Makes the data folder as the local run does.
    const first = await startPostgres({ dataDir });
    const { user, password } = first.writer;
    const login = { user, password };
    await first.stop();
    const account = unprivilegedAccount();
    const moved = join(dataDir, 'postgres', 'moved-to');
    const home = existsSync(moved) ? readFileSync(moved, 'utf8').trim() : join(dataDir, 'postgres');
    const { postgres } = findBinaries(account);
    server = await startServer({
      name: 'postgres',
      account,
      data: join(home, 'primary'),
      port: 0,
      logFile: join(dataDir, 'postgres.log'),
      login,
      binary: options.preload ? preloading(postgres, dataDir, options.preload) : postgres,
      settings: () => SETTINGS,
    });
    const address = { ...first.writer, port: server.port };
    const admin = (database: string, max = 2) => {
      const pool = new pg.Pool({ ...address, database, max });
      pool.on('error', () => undefined);
      pools.add(pool);
      return pool;
    };
    const end = async (pool: pg.Pool) => {
      if (pools.delete(pool)) await pool.end();
    };
    const root = admin('postgres', 1);
    await root.query(`CREATE DATABASE ${TEMPLATE}`);
    const template = admin(TEMPLATE, 1);
    const client = await template.connect();
    try {
      await migrate(client, { root: SQL_ROOT, command: COMMAND, query: QUERY, logger: silent });
    } finally {
      client.release();
    }
    await end(template);
    if (options.usedLog) await useLog(root);
    const version = (await root.query<{ version: string }>('SELECT split_part(version(), \' \', 2) AS version')).rows[0]!.version;
    const running = server;
    return {
      version,
      dataDir,
      address,
      postmaster: () => running.pid(),
      stop,
      async database(name, endpoint = `${address.host}:${address.port}`) {
        await root.query(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`);
        // A plain copy of files, of which nothing is written to the log again.
        await root.query(`CREATE DATABASE ${name} TEMPLATE ${TEMPLATE} STRATEGY file_copy`);
        const own = admin(name, 4);
        return {
          location: { endpoint, database: name },
          admin: own,
          async drop() {
            // The server was stopped meanwhile.
            if (!pools.has(root)) return;
            await end(own);
            await root.query(`DROP DATABASE ${name} WITH (FORCE)`);
          },
        };
      },
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/**
 * Makes `min_wal_size` of log; the checkpoint sets its files aside for later. The checkpoint of every DROP DATABASE between the rows
 * does the same.
 */
async function useLog(root: pg.Pool): Promise<void> {
  await root.query(`DO $$ BEGIN
    FOR i IN 1..250 LOOP
      PERFORM pg_logical_emit_message(false, 'bench', '');
      PERFORM pg_switch_wal();
    END LOOP;
  END $$`);
  await root.query('CHECKPOINT');
}

/** PostgreSQL does not get our environment, so a script of one line adds the library. */
function preloading(binary: string, folder: string, { library, env }: NonNullable<ServerOptions['preload']>): string {
  const script = join(folder, 'postgres-preloaded');
  const assignments = Object.entries({ ...env, LD_PRELOAD: library }).map(([name, value]) => `${name}='${value}'`).join(' ');
  writeFileSync(script, `#!/bin/sh\n${assignments} exec '${binary}' "$@"\n`);
  chmodSync(script, 0o755);
  return script;
}

/** The services' own pool, as the command role; only the secret comes from here instead of Secrets Manager. */
export function commandPool(location: DatabaseLocation, max: number, applicationName = 'bench'): Pool {
  const secrets = { send: async () => ({ SecretString: JSON.stringify(COMMAND) }) } as unknown as SecretsManagerClient;
  return createPool({ ...location, login: secretLogin('bench', secrets), applicationName, max, logger: silent });
}

/** Opens all connections of the pool at once. */
export async function warm(pool: Pool, size: number): Promise<void> {
  const clients = await Promise.all(Array.from({ length: size }, () => pool.connect()));
  clients.forEach((client) => client.release());
}
