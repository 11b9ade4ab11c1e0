import assert from 'node:assert/strict';
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { QueryConfig } from 'pg';
import { readSchemas } from './files.ts';
import { FORMER_LAYOUT } from './former-layout.ts';
import { migrate, type MigrateOptions } from './migrate.ts';
import { FAN_OUT_IMAGE } from '../../profiles/fan-out/image.ts';
import { ORDER_PIPELINE_IMAGE } from '../../profiles/order-pipeline/image.ts';
import type { Pool } from '../shared/database.ts';
import { eventually, silentLogger, SQL_ROOT, startTestServer, type TestServer } from '../shared/testing.ts';

let server: TestServer;
let folder: string;
before(async () => {
  server = await startTestServer();
  folder = await mkdtemp(join(tmpdir(), 'migrate-test-'));
});
after(async () => {
  await server.stop();
  await rm(folder, { recursive: true, force: true });
});

const CATALOG = [{ sku: 'A', name: 'Product A', onHand: 10 }, { sku: 'B', name: 'Product B', onHand: 0 }];

async function emptyDatabase(name: string): Promise<Pool> {
  const postgres = server.pool({ database: 'postgres', max: 1 });
  await postgres.query(`CREATE DATABASE ${name}`);
  return server.pool({ database: name });
}

async function run(pool: Pool, options: Partial<MigrateOptions> = {}): Promise<void> {
  const client = await pool.connect();
  try {
    await migrate(client, {
      root: SQL_ROOT,
      logger: silentLogger(),
      command: { username: 'app_command', password: 'c' },
      query: { username: 'app_query', password: 'q' },
      ...options,
    });
  } finally {
    client.release();
  }
}

test('runs that start at once, and a run after them, apply each migration and each product once', async () => {
  const pool = await emptyDatabase('at_once');
  const seedFile = join(folder, 'catalog.json');
  await writeFile(seedFile, JSON.stringify(CATALOG));
  await Promise.all([1, 2, 3, 4].map(() => run(pool, { seedFile })));
  await pool.query('UPDATE inventory.stock_level SET on_hand = 7 WHERE sku = \'A\'');
  await writeFile(seedFile, JSON.stringify([...CATALOG, { sku: 'C', name: 'Product C', onHand: 3 }]));
  await run(pool, { seedFile });

  const { rows: applied } = await pool.query('SELECT name, checksum FROM migration.applied');
  const files = (await readSchemas(SQL_ROOT)).flatMap(({ numbered, repeatable }) => [...numbered, ...repeatable]);
  const checksums = (all: readonly { name: string; checksum: string }[]) => new Map(all.map(({ name, checksum }) => [name, checksum]));
  assert.deepEqual(checksums(applied), checksums(files));
  const { rows: stock } = await pool.query('SELECT sku, on_hand FROM inventory.stock_level ORDER BY sku');
  assert.deepEqual(stock, [{ sku: 'A', on_hand: 7 }, { sku: 'B', on_hand: 0 }, { sku: 'C', on_hand: 3 }]);
  const { rows: movements } = await pool.query('SELECT sku, delta_on_hand FROM inventory.ledger WHERE type = \'RECEIPT\' ORDER BY sku');
  assert.deepEqual(movements, [{ sku: 'A', delta_on_hand: 10 }, { sku: 'B', delta_on_hand: 0 }, { sku: 'C', delta_on_hand: 3 }]);
});

/** A copy of two small schemas, of which a test may change the files. */
async function copyOfFiles(name: string) {
  const root = join(folder, name);
  const path = (file: string) => join(root, file);
  for (const schema of ['messaging', 'fan_out']) await cp(join(SQL_ROOT, 'migrations', schema), path(`migrations/${schema}`), { recursive: true });
  for (const schema of await readSchemas(SQL_ROOT, ['messaging', 'fan_out'])) for (const file of schema.repeatable) await cp(join(SQL_ROOT, file.path), path(file.path));
  return { root, write: (file: string, sql: string) => writeFile(path(file), sql), remove: (file: string) => rm(path(file)) };
}

const count = async (pool: Pool, what: string) => (await pool.query(`SELECT ${what} AS count`)).rows[0].count as unknown;

