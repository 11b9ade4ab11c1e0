import { setTimeout as sleep } from 'node:timers/promises';
import pg, { type ClientBase } from 'pg';
import { MigrationError, type Schema, type SqlFile } from './files.ts';
import type { Groups } from './groups.ts';
import { ensurePolicies } from './policies.ts';
import type { Logger } from '../shared/telemetry.ts';

/** One number for every run of this job against a database; any other tool uses another. */
const LOCK = 4_715_330_219;
const LOCK_POLL_MS = 100;

/** Runs one after another what several processes started at once. The lock ends with the connection. */
export async function withMigrationLock<T>(
  client: ClientBase, { logger, signal }: Pick<Work, 'logger' | 'signal'>, work: () => Promise<T>,
): Promise<T> {
  const isTaken = async () => (await client.query<{ taken: boolean }>('SELECT pg_try_advisory_lock($1) AS taken', [LOCK])).rows[0]!.taken;
  if (!await isTaken()) {
    logger.info('another migration is running; waiting');
    // Not in a statement that waits: CREATE INDEX CONCURRENTLY of the other one would wait for this one.
    do await sleep(LOCK_POLL_MS * (1 + Math.random()), undefined, { signal }); while (!await isTaken());
  }
  try {
    return await work();
  } finally {
    await client.query('SELECT pg_advisory_unlock($1)', [LOCK]).catch(() => undefined);
  }
}

const LOCK_TIMEOUT_MS = 2_000;
const LOCK_WAIT_MS = 120_000;

/** The work on a database that others use at the same time. */
export interface Work {
  readonly logger: Logger;
  /** Ends the work before the next file. */
  readonly signal?: AbortSignal | undefined;
  /**
   * Milliseconds for which a statement waits for a lock. All statements that need the same table queue behind it, so this is well below the
   * 30 s after which the services give up a statement.
   *
   * @default 2000
   */
  readonly lockTimeoutMs?: number | undefined;
  /** Milliseconds in which a file that does not get its locks is tried again. @default 120000 */
  readonly lockWaitMs?: number | undefined;
  /** Another connection, which finds out the sessions that hold the locks. @default - an error does not name them */
  readonly watch?: Pick<ClientBase, 'query'> | undefined;
}

/** The roles whose privileges are brought to `grants.sql`. */
export interface Roles {
  readonly groups: Groups;
  /** The logins, which have no privilege but those of their groups. */
  readonly logins: readonly string[];
}

/** The schemas of which the database has a later release than this version, as after a rollback, by name. */
export type Newer = ReadonlyMap<string, { readonly database: number; readonly here: number }>;

/**
 * Applies the numbered files that are missing, each in a transaction with its record.
 *
 * @throws MigrationError before anything is done, when the database cannot be brought to this version
 */
export async function applyTables(client: ClientBase, schemas: readonly Schema[], work: Work): Promise<Newer> {
  const applied = await readApplied(client);
  const releases = await readReleases(client);
  const missing = schemas.flatMap((schema) => missingFiles(schema, applied, releases.get(schema.name)?.begun ?? 0));
  for (const { name, release } of schemas) {
    if (release > (releases.get(name)?.begun ?? 0)) await client.query(BEGIN_RELEASE, [name, release]);
  }
  for (const file of missing) {
    await (NO_TRANSACTION.test(file.sql) ? withoutTransaction(client, work, file) : withLocks(client, work, () => apply(client, file)));
    work.logger.info({ file: file.path }, 'migration applied');
  }
  const newer = schemas.map(({ name, release }) => [name, { database: releases.get(name)?.finished ?? 0, here: release }] as const);
  return new Map(newer.filter(([, { database, here }]) => database > here));
}

/**
 * Applies the functions that are new or have changed, drops those that have no file any more, and brings privileges and row policies to
 * `grants.sql` and `workloads.json`, which are applied whole so that drift ends. All of a schema is one transaction: nobody sees a function
 * without its privileges, with those that PostgreSQL gives to everybody at first, or without another function that it calls. With it the
 * release of the schema is finished.
 *
 * @param roles @default - privileges stay as they are
 */
