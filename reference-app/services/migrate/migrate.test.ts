import assert from 'node:assert/strict';
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { readSchemas } from './files.ts';
import { FORMER_LAYOUT } from './former-layout.ts';
import { migrate, type MigrateOptions } from './migrate.ts';
import { FAN_OUT_IMAGE } from '../../profiles/fan-out/image.ts';
import { ORDER_PIPELINE_IMAGE } from '../../profiles/order-pipeline/image.ts';
import type { Pool } from '../shared/database.ts';
import { silentLogger, SQL_ROOT, startTestServer, type TestServer } from '../shared/testing.ts';

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
  await write('migrations/messaging/002-new.sql', 'CREATE TABLE public.never (x int)');
  await write('migrations/fan_out/001-tables.sql', 'CREATE TABLE public.never (x int)');
  await assert.rejects(run(pool, { root }), { name: 'MigrationError', message: /^migrations\/fan_out\/001-tables\.sql was changed after .*restore the file.*--fresh/ });
  await remove('migrations/fan_out/001-tables.sql');
  await assert.rejects(run(pool, { root }), {
    name: 'MigrationError',
    message: /^This database has migrations\/fan_out\/001-tables\.sql, which this version does not know: deploy the newer version.*--fresh/,
  });
  assert.equal(await count(pool, 'to_regclass(\'public.never\')'), null);
});

test('a numbered file before one that is applied is refused, whatever other schemas have', async () => {
  const pool = await emptyDatabase('older');
  const { root, write } = await copyOfFiles('older');
  await write('migrations/fan_out/005-e.sql', 'CREATE TABLE fan_out.e (x int)');
  await run(pool, { root });
  await write('migrations/messaging/002-b.sql', 'CREATE TABLE messaging.b (x int)');
  await run(pool, { root });
  assert.equal(await count(pool, 'to_regclass(\'messaging.b\')::text'), 'messaging.b');
  await write('migrations/fan_out/004-d.sql', 'CREATE TABLE fan_out.d (x int)');
  await assert.rejects(
    run(pool, { root }), /fan_out\/004-d\.sql comes before migrations\/fan_out\/005-e\.sql, which is applied: give it a higher number/,
  );
});

test('a file that fails leaves nothing of itself, and the message names it', async () => {
  const pool = await emptyDatabase('fails');
  const { root, write } = await copyOfFiles('fails');
  await write('migrations/fan_out/002-half.sql', 'CREATE TABLE public.half (x int); SELECT 1 / 0;');
  await assert.rejects(run(pool, { root }), /^error: migrations\/fan_out\/002-half\.sql: division by zero/);
  assert.equal(await count(pool, 'to_regclass(\'public.half\')'), null);
  assert.equal(await count(pool, '(SELECT max(name) FROM migration.applied)'), 'messaging/001-tables.sql');
  await write('migrations/fan_out/002-half.sql', 'CREATE TABLE fan_out.whole (x int);\n\nCREATE INDEX ON fan_out.whole (y)');
  await assert.rejects(run(pool, { root }), /^error: migrations\/fan_out\/002-half\.sql.*column "y" does not exist/);
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
  await write('migrations/messaging/schema.json', '{ "needs": ["fan_out"] }');
  await assert.rejects(readSchemas(root), /in a circle: fan_out, messaging, fan_out/);
  await write('migrations/messaging/schema.json', '{ "needs": [] }');
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
  assert.match(log, /ALTER ROLE "o""dd\.na'me" LOGIN/);
  assert.doesNotMatch(log, /second-password/);
});

test('the administrator is never turned into a role of the services', async () => {
  const pool = await emptyDatabase('admin');
  await assert.rejects(run(pool, { command: { username: 'postgres', password: 'x' } }), /administers the database/);
  await assert.rejects(run(pool, { command: { username: 'same', password: 'x' }, query: { username: 'same', password: 'x' } }), /both name the role same/);
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
  const writable = await query.connect();
  await writable.query('SET default_transaction_read_only = off');
  for (const statement of [
    'INSERT INTO orders.orders (order_id, customer_id, status, version) VALUES (gen_random_uuid(), \'c\', \'PENDING\', 1)',
    'UPDATE inventory.stock_level SET reserved = 0', 'DELETE FROM messaging.outbox', 'SELECT * FROM orders.idempotency_key',
    'SELECT * FROM notification.notification', 'SELECT * FROM messaging.inbox', 'CREATE TABLE public.mine (x int)',
    'SELECT inventory.claim(\'c\', \'{}\', \'{}\', \'{}\')',
  ]) {
    await assert.rejects(query.query(statement), /read-only transaction|permission denied/, statement);
    // Also when the client lifts the read-only default of the role.
    await assert.rejects(writable.query(statement), denied, statement);
  }
  writable.release();

  // The owner is bound too: the ledger is only ever added to.
  for (const statement of ['UPDATE inventory.ledger SET delta_on_hand = 0', 'DELETE FROM inventory.ledger', 'TRUNCATE inventory.ledger']) {
    await assert.rejects(admin.query(statement), /append-only/);
  }
  await drop();
});

test('a privilege that somebody added by hand is taken away by the next run', async () => {
  const pool = await emptyDatabase('drift');
  await run(pool);
  await pool.query('GRANT DELETE ON orders.orders TO app_query');
  await run(pool);
  const { rows: [privilege] } = await pool.query('SELECT has_table_privilege(\'app_query\', \'orders.orders\', \'DELETE\') AS granted');
  assert.equal(privilege.granted, false);
});