test('a numbered file that changed after it was applied, or that is missing, stops the run before it does anything', async () => {
  const pool = await emptyDatabase('changed');
  const { root, write, remove } = await copyOfFiles('changed');
  await run(pool, { root });
  await write('migrations/messaging/090-new.sql', 'CREATE TABLE public.never (x int)');
  await write('migrations/fan_out/001-tables.sql', 'CREATE TABLE public.never (x int)');
  await assert.rejects(run(pool, { root }), { name: 'MigrationError', message: /^migrations\/fan_out\/001-tables\.sql was changed after .*restore the file.*--fresh/ });
  await remove('migrations/fan_out/001-tables.sql');
  await assert.rejects(run(pool, { root }), {
    name: 'MigrationError',
    message: /^This database has migrations\/fan_out\/001-tables\.sql, which this version .* no later release of fan_out: .*--fresh/,
  });
  assert.equal(await count(pool, 'to_regclass(\'public.never\')'), null);
});

test('a numbered file before one that is applied is refused, whatever other schemas have', async () => {
  const pool = await emptyDatabase('older');
  const { root, write } = await copyOfFiles('older');
  await write('migrations/fan_out/005-e.sql', 'CREATE TABLE fan_out.e (x int)');
  await run(pool, { root });
  await write('migrations/messaging/090-b.sql', 'CREATE TABLE messaging.b (x int)');
  await run(pool, { root });
  assert.equal(await count(pool, 'to_regclass(\'messaging.b\')::text'), 'messaging.b');
  await write('migrations/fan_out/004-d.sql', 'CREATE TABLE fan_out.d (x int)');
  await assert.rejects(
    run(pool, { root }), /fan_out\/004-d\.sql comes before migrations\/fan_out\/005-e\.sql, which is applied: give it a higher number/,
  );
});

const answers = (value: number) => `CREATE OR REPLACE FUNCTION fan_out.answer() RETURNS int LANGUAGE sql AS $$ SELECT ${value} $$;`;
/** The schema.json of a later release than that of the repository. */
const release = async (later: number) => {
  const schema = JSON.parse(await readFile(join(SQL_ROOT, 'migrations/fan_out/schema.json'), 'utf8')) as { release: number };
  return JSON.stringify({ ...schema, release: schema.release + later });
};

/** Two versions of the files; the later one has a further table, another function for one and none for another. */
async function twoReleases(name: string) {
  const older = await copyOfFiles(`${name}-1`);
  await older.write('services/fan-out/fan_out.answer.sql', answers(1));
  const later = await copyOfFiles(`${name}-2`);
  await later.write('services/fan-out/fan_out.answer.sql', answers(2));
  await later.write('services/fan-out/fan_out.more.sql', answers(2).replace('answer', 'more'));
  await later.write('migrations/fan_out/002-more.sql', 'CREATE TABLE fan_out.more (x int)');
  await later.write('migrations/fan_out/schema.json', await release(1));
  return { older, later };
}

test('an older job leaves a later release as it is, whose roles get their passwords, and says so in one line', async () => {
  const pool = await emptyDatabase('rolled_back');
  const { older, later } = await twoReleases('rolled-back');
  await run(pool, { root: older.root });
  await run(pool, { root: later.root });
  const state = async () => (await pool.query('SELECT * FROM migration.applied, migration.release ORDER BY name, schema')).rows as unknown[];
  const before = await state();
  const verifier = () => count(pool, '(SELECT rolpassword FROM pg_authid WHERE rolname = \'app_command\')');
  const password = await verifier();

  const logger = silentLogger();
  const warnings: unknown[] = [];
  logger.warn = ((fields: unknown, message: string) => void warnings.push([fields, message])) as typeof logger.warn;
  await run(pool, { root: older.root, logger, command: { username: 'app_command', password: 'another' } });
  assert.deepEqual(await state(), before);
  assert.equal(await count(pool, 'fan_out.answer() + fan_out.more()'), 4);
  assert.notEqual(await verifier(), password);
  const here = (await readSchemas(SQL_ROOT, ['messaging', 'fan_out'])).at(-1)!.release;
  assert.deepEqual(warnings, [[{ releases: { fan_out: { database: here + 1, here } } },
    'the database has a later release than this version, as after a rollback: its tables, functions, privileges and data stay as they are']]);

  // The same files again are a release of their own.
  await later.write('services/fan-out/fan_out.answer.sql', answers(1));
  await later.write('migrations/fan_out/schema.json', await release(2));
  await run(pool, { root: later.root });
  assert.equal(await count(pool, 'fan_out.answer()'), 1);

  // A new login gets the rights that the later release gives to its workload; a workload that it does not have can't get any.
  await run(pool, { root: older.root, logins: [{ workload: 'order-consumer', username: 'late_consumer', password: 'l' }] });
  assert.equal(await count(pool, "has_function_privilege('late_consumer', 'fan_out.save(uuid[], text[], bigint[], text[], text[])', 'EXECUTE')"), true);
  await older.write('migrations/fan_out/workloads.json', JSON.stringify({ workloads: { 'mail-consumer': { side: 'command' } } }));
  await assert.rejects(run(pool, { root: older.root, logins: [{ workload: 'mail-consumer', username: 'mail', password: 'm' }] }), {
    name: 'MigrationError', message: /^This database has a later release of fan_out than this version, which has no rights for mail-consumer: deploy the newer/,
  });
  assert.equal(await count(pool, 'to_regrole(\'mail\')'), null);
  await older.write('migrations/fan_out/001-tables.sql', 'CREATE TABLE public.never (x int)');
  await assert.rejects(run(pool, { root: older.root }), { name: 'MigrationError', message: /001-tables\.sql was changed/ });
});