export async function applyFunctions(client: ClientBase, schemas: readonly Schema[], roles: Roles | undefined, work: Work): Promise<void> {
  if (roles) await client.query('REVOKE CREATE ON SCHEMA public FROM PUBLIC');
  const applied = await readApplied(client);
  for (const schema of schemas) {
    const changed = schema.repeatable.filter(({ name, checksum }) => applied.get(name) !== checksum);
    const names = new Set(schema.repeatable.map(({ name }) => name));
    const dropped = [...applied.keys()].filter((name) => name.startsWith(`${schema.name}.`) && !names.has(name));
    await withLocks(client, work, async () => {
      for (const file of changed) {
        work.signal?.throwIfAborted();
        await (applied.has(file.name) ? replace(client, file) : apply(client, file));
      }
      for (const name of dropped) await dropRepeatable(client, name);
      if (roles) {
        await client.query(roles.groups.grantsOf(schema, roles.logins));
        await ensurePolicies(client, schema, roles.groups);
      }
      await client.query(FINISH_RELEASE, [schema.name, schema.release]);
    });
    for (const { path } of changed) work.logger.info({ file: path }, 'function applied');
    for (const name of dropped) work.logger.info({ name }, 'function dropped, which has no file any more');
  }
}

/**
 * The numbered files that the database does not have. It may have further ones, of a later release, which has begun at least; without one,
 * or before files of this version, they are of another history.
 */
function missingFiles({ name: schema, numbered, release }: Schema, applied: ReadonlyMap<string, string>, begun: number): SqlFile[] {
  const there = [...applied.keys()].filter((name) => name.startsWith(`${schema}/`)).sort();
  const last = numbered.at(-1)?.name ?? '';
  for (const name of there) {
    const file = numbered.find((one) => one.name === name);
    if (!file && begun > release && name > last) continue;
    if (!file) {
      throw new MigrationError(`This database has migrations/${name}, which this version does not know, and which is of no later release of ${schema}: `
        + 'deploy the version that has the file (in a local run: start with --fresh).');
    }
    if (file.checksum !== applied.get(name)) {
      throw new MigrationError(`${file.path} was changed after this database applied it: restore the file and put the change into a new one (in a local run: start with --fresh).`);
    }
  }
  const newest = there.at(-1) ?? '';
  const missing = numbered.filter(({ name }) => !applied.has(name));
  for (const { name, path } of missing) {
    if (name < newest) throw new MigrationError(`${path} comes before migrations/${newest}, which is applied: give it a higher number.`);
  }
  return missing;
}

/** File → checksum. */
async function readApplied(client: ClientBase): Promise<Map<string, string>> {
  await refuseFormerLayout(client);
  await client.query(`CREATE SCHEMA IF NOT EXISTS migration;
    CREATE TABLE IF NOT EXISTS migration.applied (
      name       text        PRIMARY KEY COLLATE "C",
      checksum   text        NOT NULL,
      applied_at timestamptz NOT NULL DEFAULT now()
    )`);
  const { rows } = await client.query<{ name: string; checksum: string }>('SELECT name, checksum FROM migration.applied');
  return new Map(rows.map(({ name, checksum }) => [name, checksum]));
}

interface Release {
  /** Its tables may be there, some or all. */
  readonly begun: number;
  /** Everything of it is there. */
  readonly finished: number;
}

/** Schema → its releases. */
async function readReleases(client: ClientBase): Promise<Map<string, Release>> {
  await client.query(`CREATE TABLE IF NOT EXISTS migration.release (
    schema      text        PRIMARY KEY COLLATE "C",
    begun       int         NOT NULL,
    finished    int         NOT NULL DEFAULT 0,
    finished_at timestamptz
  )`);
  const { rows } = await client.query<Release & { schema: string }>('SELECT schema, begun, finished FROM migration.release');
  return new Map(rows.map((row) => [row.schema, row]));
}

const BEGIN_RELEASE = `INSERT INTO migration.release (schema, begun) VALUES ($1, $2)
  ON CONFLICT (schema) DO UPDATE SET begun = excluded.begun WHERE release.begun < excluded.begun`;

const FINISH_RELEASE = 'UPDATE migration.release SET finished = $2, finished_at = now() WHERE schema = $1 AND finished < $2';

/** The first layout had one row of files for all schemas, and its functions in them. */
async function refuseFormerLayout(client: ClientBase): Promise<void> {
  const { rows: [journal] } = await client.query<{ exists: boolean }>('SELECT to_regclass(\'messaging.schema_migration\') IS NOT NULL AS exists');
  if (!journal?.exists) return;
  const { rows } = await client.query<{ file: string }>(
    "SELECT to_char(version, 'FM000') || '-' || name || '.sql' AS file FROM messaging.schema_migration ORDER BY version");
  const files = rows.map(({ file }) => file).join(', ');
  throw new MigrationError(
    `This database was made from the former migration files (${files}), which this version does not have: `
    + 'use an empty database (in a local run: start with --fresh).',
  );
}

