import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ClientBase } from 'pg';
import type { Logger } from '../shared/telemetry.ts';
import { applyGrants, applyMigrations, readMigrations, withMigrationLock } from './migrations.ts';
import { ensureLogin, type Login } from './roles.ts';
import { parseCatalog, seedCatalog } from './seed.ts';

export interface MigrateOptions {
  /** Folder of the SQL files. */
  readonly directory: string;
  readonly command: Login;
  readonly query: Login;
  /** JSON file with the first products; none in production unless asked for. */
  readonly seedFile?: string | undefined;
  /** In how many shards the relays share the outbox. @default - as many as there are, at first 1 */
  readonly relayShards?: number | undefined;
  readonly logger: Logger;
}

/** Brings schema, roles, privileges and first data to what this version needs. Safe to repeat and to run twice at once. */
export async function migrate(client: ClientBase, { directory, command, query, seedFile, relayShards, logger }: MigrateOptions): Promise<void> {
  if (command.username === query.username) {
    throw new Error(`The command and the query secret both name the role ${command.username}: give each side a user of its own.`);
  }
  const migrations = await readMigrations(directory);
  const grants = await readFile(join(directory, 'grants.sql'), 'utf8');
  const catalog = seedFile ? parseCatalog(JSON.parse(await readFile(seedFile, 'utf8'))) : [];
  await withMigrationLock(client, async () => {
    for (const { version, name } of await applyMigrations(client, migrations)) logger.info({ version, name }, 'migration applied');
    await ensureLogin(client, command);
    // Belt and braces: the grants allow no write either.
    await ensureLogin(client, query, { default_transaction_read_only: 'on' });
    await applyGrants(client, grants, { command: command.username, query: query.username });
    logger.info({ command: command.username, query: query.username }, 'roles and privileges are right');
    await makePartitions(client, logger);
    if (relayShards !== undefined) {
      await client.query('SELECT messaging.set_relay_shards($1)', [relayShards]);
      logger.info({ relayShards }, 'shards of the outbox are right');
    }
    const added = catalog.length > 0 ? await seedCatalog(client, catalog) : 0;
    if (added > 0) logger.info({ products: added }, 'first products received');
  });
}

/** Those of the first days, so that nothing has to go to the default partitions before the first relay runs. */
async function makePartitions(client: ClientBase, logger: Logger): Promise<void> {
  try {
    for (let done: string | null = ''; done !== null;) {
      const { rows: [row] } = await client.query<{ done: string | null }>(`SELECT messaging.maintain(NULL, NULL, interval '1 day') AS done`);
      done = row!.done;
    }
  } catch (error) {
    // Somebody reads the table; a deployment should not fail for that.
    if ((error as { code?: string }).code !== '55P03') throw error;
    logger.warn('the outbox or the inbox is in use; the relay will make their next partitions');
  }
}