test('an older job comes after one that failed half-way, and the later one can go on', async () => {
  const pool = await emptyDatabase('half_way');
  const { older, later } = await twoReleases('half-way');
  await run(pool, { root: older.root });
  await later.write('services/fan-out/fan_out.more.sql', 'SELECT 1 / 0');
  await assert.rejects(run(pool, { root: later.root }), /division by zero/);
  const here = (await readSchemas(SQL_ROOT, ['messaging', 'fan_out'])).at(-1)!.release;
  const unfinished = 'SELECT schema, begun, finished FROM migration.release WHERE finished <> begun';
  assert.deepEqual((await pool.query(unfinished)).rows, [{ schema: 'fan_out', begun: here + 1, finished: here }]);
  await run(pool, { root: older.root });
  assert.equal(await count(pool, 'fan_out.answer()'), 1);
  await later.write('services/fan-out/fan_out.more.sql', answers(2).replace('answer', 'more'));
  await run(pool, { root: later.root });
  assert.equal(await count(pool, 'fan_out.answer() + fan_out.more()'), 4);

  // A file of the later release before those of this one is another history.
  await later.write('migrations/fan_out/000-first.sql', 'SELECT 1');
  await pool.query('INSERT INTO migration.applied (name, checksum) VALUES (\'fan_out/000-first.sql\', \'x\')');
  await assert.rejects(run(pool, { root: older.root }), { name: 'MigrationError', message: /000-first\.sql, which this version does not know/ });
});

test('sessions of the roles have limits, in any database that has been migrated', async () => {
  await run(await emptyDatabase('limits'), {});
  const { rows: [limits] } = await server.pool({ database: 'limits', user: 'app_command', password: 'c', max: 1 }).query(
    `SELECT current_setting('statement_timeout') AS statement, current_setting('transaction_timeout') AS transaction,
       current_setting('idle_in_transaction_session_timeout') AS idle, current_setting('jit') AS jit`);
  assert.deepEqual(limits, { statement: '30s', transaction: '1min', idle: '30s', jit: 'off' });
});

test('a role without a password logs in with tokens: it becomes a member of the role that RDS has for this', async () => {
  const pool = await emptyDatabase('tokens');
  const root = (await copyOfFiles('tokens')).root;
  const tokens = { root, command: { username: 'token_command' }, query: { username: 'token_query' } };
  await assert.rejects(run(pool, tokens), { name: 'MigrationError', message: /token_command has no password.* there is no role rds_iam.*DB_COMMAND_SECRET_ARN/ });
  await pool.query('CREATE ROLE rds_iam');
  const members = async () => {
    const { rows } = await pool.query("SELECT member::regrole::text AS one FROM pg_auth_members WHERE roleid = 'rds_iam'::regrole ORDER BY 1");
    return rows.map(({ one }) => one as string);
  };
  await run(pool, tokens);
  assert.deepEqual(await members(), ['token_command', 'token_query']);
  assert.equal(await count(pool, '(SELECT bool_or(rolpassword IS NOT NULL) FROM pg_authid WHERE rolname ~ \'^token_\')'), false);
  // With the membership no password would be asked for.
  await run(pool, { ...tokens, query: { username: 'token_query', password: 'q' } });
  assert.deepEqual(await members(), ['token_command']);
  await pool.query('DROP ROLE IF EXISTS rds_iam');
});