/** The first line of a numbered file whose statements stand alone, as CREATE INDEX CONCURRENTLY must. */
const NO_TRANSACTION = /^-- no transaction\r?\n/;

/**
 * Applies the statements of a file one by one, each of which waits for others, but nobody for it. The record comes last: after an error in
 * the middle all of them are done again.
 */
async function withoutTransaction(client: ClientBase, work: Work, file: SqlFile): Promise<void> {
  const { lockWaitMs = LOCK_WAIT_MS } = work;
  const holders = await watchLocks(client, work.watch, LOCK_TIMEOUT_MS);
  try {
    await client.query(`SET lock_timeout = ${Math.ceil(lockWaitMs)}`);
    let lines = '';
    for (const sql of file.sql.split(/(?<=;)$/m)) {
      work.signal?.throwIfAborted();
      // On the line where it stands, which an error names.
      await send(client, file, lines + sql);
      lines += sql.replace(/[^\n]/g, '');
    }
    await client.query(recordOf(file));
  } catch (error) {
    if (!(error instanceof pg.DatabaseError) || error.code !== '55P03') throw error;
    throw new Error(givenUp(error, 1, holders.last()), { cause: error });
  } finally {
    holders.stop();
    await client.query('SET lock_timeout = 0').catch(() => undefined);
  }
}

/** Applies a file with its record in one call. */
async function apply(client: ClientBase, file: SqlFile): Promise<void> {
  await send(client, file, `${file.sql}\n;${recordOf(file)}`);
}

function recordOf({ name, checksum }: SqlFile): string {
  return `INSERT INTO migration.applied (name, checksum) VALUES (${pg.escapeLiteral(name)}, ${pg.escapeLiteral(checksum)})
    ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now()`;
}

/** Sends statements of a file, and names it in an error. */
async function send(client: ClientBase, { path }: SqlFile, sql: string): Promise<void> {
  try {
    await client.query(sql);
  } catch (error) {
    if (error instanceof pg.DatabaseError) {
      // The position counts characters, from 1, and not the halves of which JavaScript makes some of them.
      const line = error.position ? `:${Array.from(sql).slice(0, Number(error.position)).join('').split('\n').length}` : '';
      error.message = `${path}${line}: ${error.message}`;
    }
    throw error;
  }
}

/** In place, unless its type has changed. Signatures that the file does not make any more are dropped. */
async function replace(client: ClientBase, file: SqlFile): Promise<void> {
  const before = await objectsOf(client, file.name);
  await client.query('SAVEPOINT before_file');
  try {
    await apply(client, file);
    const after = await objectsOf(client, file.name);
    const untouched = before.filter((one) => after.some(({ oid, version }) => oid === one.oid && version === one.version));
    for (const { kind, signature } of untouched) if (kind === 'ROUTINE') await client.query(`DROP ROUTINE ${signature}`);
  } catch (error) {
    // CREATE OR REPLACE cannot change the type of a result, the name of a parameter or the columns of a view.
    if (!(error instanceof pg.DatabaseError) || !['42P13', '42P16'].includes(error.code ?? '')) throw error;
    await client.query('ROLLBACK TO before_file');
    await drop(client, file.name);
    await apply(client, file);
  }
  await client.query('RELEASE before_file');
  await inherit(client, before, await objectsOf(client, file.name));
}

/** Gives new objects the privileges of the former ones: `grants.sql` speaks of the roles of this run, and another profile has its own. */
async function inherit(client: ClientBase, before: readonly DatabaseObject[], after: readonly DatabaseObject[]): Promise<void> {
  for (const { oid, kind, signature } of after) {
    if (before.some((one) => one.oid === oid)) continue;
    for (const { privilege, role } of before.flatMap((one) => (one.kind === kind ? one.privileges : []))) {
      await client.query(`GRANT ${privilege} ON ${kind === 'VIEW' ? 'TABLE' : kind} ${signature} TO ${role}`);
    }
  }
}

async function dropRepeatable(client: ClientBase, name: string): Promise<void> {
  await drop(client, name);
  await client.query('DELETE FROM migration.applied WHERE name = $1', [name]);
}

async function drop(client: ClientBase, name: string): Promise<void> {
  for (const { kind, signature } of await objectsOf(client, name)) await client.query(`DROP ${kind} ${signature}`);
}

