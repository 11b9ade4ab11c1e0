import { readFile } from 'node:fs/promises';
import type { ClientBase } from 'pg';
import { MigrationError, readSchemas } from './files.ts';
import { ensureGroups, ensureMembership, formerLogins, Groups, missingGroups, otherLogins, type GroupName } from './groups.ts';
import { applyFunctions, applyTables, withMigrationLock, type Newer, type Work } from './migrations.ts';
import { ensureLogin, type Login } from './roles.ts';
import { parseCatalog, seedCatalog } from './seed.ts';
import { inspectSession, PooledError } from '../shared/server-session.ts';
import type { Logger } from '../shared/telemetry.ts';

export interface MigrateOptions extends Work {
  /** The folder of `migrations/` and `services/`, which hold the SQL files. */
  readonly root: string;
  /** @default - all schemas of `root` */
  readonly schemas?: readonly string[] | undefined;
  /** The login that may do what all workloads of the command side may. @default - none */
  readonly command?: Login | undefined;
  /** The same of the query side. @default - none */
  readonly query?: Login | undefined;
  /** Logins that may do what one workload may. @default - none */
  readonly logins?: readonly (Login & { readonly workload: string })[] | undefined;
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
  client: ClientBase, { root, schemas: names, command, query, logins: ofWorkloads = [], seedFile, relayShards, ...work }: MigrateOptions,
): Promise<void> {
  const schemas = await readSchemas(root, names);
  const groups = new Groups(await databaseName(client), schemas);
  const logins: (Login & { readonly groups: readonly GroupName[] })[] = [
    ...(command ? [{ ...command, groups: groups.groupsFor({ side: 'command' }) }] : []),
    ...(query ? [{ ...query, groups: groups.groupsFor({ side: 'query' }) }] : []),
    ...ofWorkloads.map((login) => ({ ...login, groups: groups.groupsFor(login) })),
  ];
  const usernames = logins.map(({ username }) => username);
  const twice = usernames.find((username, i) => usernames.indexOf(username) < i);
  if (twice !== undefined) throw new Error(`Two sides or workloads both have the role ${twice}: give each a user of its own.`);
  const catalog = seedFile ? parseCatalog(JSON.parse(await readFile(seedFile, 'utf8'))) : [];
  const { logger, signal } = work;
  await prepareSession(client);
  await withMigrationLock(client, work, async () => {
    const newer = await applyTables(client, schemas, work);
    if (newer.size > 0) await explainNewer(client, newer, groups, logins, logger);
    signal?.throwIfAborted();
    const former = (await missingGroups(client, groups, ['command'])).length > 0 ? await formerLogins(client) : [];
    await ensureGroups(client, groups);
    for (const login of logins) await ensureLogin(client, login, logger);
    // Before anything is taken away from them.
    for (const { username, side } of former.filter((one) => !usernames.includes(one.username))) {
      await ensureMembership(client, groups, username, groups.groupsFor({ side }), true);
    }
    for (const { username, groups: wanted } of logins) await ensureMembership(client, groups, username, wanted, newer.size > 0);
    const older = schemas.filter(({ name }) => !newer.has(name));
    await applyFunctions(client, older, { groups, logins: usernames }, work);
    logger.info({ logins: Object.fromEntries(logins.map(({ username, groups: [group] }) => [username, group])) }, 'roles and privileges are right');
    const others = await otherLogins(client, groups, usernames);
    if (others.length > 0) {
      logger.warn({ others }, 'other logins have rights in this database and are not in the list of this run: drop them when no program uses them any more');
    }
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

async function databaseName(client: ClientBase): Promise<string> {
  return (await client.query<{ name: string }>('SELECT current_database() AS name')).rows[0]!.name;
}

async function explainNewer(
  client: ClientBase, newer: Newer, groups: Groups, logins: readonly (Login & { readonly groups: readonly GroupName[] })[], logger: Logger,
): Promise<void> {
  const missing = await missingGroups(client, groups, [...new Set(logins.flatMap((login) => login.groups))]);
  if (missing.length > 0) {
    throw new MigrationError(`This database has a later release of ${[...newer.keys()].join(', ')} than this version, which has no rights for ${missing.join(' and ')}: `
      + 'deploy the newer version first, or leave the login out.');
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