test('a file that fails leaves nothing of itself, and the message names it', async () => {
  const pool = await emptyDatabase('fails');
  const { root, write } = await copyOfFiles('fails');
  await write('migrations/fan_out/002-half.sql', 'CREATE TABLE public.half (x int); SELECT 1 / 0;');
  await assert.rejects(run(pool, { root }), /^error: migrations\/fan_out\/002-half\.sql: division by zero/);
  assert.equal(await count(pool, 'to_regclass(\'public.half\')'), null);
  assert.equal(await count(pool, '(SELECT max(name) FROM migration.applied WHERE name LIKE \'fan_out/%\')'), 'fan_out/001-tables.sql');
  await write('migrations/fan_out/002-half.sql', 'CREATE TABLE fan_out.whole (x int);\n\nCREATE INDEX ON fan_out.whole (y)');
  await assert.rejects(run(pool, { root }), /^error: migrations\/fan_out\/002-half\.sql.*column "y" does not exist/);
  await write('migrations/fan_out/002-half.sql', '-- Line 1. 🙂🙂🙂\nCREATE TABLE fan_out.whole (x int);\nSELECT\n  x, nothing\nFROM fan_out.whole;');
  await assert.rejects(run(pool, { root }), /^error: migrations\/fan_out\/002-half\.sql:4: column "nothing" does not exist/);
  await write('migrations/fan_out/002-half.sql', 'CREATE TABLE fan_out.whole (x int);');
  await run(pool, { root });
});

test('a function is replaced when its file has changed, also with another signature or type, and dropped with its file', async () => {
  const pool = await emptyDatabase('functions');
  const { root, write, remove } = await copyOfFiles('functions');
  const file = 'services/fan-out/fan_out.answer.sql';
  const make = (parameters: string, type: string, value: string) =>
    `CREATE OR REPLACE FUNCTION fan_out.answer(${parameters}) RETURNS ${type} LANGUAGE sql AS $$ SELECT ${value} $$;`;
  const signatures = async () => (await pool.query('SELECT oid::regprocedure::text AS one FROM pg_proc WHERE proname = \'answer\' ORDER BY 1')).rows.map(({ one }) => one);
  const latest = () => count(pool, '(SELECT max(applied_at)::text FROM migration.applied)');

  await write(file, make('a int', 'int', '1'));
  await run(pool, { root });
  const oid = await count(pool, '\'fan_out.answer\'::regproc::oid');
  const before = await latest();
  await run(pool, { root });
  assert.equal(await latest(), before, 'an unchanged file is not applied again');

  await write(file, make('a int', 'int', '2'));
  await run(pool, { root });
  assert.equal(await count(pool, 'fan_out.answer(0)'), 2);
  assert.equal(await count(pool, '\'fan_out.answer\'::regproc::oid'), oid, 'replaced in place');

  await write(file, make('a text', 'text', '\'3\''));
  await run(pool, { root });
  assert.deepEqual(await signatures(), ['fan_out.answer(text)']);
  // For a release in which old programs still run.
  await write(file, make('a text', 'text', '\'3\'') + make('a text, b text', 'text', '\'4\''));
  await run(pool, { root });
  assert.deepEqual(await signatures(), ['fan_out.answer(text)', 'fan_out.answer(text,text)']);
  await write(file, make('other text', 'bigint', '5'));
  await run(pool, { root });
  assert.deepEqual(await signatures(), ['fan_out.answer(text)']);
  assert.equal(Number(await count(pool, 'fan_out.answer(\'\')')), 5);

  await remove(file);
  await run(pool, { root });
  assert.deepEqual(await signatures(), []);
});

test('a view is replaced when its file has changed, also with fewer columns', async () => {
  const pool = await emptyDatabase('views');
  const { root, write, remove } = await copyOfFiles('views');
  for (const columns of ['1 AS a, 2 AS b', '1 AS a', '1 AS a, 3 AS c']) {
    await write('services/fan-out/fan_out.one.sql', `CREATE OR REPLACE VIEW fan_out.one AS SELECT ${columns}`);
    await run(pool, { root });
  }
  assert.deepEqual((await pool.query('SELECT * FROM fan_out.one')).rows, [{ a: 1, c: 3 }]);
  await remove('services/fan-out/fan_out.one.sql');
  await run(pool, { root });
  assert.equal(await count(pool, 'to_regclass(\'fan_out.one\')'), null);
});

