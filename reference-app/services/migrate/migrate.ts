import { readFile } from 'node:fs/promises';
import type { ClientBase } from 'pg';
import { MigrationError, readSchemas } from './files.ts';
import { applyFunctions, applyTables, withMigrationLock, type Newer, type Work } from './migrations.ts';
import { ensureLogin, missingRoles, type Login } from './roles.ts';
import { parseCatalog, seedCatalog } from './seed.ts';
import { inspectSession, PooledError } from '../shared/server-session.ts';
import type { Logger } from '../shared/telemetry.ts';

export interface MigrateOptions extends Work {
  /** The folder of `migrations/` and `services/`, which hold the SQL files. */
  readonly root: string;
  /** @default - all schemas of `root` */
  readonly schemas?: readonly string[] | undefined;
  readonly command: Login;
  readonly query: Login;
  /** JSON file with the first products; none in production unless asked for. */
  readonly seedFile?: string | undefined;
  /** In how many shards the relays share the outbox. @default - as many as there are, at first 1 */
  readonly relayShards?: number | undefined;
}

/**
 * Brings schema, roles, privileges and first data to what this version needs. Safe to repeat and to run twice at once. A schema of which
 * the database has a later release stays as it is: its functions serve the programs of this version, too.
 *
 * @throws MigrationError before anything is done, when the database cannot be brought to this version
 */
export async function migrate(
  client: ClientBase, { root, schemas: names, command, query, seedFile, relayShards, ...work }: MigrateOptions,
): Promise<void> {
  if (command.username === query.username) {
    throw new Error(`The command and the query side both have the role ${command.username}: give each side a user of its own.`);
  }
  const schemas = await readSchemas(root, names);
  const catalog = seedFile ? parseCatalog(JSON.parse(await readFile(seedFile, 'utf8'))) : [];
  const { logger, signal } = work;
  await prepareSession(client);
  await withMigrationLock(client, logger, async () => {
    const newer = await applyTables(client, schemas, work);
    if (newer.size > 0) await explainNewer(client, newer, [command.username, query.username], logger);
    signal?.throwIfAborted();
    await ensureLogin(client, command);
    await ensureLogin(client, query);
    const older = schemas.filter(({ name }) => !newer.has(name));
    await applyFunctions(client, older, { command: command.username, query: query.username }, work);
    logger.info({ command: command.username, query: query.username }, 'roles and privileges are right');
    if (!newer.has('messaging')) await makePartitions(client, logger);
    if (relayShards !== undefined) {
      await client.query('SELECT messaging.set_relay_shards($1)', [relayShards]);
      logger.info({ relayShards }, 'shards of the outbox are right');
    }
    const added = catalog.length > 0 && !newer.has('inventory') ? await seedCatalog(client, catalog) : 0;
    if (added > 0) logger.info({ products: added }, 'first products received');
  });
}

/** The limits of the database are for services; the lock of a migration needs one session. */
async function prepareSession(client: ClientBase): Promise<void> {
  if ((await inspectSession(client)).isPooled) throw new MigrationError(new PooledError().message);
  await client.query(`SELECT set_config(name, '0', false) FROM pg_settings
    WHERE name IN ('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout')`);
}

async function explainNewer(client: ClientBase, newer: Newer, roles: readonly string[], logger: Logger): Promise<void> {
  const missing = await missingRoles(client, roles);
  if (missing.length > 0) {
    throw new MigrationError(`This database has a later release of ${[...newer.keys()].join(', ')} than this version, which can't give the new role ${missing.join(' and ')} `
      + 'its privileges: deploy the newer version first, or name the roles that the database has.');
  }
  logger.warn({ releases: Object.fromEntries(newer) },
    'the database has a later release than this version, as after a rollback: its tables, functions, privileges and data stay as they are');
}

/** Those of the first days, so that nothing has to go to the default partitions before the first relay runs. */
async function makePartitions(client: ClientBase, logger: Logger): Promise<void> {
  try {
    for (let done: string | null = ''; done !== null;) {
      const { rows: [row] } = await client.query<{ done: string | null }>('SELECT messaging.maintain(NULL, NULL, interval \'1 day\') AS done');
      done = row!.done;
    }
  } catch (error) {
    // Somebody reads the table; a deployment should not fail for that.
    if ((error as { code?: string }).code !== '55P03') throw error;
    logger.warn('the outbox or the inbox is in use; the relay will make their next partitions');
  }
}
