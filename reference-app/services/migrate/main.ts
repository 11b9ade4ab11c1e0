import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import Type from 'typebox';
import { databaseConfig, processConfig, readConfig } from '../shared/config.ts';
import { createPool, createSecretsClient, isUnavailable, readDatabaseSecret } from '../shared/database.ts';
import { createLogger } from '../shared/telemetry.ts';
import { migrate } from './migrate.ts';

const Config = Type.Object({
  LOG_LEVEL: processConfig(0).LOG_LEVEL,
  DB_ENGINE: databaseConfig.DB_ENGINE,
  DB_SECRET_ARN: databaseConfig.DB_SECRET_ARN,
  DB_WRITER_ENDPOINT: databaseConfig.DB_WRITER_ENDPOINT,
  DB_PORT: databaseConfig.DB_PORT,
  DB_NAME: databaseConfig.DB_NAME,
  DB_COMMAND_SECRET_ARN: Type.String({ description: 'the ARN of the secret with username and password of the command role' }),
  DB_QUERY_SECRET_ARN: Type.String({ description: 'the ARN of the secret with username and password of the query role' }),
  MIGRATIONS_DIR: Type.String({ default: join(import.meta.dirname, 'migrations'), description: 'the folder of the SQL files' }),
  SEED_FILE: Type.Optional(Type.String({ description: 'a JSON file with the first products, or nothing' })),
  RELAY_SHARDS: Type.Optional(Type.Integer({ minimum: 1, maximum: 32, description: 'in how many shards the relays share the outbox, or nothing to leave it as it is' })),
  MIGRATE_WAIT_SECONDS: Type.Integer({ minimum: 0, default: 300, description: 'how long to wait for a database that is not there yet' }),
});

const logger = createLogger({ service: process.env.SERVICE_NAME || 'migrate', level: process.env.LOG_LEVEL || 'info' });
process.on('SIGTERM', () => process.exit(143));
process.on('SIGINT', () => process.exit(130));

try {
  const config = readConfig(Config);
  const secrets = createSecretsClient();
  const pool = createPool({
    endpoint: config.DB_WRITER_ENDPOINT, secretArn: config.DB_SECRET_ARN, applicationName: 'migrate', max: 1,
    // A migration may take its time, and waits for one that runs already.
    statementTimeoutMs: 0, transactionTimeoutMs: 0, logger, secrets,
  });
  const deadline = Date.now() + config.MIGRATE_WAIT_SECONDS * 1000;
  for (let wait = 250; ; wait = Math.min(wait * 2, 5_000)) {
    try {
      const [command, query] = await Promise.all([
        readDatabaseSecret(config.DB_COMMAND_SECRET_ARN, secrets),
        readDatabaseSecret(config.DB_QUERY_SECRET_ARN, secrets),
      ]);
      const client = await pool.connect();
      try {
        await migrate(client, { directory: config.MIGRATIONS_DIR, command, query, seedFile: config.SEED_FILE, relayShards: config.RELAY_SHARDS, logger });
      } finally {
        client.release(true);
      }
      break;
    } catch (error) {
      if (!isConnectionFailure(error) || Date.now() + wait > deadline) throw error;
      logger.warn({ err: error }, 'the database is not there yet; waiting');
      await sleep(wait);
    }
  }
  await pool.end();
  logger.info('done');
} catch (error) {
  logger.fatal({ err: error }, (error as Error).message);
  process.exitCode = 1;
}

/** A missing table or privilege is a fault of a migration, not a reason to wait. */
function isConnectionFailure(error: unknown): boolean {
  const code = String((error as { code?: unknown } | null)?.code ?? '');
  return isUnavailable(error) && !/^(42|3F)/.test(code);
}
