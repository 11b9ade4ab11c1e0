import { setTimeout as sleep } from 'node:timers/promises';
import type { SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import Type, { type Static } from 'typebox';
import { MigrationError } from './files.ts';
import { loginConfig, readLogins } from './logins.ts';
import { migrate } from './migrate.ts';
import { databaseConfig, processConfig, readConfig } from '../shared/config.ts';
import { isUnavailable } from '../shared/database-errors.ts';
import { createSecretsClient, secretLogin } from '../shared/database-login.ts';
import { createPool, type Pool } from '../shared/database.ts';
import { createLogger } from '../shared/telemetry.ts';

const Config = Type.Object({
  LOG_LEVEL: processConfig(0).LOG_LEVEL,
  DB_ENGINE: databaseConfig.DB_ENGINE,
  DB_SECRET_ARN: Type.String({ description: 'the ARN of the secret with username and password of the administrator' }),
  DB_CA_FILE: databaseConfig.DB_CA_FILE,
  DB_WRITER_ENDPOINT: databaseConfig.DB_WRITER_ENDPOINT,
  DB_PORT: databaseConfig.DB_PORT,
  DB_NAME: databaseConfig.DB_NAME,
  ...loginConfig,
  SQL_ROOT: Type.String({ default: import.meta.dirname, description: 'the folder of migrations/ and services/, which hold the SQL files' }),
  SEED_FILE: Type.Optional(Type.String({ description: 'a JSON file with the first products, or nothing' })),
  RELAY_SHARDS: Type.Optional(Type.Integer({ minimum: 1, maximum: 32, description: 'in how many shards the relays share the outbox, or nothing to leave it as it is' })),
  MIGRATE_WAIT_SECONDS: Type.Integer({ minimum: 0, default: 300, description: 'how long to wait for a database that is not there yet' }),
  MIGRATE_LOCK_TIMEOUT_MS: Type.Integer({
    minimum: 1, default: 2_000, description: 'for how long a statement waits for a lock, while the statements of the services queue behind it',
  }),
  MIGRATE_LOCK_WAIT_SECONDS: Type.Integer({ minimum: 0, default: 120, description: 'how long to try a file again that does not get its locks' }),
});

/** The exit code when the database cannot be brought to this version at all: EX_DATAERR of sysexits. Any other failure is 1. */
const CANNOT_MIGRATE = 65;

const logger = createLogger({ service: process.env.SERVICE_NAME || 'migrate', level: process.env.LOG_LEVEL || 'info' });
const stop = new AbortController();
let stopCode = 0;
for (const [signal, code] of [['SIGTERM', 143], ['SIGINT', 130]] as const) {
  process.once(signal, () => {
    stopCode = code;
    stop.abort();
  });
}

try {
  await run(readConfig(Config), createSecretsClient());
  logger.info('done');
} catch (error) {
  if (stop.signal.aborted) {
    logger.warn('stopped; the unfinished step is rolled back');
    process.exitCode = stopCode;
  } else if (error instanceof MigrationError) {
    // The message says it all, and another try would fail too.
    logger.fatal(error.message);
    process.exitCode = CANNOT_MIGRATE;
  } else {
    logger.fatal({ err: error }, (error as Error).message);
    process.exitCode = 1;
  }
}

async function run(config: Static<typeof Config>, secrets: SecretsManagerClient): Promise<void> {
  const pool = createPool({
    // The second connection cancels the statement of the first, and sees the sessions in its way.
    endpoint: config.DB_WRITER_ENDPOINT,
    port: config.DB_PORT,
    database: config.DB_NAME,
    login: secretLogin(config.DB_SECRET_ARN, secrets),
    ...(config.DB_CA_FILE === undefined ? {} : { tls: { caFile: config.DB_CA_FILE } }),
    applicationName: 'migrate',
    max: 2,
    // A migration may take its time, and waits for one that runs already.
    statementTimeoutMs: 0,
    logger,
  });
  const deadline = Date.now() + config.MIGRATE_WAIT_SECONDS * 1000;
  try {
    for (let wait = 250; ; wait = Math.min(wait * 2, 5_000)) {
      try {
        return await attempt(pool, config, secrets);
      } catch (error) {
        if (stop.signal.aborted || !isConnectionFailure(error) || Date.now() + wait > deadline) throw error;
        logger.warn({ err: error }, 'the database is not there yet; waiting');
        await sleep(wait, undefined, { signal: stop.signal });
      }
    }
  } finally {
    await pool.end();
  }
}

async function attempt(pool: Pool, config: Static<typeof Config>, secrets: SecretsManagerClient): Promise<void> {
  const logins = await readLogins(config, secrets);
  const client = await pool.connect();
  let cancelled: Promise<unknown> | undefined;
  let backend: number | undefined;
  const cancel = () => {
    cancelled = pool.query('SELECT pg_cancel_backend($1)', [backend]).catch(() => undefined);
  };
  try {
    backend = (await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')).rows[0]?.pid;
    stop.signal.throwIfAborted();
    stop.signal.addEventListener('abort', cancel, { once: true });
    await migrate(client, {
      root: config.SQL_ROOT,
      ...logins,
      seedFile: config.SEED_FILE,
      relayShards: config.RELAY_SHARDS,
      logger,
      signal: stop.signal,
      lockTimeoutMs: config.MIGRATE_LOCK_TIMEOUT_MS,
      lockWaitMs: config.MIGRATE_LOCK_WAIT_SECONDS * 1000,
      watch: pool,
    });
  } finally {
    stop.signal.removeEventListener('abort', cancel);
    await cancelled;
    client.release(true);
  }
}

/** A missing table or privilege is a fault of a migration, not a reason to wait. */
function isConnectionFailure(error: unknown): boolean {
  const code = String((error as { code?: unknown } | null)?.code ?? '');
  return isUnavailable(error) && !/^(42|3F)/.test(code);
}