test('a file that does not get its locks lets others pass, is tried again, and at last names the sessions in its way', { timeout: 60_000 }, async () => {
  const pool = await emptyDatabase('locks');
  const { root, write } = await copyOfFiles('locks');
  await run(pool, { root });
  await write('migrations/fan_out/002-more.sql', 'ALTER TABLE fan_out.orders ADD COLUMN more int');
  const columns = () => count(pool, '(SELECT count(*)::int FROM pg_attribute WHERE attrelid = \'fan_out.orders\'::regclass AND attname = \'more\')');
  const reader = await pool.connect();
  try {
    await reader.query('BEGIN; SET LOCAL application_name = \'a long report\'; SELECT FROM fan_out.orders');
    const pid = (await reader.query('SELECT pg_backend_pid() AS pid')).rows[0].pid as number;
    await assert.rejects(run(pool, { root, lockTimeoutMs: 1_000, lockWaitMs: 1_200, watch: pool }), (error: Error) => {
      assert.match(error.message, new RegExp('^migrations/fan_out/002-more\\.sql: canceling statement due to lock timeout: given up at try 1, because other sessions '
        + `hold the locks \\(pid ${pid} a long report idle in transaction\\)\\. End them .* MIGRATE_LOCK_WAIT_SECONDS\\.$`));
      return true;
    });
    assert.equal(await columns(), 0);

    const logger = silentLogger();
    let tries = 0;
    logger.warn = (() => void tries++) as typeof logger.warn;
    const patient = run(pool, { root, logger, lockTimeoutMs: 100 });
    // Who comes while the file waits for its lock gets an answer while the report still runs.
    await eventually(() => tries, (done) => done > 0);
    await pool.query('SELECT FROM fan_out.orders');
    await eventually(() => tries, (done) => done > 1);
    await reader.query('ROLLBACK');
    await patient;
    assert.equal(await columns(), 1);
  } finally {
    reader.release(true);
  }
});

