import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import pg, { type ClientBase } from 'pg';

export interface Migration {
  readonly version: number;
  readonly name: string;
  readonly sql: string;
  readonly checksum: string;
}

/** Applied but unknown, changed after it was applied, out of order: nothing is done until a person has looked. */
export class MigrationError extends Error {
  override readonly name = 'MigrationError';
}

/** Reads `NNN-name.sql`, in the order of their numbers. */
export async function readMigrations(directory: string): Promise<Migration[]> {
  const migrations: Migration[] = [];
  for (const file of (await readdir(directory)).sort()) {
    const match = /^(\d{3})-([a-z0-9-]+)\.sql$/.exec(file);
    if (!match) continue;
    const sql = await readFile(join(directory, file), 'utf8');
    const version = Number(match[1]);
    if (migrations.at(-1)?.version === version) throw new MigrationError(`Two migrations have the number ${match[1]}: rename one.`);
    migrations.push({ version, name: match[2]!, sql, checksum: createHash('sha256').update(sql.replaceAll('\r\n', '\n')).digest('hex') });
  }
  if (migrations.length === 0) throw new MigrationError(`No migrations in ${directory}: files are named 001-name.sql.`);
  return migrations;
}

/** One number for every run of this job against a database; any other tool uses another. */
const LOCK = 4_715_330_219;

/** Runs one after another what several processes started at once. The lock ends with the connection. */
export async function withMigrationLock<T>(client: ClientBase, work: () => Promise<T>): Promise<T> {
  await client.query('SELECT pg_advisory_lock($1)', [LOCK]);
  try {
    return await work();
  } finally {
    await client.query('SELECT pg_advisory_unlock($1)', [LOCK]).catch(() => undefined);
  }
}

/** Applies what is missing, each file in a transaction with its record. Returns what it applied. */
export async function applyMigrations(client: ClientBase, migrations: readonly Migration[]): Promise<Migration[]> {
  const applied = await appliedMigrations(client);
  for (const [version, { name, checksum }] of applied) {
    const known = migrations.find((migration) => migration.version === version);
    if (!known) throw new MigrationError(`The database has migration ${version} (${name}), which this version does not know: deploy the newer version.`);
    if (known.checksum !== checksum) {
      throw new MigrationError(`Migration ${version} (${name}) was changed after it was applied: restore the file and write a new migration.`);
    }
  }
  const newest = Math.max(0, ...applied.keys());
  const missing = migrations.filter(({ version }) => !applied.has(version));
  for (const migration of missing) {
    if (migration.version < newest) {
      throw new MigrationError(`Migration ${migration.version} (${migration.name}) is older than ${newest}, which is applied: give it a higher number.`);
    }
  }
  for (const migration of missing) {
    await inTransaction(client, async () => {
      await client.query(migration.sql);
      if (migration.version === 1) await client.query(JOURNAL);
      await client.query(
        'INSERT INTO messaging.schema_migration (version, name, checksum) VALUES ($1, $2, $3)',
        [migration.version, migration.name, migration.checksum],
      );
    });
  }
  return missing;
}

/** Made with the first migration, because that makes its schema. */
const JOURNAL = `CREATE TABLE messaging.schema_migration (
  version    int         PRIMARY KEY,
  name       text        NOT NULL,
  checksum   text        NOT NULL,
  applied_at timestamptz NOT NULL DEFAULT now()
)`;

async function appliedMigrations(client: ClientBase): Promise<Map<number, { name: string; checksum: string }>> {
  const { rows: [journal] } = await client.query<{ exists: boolean }>(`SELECT to_regclass('messaging.schema_migration') IS NOT NULL AS exists`);
  if (!journal?.exists) return new Map();
  const { rows } = await client.query<{ version: number; name: string; checksum: string }>('SELECT version, name, checksum FROM messaging.schema_migration');
  return new Map(rows.map(({ version, name, checksum }) => [version, { name, checksum }]));
}

/** The privileges of the two roles, as `grants.sql` says, applied whole so that drift ends. */
export async function applyGrants(client: ClientBase, sql: string, roles: Readonly<Record<'command' | 'query', string>>): Promise<void> {
  const statements = sql.replace(/^\s*--.*$/gm, '').replace(/:(command|query)\b/g, (_, role: 'command' | 'query') => pg.escapeIdentifier(roles[role]));
  await inTransaction(client, async () => {
    await client.query(statements);
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
