import pg, { type ClientBase } from 'pg';
import { MigrationError, type Schema, type SqlFile } from './files.ts';
import type { Logger } from '../shared/telemetry.ts';

/** One number for every run of this job against a database; any other tool uses another. */
const LOCK = 4_715_330_219;

/** Runs one after another what several processes started at once. The lock ends with the connection. */
export async function withMigrationLock<T>(client: ClientBase, logger: Logger, work: () => Promise<T>): Promise<T> {
  const { rows: [lock] } = await client.query<{ taken: boolean }>('SELECT pg_try_advisory_lock($1) AS taken', [LOCK]);
  if (!lock?.taken) {
    logger.info('another migration is running; waiting');
    await client.query('SELECT pg_advisory_lock($1)', [LOCK]);
  }
  try {
    return await work();
  } finally {
    await client.query('SELECT pg_advisory_unlock($1)', [LOCK]).catch(() => undefined);
  }
}

/**
 * Applies the files that are missing or have changed, each in a transaction with its record: first the tables of all schemas, then their
 * functions.
 *
 * @throws MigrationError before anything is done, when the database cannot be brought to this version
 */
export async function applyMigrations(client: ClientBase, schemas: readonly Schema[], logger: Logger, signal?: AbortSignal): Promise<void> {
  const applied = await readApplied(client);
  const missing = schemas.flatMap((schema) => missingFiles(schema, applied));
  for (const file of missing) {
    signal?.throwIfAborted();
    await apply(client, file);
    logger.info({ file: file.path }, 'migration applied');
  }
  for (const schema of schemas) {
    for (const file of schema.repeatable) {
      if (applied.get(file.name) === file.checksum) continue;
      signal?.throwIfAborted();
      await (applied.has(file.name) ? replace(client, file) : apply(client, file));
      logger.info({ file: file.path }, 'function applied');
    }
    for (const name of applied.keys()) {
      if (!name.startsWith(`${schema.name}.`) || schema.repeatable.some((file) => file.name === name)) continue;
      signal?.throwIfAborted();
      await dropRepeatable(client, name);
      logger.info({ name }, 'function dropped, which has no file any more');
    }
  }
}

/** The numbered files that the database does not have. */
function missingFiles({ name: schema, numbered }: Schema, applied: ReadonlyMap<string, string>): SqlFile[] {
  const there = [...applied.keys()].filter((name) => name.startsWith(`${schema}/`)).sort();
  for (const name of there) {
    const file = numbered.find((one) => one.name === name);
    if (!file) {
      throw new MigrationError(`This database has migrations/${name}, which this version does not know: deploy the newer version (in a local run: start with --fresh).`);
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
  await inTransaction(client, async () => {
    await client.query(`CREATE SCHEMA IF NOT EXISTS migration;
      CREATE TABLE IF NOT EXISTS migration.applied (
        name       text        PRIMARY KEY COLLATE "C",
        checksum   text        NOT NULL,
        applied_at timestamptz NOT NULL DEFAULT now()
      )`);
  });
  const { rows } = await client.query<{ name: string; checksum: string }>('SELECT name, checksum FROM migration.applied');
  return new Map(rows.map(({ name, checksum }) => [name, checksum]));
}

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

/** Applies a file with its record in one call, which is a transaction, or part of one that is open. */
async function apply(client: ClientBase, { name, path, sql, checksum }: SqlFile): Promise<void> {
  const record = `INSERT INTO migration.applied (name, checksum) VALUES (${pg.escapeLiteral(name)}, ${pg.escapeLiteral(checksum)})
    ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now()`;
  try {
    await client.query(`${sql}\n;${record}`);
  } catch (error) {
    if (error instanceof pg.DatabaseError) {
      const line = error.position ? `:${sql.slice(0, Number(error.position)).split('\n').length}` : '';
      error.message = `${path}${line}: ${error.message}`;
    }
    throw error;
  }
}

/** In place, so that its privileges stay, unless its type has changed. Signatures that the file does not make any more are dropped. */
async function replace(client: ClientBase, file: SqlFile): Promise<void> {
  try {
    await inTransaction(client, async () => {
      await apply(client, file);
      for (const { kind, signature, former } of await objectsOf(client, file.name)) {
        if (kind === 'ROUTINE' && former) await client.query(`DROP ROUTINE ${signature}`);
      }
    });
  } catch (error) {
    // CREATE OR REPLACE cannot change the type of a result, the name of a parameter or the columns of a view.
    if (!(error instanceof pg.DatabaseError) || !['42P13', '42P16'].includes(error.code ?? '')) throw error;
    await inTransaction(client, async () => {
      await drop(client, file.name);
      await apply(client, file);
    });
  }
}

async function dropRepeatable(client: ClientBase, name: string): Promise<void> {
  await inTransaction(client, async () => {
    await drop(client, name);
    await client.query('DELETE FROM migration.applied WHERE name = $1', [name]);
  });
}

async function drop(client: ClientBase, name: string): Promise<void> {
  for (const { kind, signature } of await objectsOf(client, name)) await client.query(`DROP ${kind} ${signature}`);
}

/** The routines and the view of this name. `former`: not made by this transaction. */
async function objectsOf(client: ClientBase, name: string): Promise<{ kind: 'ROUTINE' | 'VIEW'; signature: string; former: boolean }[]> {
  const { rows } = await client.query(
    `SELECT 'ROUTINE' AS kind, p.oid::regprocedure::text AS signature, p.xmin <> pg_current_xact_id()::xid AS former
     FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = $1 AND p.proname = $2
     UNION ALL
     SELECT 'VIEW', c.oid::regclass::text, c.xmin <> pg_current_xact_id()::xid
     FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind = 'v'`,
    name.split('.'),
  );
  return rows;
}

/** The privileges of the two roles, as the `grants.sql` of the schemas say, applied whole so that drift ends. */
export async function applyGrants(client: ClientBase, schemas: readonly Schema[], roles: Readonly<Record<'command' | 'query', string>>): Promise<void> {
  const statements = schemas.map(({ grants }) => grants).join('\n').replace(/^\s*--.*$/gm, '')
    .replace(/:(command|query)\b/g, (_, role: 'command' | 'query') => pg.escapeIdentifier(roles[role]));
  await inTransaction(client, async () => {
    await client.query(`REVOKE CREATE ON SCHEMA public FROM PUBLIC;\n${statements}`);
  });
}

async function inTransaction(client: ClientBase, work: () => Promise<void>): Promise<void> {
  await client.query('BEGIN');
  try {
    await work();
    await client.query('COMMIT');
  } catch (error) {
    await client.query('ROLLBACK').catch(() => undefined);
    throw error;
  }
}