interface DatabaseObject {
  readonly kind: 'ROUTINE' | 'VIEW';
  readonly oid: string;
  readonly signature: string;
  /** Another after each change. */
  readonly version: string;
  /** Without those of the owner and of PUBLIC. */
  readonly privileges: readonly { readonly privilege: string; readonly role: string }[];
}

/** The routines and the view of this name. */
async function objectsOf(client: ClientBase, name: string): Promise<DatabaseObject[]> {
  const { rows } = await client.query<DatabaseObject>(
    `SELECT o.kind, o.oid::text, o.signature, o.version::text, (
       SELECT coalesce(json_agg(json_build_object('privilege', a.privilege_type, 'role', a.grantee::regrole::text)), '[]')
       FROM aclexplode(o.acl) a WHERE a.grantee NOT IN (0, o.owner)) AS privileges
     FROM (
       SELECT 'ROUTINE' AS kind, oid, oid::regprocedure::text AS signature, xmin AS version, proacl AS acl, proowner AS owner
       FROM pg_proc WHERE pronamespace = $1::regnamespace AND proname = $2
       UNION ALL
       SELECT 'VIEW', oid, oid::regclass::text, xmin, relacl, relowner
       FROM pg_class WHERE relnamespace = $1::regnamespace AND relname = $2 AND relkind = 'v') AS o`,
    name.split('.'),
  );
  return rows;
}

/**
 * Does the work in a transaction that waits for each lock for a short time only, and again, after growing pauses, if it did not get one.
 *
 * @throws Error that names the file and the sessions in the way, when the time is over
 */
async function withLocks(client: ClientBase, work: Work, steps: () => Promise<void>): Promise<void> {
  const { lockTimeoutMs = LOCK_TIMEOUT_MS, lockWaitMs = LOCK_WAIT_MS, logger, signal } = work;
  const deadline = Date.now() + lockWaitMs;
  for (let tries = 1, pause = 500; ; tries++, pause = Math.min(pause * 2, 10_000)) {
    signal?.throwIfAborted();
    const holders = await watchLocks(client, work.watch, lockTimeoutMs);
    try {
      return await inTransaction(client, lockTimeoutMs, steps);
    } catch (error) {
      // Not in time, or in a circle with others, which a transaction of several functions can make.
      if (!(error instanceof pg.DatabaseError) || !['55P03', '40P01'].includes(error.code ?? '')) throw error;
      const inTheWay = holders.last();
      if (Date.now() + pause > deadline) throw new Error(givenUp(error, tries, inTheWay), { cause: error });
      logger.warn({ err: error, holders: inTheWay }, 'others hold the locks; trying again');
    } finally {
      holders.stop();
    }
    await sleep(pause, undefined, { signal });
  }
}

function givenUp({ message }: Error, tries: number, inTheWay: string): string {
  return `${message}: given up at try ${tries}, because other sessions hold the locks${inTheWay && ` (${inTheWay})`}. `
    + 'End them and start again, or give the job more time with MIGRATE_LOCK_WAIT_SECONDS.';
}

/** Looks again and again who holds the locks that the client waits for: afterwards the database does not know any more. */
async function watchLocks(client: ClientBase, watch: Work['watch'], lockTimeoutMs: number): Promise<{ last(): string; stop(): void }> {
  let last = '';
  if (!watch) return { last: () => last, stop: () => undefined };
  const { rows: [me] } = await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
  const look = async () => {
    const { rows } = await watch.query<{ session: string }>(
      `SELECT concat_ws(' ', 'pid', pid, NULLIF(application_name, ''), state) AS session FROM pg_stat_activity
       WHERE pid = ANY(pg_blocking_pids($1)) ORDER BY pid`, [me!.pid]);
    if (rows.length > 0) last = rows.map(({ session }) => session).join(', ');
  };
  const timer = setInterval(() => void look().catch(() => undefined), lockTimeoutMs / 3);
  return { last: () => last, stop: () => clearInterval(timer) };
}

async function inTransaction(client: ClientBase, lockTimeoutMs: number, steps: () => Promise<void>): Promise<void> {
  await client.query(`BEGIN; SET LOCAL lock_timeout = ${Math.ceil(lockTimeoutMs)}`);
  try {
    await steps();
    await client.query('COMMIT');
  } catch (error) {
    await client.query('ROLLBACK').catch(() => undefined);
    throw error;
  }
}