test('an index is built while others write, from the start again after an error, and names the sessions that it waits for', async () => {
  const pool = await emptyDatabase('while_writing');
  const { root, write } = await copyOfFiles('while-writing');
  await run(pool, { root });
  const file = 'migrations/fan_out/002-index.sql';
  const build = (column: string) => write(file, '-- no transaction\n-- Again and again.\nDROP INDEX CONCURRENTLY IF EXISTS fan_out.one;\n'
    + `CREATE INDEX CONCURRENTLY one ON fan_out.progress (${column});\n`);
  await build('consumer,');
  await assert.rejects(run(pool, { root }), /^error: migrations\/fan_out\/002-index\.sql:4: syntax error/);
  await build('consumer');
  const insert = (by: Pick<Pool, 'query'>) => by.query({
    text: 'INSERT INTO fan_out.progress (consumer, order_id) VALUES (\'c\', gen_random_uuid())', query_timeout: 5_000,
  } as QueryConfig);
  const writer = await pool.connect();
  try {
    await writer.query('BEGIN; SET LOCAL application_name = \'a long report\'');
    await insert(writer);
    const givenUp = /002-index\.sql: .*lock timeout: given up at try 1, because .* \(pid \d+ a long report idle/;
    await assert.rejects(run(pool, { root, lockWaitMs: 1_000, watch: pool }), givenUp);
    const patient = run(pool, { root });
    await eventually(() => count(pool, '(SELECT count(*)::int FROM pg_locks WHERE NOT granted)'), (waiting) => waiting === 1);
    await insert(pool);
    await writer.query('COMMIT');
    await patient;
  } finally {
    writer.release(true);
  }
  assert.equal(await count(pool, '(SELECT indisvalid FROM pg_index WHERE indexrelid = \'fan_out.one\'::regclass)'), true);
});

test('a function and its privileges change at once, also those of roles of another run', async () => {
  const pool = await emptyDatabase('privileges');
  const { root, write } = await copyOfFiles('privileges');
  const grants = await readFile(join(root, 'migrations/fan_out/grants.sql'), 'utf8');
  const made = 'GRANT EXECUTE ON ROUTINE fan_out.answer, fan_out.record TO :command;\nGRANT SELECT ON fan_out.one TO :query;';
  const make = (type: string, columns: string, parameters: string) => Promise.all([
    write('services/fan-out/fan_out.answer.sql', `CREATE OR REPLACE FUNCTION fan_out.answer() RETURNS ${type} LANGUAGE sql SECURITY DEFINER AS $$ SELECT 1 $$`),
    write('services/fan-out/fan_out.one.sql', `CREATE OR REPLACE VIEW fan_out.one AS SELECT ${columns}`),
    write('services/fan-out/fan_out.record.sql', `CREATE OR REPLACE PROCEDURE fan_out.record(${parameters}) LANGUAGE sql AS $$ SELECT 1 $$`),
  ]);
  const privileges = async (role: string) => (await pool.query(`SELECT p.oid::regprocedure::text AS name FROM pg_proc p
      WHERE p.proname IN ('answer', 'record') AND has_function_privilege('${role}', p.oid, 'EXECUTE')
    UNION ALL SELECT oid::regclass::text FROM pg_class WHERE relname = 'one' AND has_table_privilege('${role}', oid, 'SELECT') ORDER BY 1`)).rows.map(({ name }) => name);
  const type = () => count(pool, '(SELECT prorettype::regtype::text FROM pg_proc WHERE proname = \'answer\')');
  await pool.query('CREATE ROLE stranger');

  await make('int', '1 AS a, 2 AS b', 'a int');
  await write('migrations/fan_out/grants.sql', `${grants}\nSELECT 1 / 0;`);
  await assert.rejects(run(pool, { root }), /division by zero/);
  assert.equal(await type(), null, 'no function that everybody may call');
  await write('migrations/fan_out/grants.sql', grants + made);
  await run(pool, { root });
  const other = { command: { username: 'other_command', password: 'c' }, query: { username: 'other_query', password: 'q' } };
  await run(pool, { root, ...other });
  const expected = [['fan_out.answer()', 'fan_out.record(integer)'], ['fan_out.one'], ['fan_out.answer()', 'fan_out.record(integer)'], ['fan_out.one'], []];
  const all = () => Promise.all(['app_command', 'app_query', 'other_command', 'other_query', 'stranger'].map(privileges));
  assert.deepEqual(await all(), expected);

  // The types cannot be replaced in place. When the privileges fail, nothing has changed.
  await make('bigint', '1 AS a', 'b int');
  await write('migrations/fan_out/grants.sql', `${grants}\nSELECT 1 / 0;`);
  await assert.rejects(run(pool, { root }), /division by zero/);
  assert.deepEqual([await type(), await all()], ['integer', expected]);
  await write('migrations/fan_out/grants.sql', grants + made);
  await run(pool, { root });
  assert.deepEqual([await type(), await all()], ['bigint', expected]);
  // Calls of running programs go to the new signature.
  await make('bigint', '1 AS a', 'b int, c int DEFAULT 0');
  await run(pool, { root });
  assert.deepEqual(await all(), expected.map((names) => names.map((name) => name.replace('(integer)', '(integer,integer)'))));
});

test('a profile gets its schemas only, and its roles nothing of the schemas of others in the same database', async () => {
  const pool = await emptyDatabase('profiles');
  await run(pool, { schemas: ['fan_out', 'messaging'] });
  const schemas = async () => {
    const { rows } = await pool.query("SELECT nspname FROM pg_namespace WHERE nspname !~ '^(pg_|information_schema|public)' ORDER BY 1");
    return rows.map(({ nspname }) => nspname);
  };
  assert.deepEqual(await schemas(), ['fan_out', 'messaging', 'migration']);
  assert.equal(await count(pool, '(SELECT count(*)::int FROM migration.applied WHERE name !~ \'^(fan_out|messaging)[./]\')'), 0);

  // The other profile in the same database, with roles of its own. Neither takes anything from the other.
  await run(pool, { schemas: ORDER_PIPELINE_IMAGE.schemas, command: { username: 'shop_command', password: 'c' }, query: { username: 'shop_query', password: 'q' } });
  await run(pool, { schemas: FAN_OUT_IMAGE.schemas });
  assert.deepEqual(await schemas(), ['analytics', 'fan_out', 'inventory', 'messaging', 'migration', 'notification', 'orders']);
  for (const [role, own, foreign] of [['app_command', 'fan_out', 'orders'], ['shop_command', 'orders', 'fan_out']] as const) {
    assert.equal(await count(pool, `has_schema_privilege('${role}', '${own}', 'USAGE')`), true);
    assert.equal(await count(pool, `has_schema_privilege('${role}', '${foreign}', 'USAGE')`), false);
    assert.equal(await count(pool, `(SELECT count(*)::int FROM pg_class WHERE relnamespace = '${foreign}'::regnamespace AND relkind IN ('r', 'v', 'p')
      AND has_table_privilege('${role}', oid, 'SELECT, INSERT, UPDATE, DELETE'))`), 0);
    assert.equal(await count(pool, `(SELECT count(*)::int FROM pg_proc WHERE pronamespace = '${foreign}'::regnamespace AND has_function_privilege('${role}', oid, 'EXECUTE'))`), 0);
  }
});

test('schemas are applied after those that they need, and one that is not there is named', async () => {
  const reversed = await readSchemas(SQL_ROOT, [...ORDER_PIPELINE_IMAGE.schemas].reverse());
  assert.deepEqual(reversed.map(({ name }) => name), ['messaging', 'analytics', 'inventory', 'orders', 'notification']);
  await assert.rejects(readSchemas(SQL_ROOT, ['messaging', 'orders']), /The schema orders needs the schema inventory: add it to the list/);
  await assert.rejects(readSchemas(SQL_ROOT, ['order']), /There is no schema order: choose from analytics, fan_out,/);
  const { root, write } = await copyOfFiles('wrong');
  await write('migrations/messaging/schema.json', '{ "needs": ["fan_out"], "release": 1 }');
  await assert.rejects(readSchemas(root), /in a circle: fan_out, messaging, fan_out/);
  await write('migrations/messaging/schema.json', '{ "needs": [] }');
  await assert.rejects(readSchemas(root), /messaging\/schema\.json needs a "release", a whole number from 1/);
  await write('migrations/messaging/schema.json', '{ "needs": [], "release": 1 }');
  await write('migrations/messaging/001-again.sql', '');
  await assert.rejects(readSchemas(root), /Two files of migrations\/messaging have the number 001/);
  await rm(join(root, 'migrations/messaging/001-again.sql'));
  await mkdir(join(root, 'services/other'));
  await write('services/other/messaging.park.sql', '');
  await assert.rejects(
    readSchemas(root), /services\/other\/messaging\.park\.sql and services\/shared\/messaging\/messaging\.park\.sql make the same/,
  );
  await write('services/other/messages.park.sql', '');
  await assert.rejects(readSchemas(root), /services\/other\/messages\.park\.sql needs the name of what it makes/);
});

test('a database of the former files is left as it is, and one sentence says what to do', async () => {
  const pool = await emptyDatabase('former');
  await pool.query(FORMER_LAYOUT);
  await assert.rejects(run(pool), {
    name: 'MigrationError',
    message: 'This database was made from the former migration files (001-messaging.sql, 002-orders.sql, 003-inventory.sql, 004-notification-analytics.sql, 005-fan-out.sql), '
      + 'which this version does not have: use an empty database (in a local run: start with --fresh).',
  });
  assert.equal(await count(pool, '(SELECT count(*)::int FROM pg_namespace WHERE nspname IN (\'migration\', \'orders\'))'), 0);
});

test('a run that is asked to stop ends before the next file, and the next run goes on', async () => {
  const pool = await emptyDatabase('stopped');
  const stop = new AbortController();
  const logger = silentLogger();
  logger.info = ((_: unknown, message: string) => {
    if (message === 'migration applied') stop.abort();
  }) as typeof logger.info;
  await assert.rejects(run(pool, { logger, signal: stop.signal }), { name: 'AbortError' });
  assert.equal(await count(pool, '(SELECT count(*)::int FROM migration.applied)'), 1);
  await run(pool);
});

test('passwords of any characters work, change with the secret, and reach the server only as a SCRAM verifier', async () => {
  const pool = await emptyDatabase('passwords');
  await pool.query('ALTER SYSTEM SET log_statement = \'all\'');
  await pool.query('SELECT pg_reload_conf()');
  const login = (password: string) => server.pool({ database: 'passwords', user: 'o"dd.na\'me', password, max: 1 }).query('SELECT 1');
  const first = 'first\'"\\ $$ p%ss; --';
  await run(pool, { command: { username: 'o"dd.na\'me', password: first } });
  await login(first);
  await run(pool, { command: { username: 'o"dd.na\'me', password: 'second-password' } });
  await login('second-password');
  await assert.rejects(login(first), /password authentication failed/);
  const { rows: [stored] } = await pool.query('SELECT rolpassword FROM pg_authid WHERE rolname = \'o"dd.na\'\'me\'');
  assert.match(stored.rolpassword, /^SCRAM-SHA-256\$4096:/);
  const log = await readFile(server.logFile, 'utf8');
  assert.match(log, /ALTER ROLE "o""dd\.na'me" PASSWORD/);
  assert.doesNotMatch(log, /second-password/);
});

test('each role can change its own password, as a rotation does in a session of the role', async () => {
  const pool = await emptyDatabase('rotation');
  const names = ['rotation_command', 'rotation_query'] as const;
  await run(pool, { command: { username: names[0], password: 'one' }, query: { username: names[1], password: 'one' } });
  for (const user of names) {
    const login = (password: string) => server.pool({ database: 'rotation', user, password, max: 1 });
    await login('one').query(`ALTER USER ${user} WITH PASSWORD 'two'`);
    await login('two').query('SELECT 1');
  }
});

test('the administrator is never turned into a role of the services', async () => {
  const pool = await emptyDatabase('admin');
  await assert.rejects(run(pool, { command: { username: 'postgres', password: 'x' } }), /administers the database/);
  await assert.rejects(run(pool, { command: { username: 'same', password: 'x' }, query: { username: 'same', password: 'x' } }), /both have the role same/);
});

test('a wrong seed file is refused by field', async () => {
  const pool = await emptyDatabase('seed');
  const seedFile = join(folder, 'wrong.json');
  await writeFile(seedFile, JSON.stringify([{ sku: 'A', name: 'A', onHand: -1 }]));
  await assert.rejects(run(pool, { seedFile }), /\/0\/onHand/);
});

test('the command role writes what it must and can neither change the ledger nor the schema; the query role only reads', async () => {
  const { command, query, admin, drop } = await server.database();
  await admin.query(`INSERT INTO inventory.product VALUES ('A', 'A'); INSERT INTO inventory.stock_level (sku, on_hand) VALUES ('A', 1);
    INSERT INTO inventory.ledger (sku, location, type, delta_on_hand, delta_reserved) VALUES ('A', 'MAIN', 'RECEIPT', 1, 0)`);
  const denied = { code: '42501' };

  await command.query('INSERT INTO messaging.outbox (event_id, aggregate_id, detail_type, envelope) VALUES (gen_random_uuid(), \'a\', \'OrderCreated\', \'{}\')');
  await command.query('UPDATE inventory.stock_level SET reserved = 1 WHERE sku = \'A\'');
  for (const statement of [
    'DROP TABLE orders.orders',
    'CREATE TABLE public.mine (x int)',
    'CREATE TABLE orders.mine (x int)',
    'ALTER TABLE inventory.stock_level DROP CONSTRAINT stock_level_check',
    'UPDATE inventory.ledger SET delta_on_hand = 0',
    'DELETE FROM inventory.ledger',
    'TRUNCATE inventory.ledger',
    'DELETE FROM orders.orders',
    'DELETE FROM messaging.outbox',
    'UPDATE messaging.outbox SET envelope = \'\'',
    'UPDATE orders.status_change SET version = 1',
    'SELECT * FROM inventory.reservation',
    'INSERT INTO inventory.product VALUES (\'X\', \'X\')',
    'SELECT * FROM migration.applied',
  ]) await assert.rejects(command.query(statement), denied, statement);

  for (const statement of [
    'SELECT * FROM orders.orders', 'SELECT * FROM orders.order_line', 'SELECT * FROM orders.status_change',
    'SELECT * FROM inventory.product', 'SELECT * FROM inventory.stock_level', 'SELECT * FROM messaging.outbox',
  ]) await query.query(statement);
  for (const statement of [
    'INSERT INTO orders.orders (order_id, customer_id, status, version) VALUES (gen_random_uuid(), \'c\', \'PENDING\', 1)',
    'UPDATE inventory.stock_level SET reserved = 0', 'DELETE FROM messaging.outbox', 'SELECT * FROM orders.idempotency_key',
    'SELECT * FROM notification.notification', 'SELECT * FROM messaging.inbox', 'CREATE TABLE public.mine (x int)',
    'SELECT inventory.claim(\'c\', \'{}\', \'{}\', \'{}\')',
  ]) await assert.rejects(query.query(statement), denied, statement);

  // The owner is bound too: the ledger is only ever added to.
  for (const statement of ['UPDATE inventory.ledger SET delta_on_hand = 0', 'DELETE FROM inventory.ledger', 'TRUNCATE inventory.ledger']) {
    await assert.rejects(admin.query(statement), /append-only/);
  }
  await drop();
});

test('a privilege that somebody added by hand is taken away by the next run, on whatever it is', async () => {
  const pool = await emptyDatabase('drift');
  await run(pool);
  await pool.query(`CREATE PROCEDURE orders.by_hand() LANGUAGE sql AS 'SELECT 1';
    CREATE SEQUENCE orders.numbers;
    GRANT USAGE ON SEQUENCE orders.numbers TO PUBLIC;
    GRANT UPDATE ON SEQUENCE orders.numbers TO app_command;
    GRANT DELETE ON orders.orders TO app_query`);
  const privileges = async () => (await pool.query(`SELECT has_table_privilege('app_query', 'orders.orders', 'DELETE') AS row,
    has_function_privilege('app_query', 'orders.by_hand()', 'EXECUTE') AS procedure,
    has_sequence_privilege('app_query', 'orders.numbers', 'USAGE') AS sequence,
    has_sequence_privilege('app_command', 'orders.numbers', 'UPDATE') AS command`)).rows[0];
  assert.deepEqual(await privileges(), { row: true, procedure: true, sequence: true, command: true });
  await run(pool);
  assert.deepEqual(await privileges(), { row: false, procedure: false, sequence: false, command: false });
});
