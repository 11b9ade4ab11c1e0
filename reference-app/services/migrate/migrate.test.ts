import assert from 'node:assert/strict';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { Pool } from '../shared/database.ts';
import { MIGRATIONS, silentLogger, startTestServer, type TestServer } from '../shared/testing.ts';
import { migrate, type MigrateOptions } from './migrate.ts';

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
      directory: MIGRATIONS, logger: silentLogger(),
      command: { username: 'app_command', password: 'c' }, query: { username: 'app_query', password: 'q' }, ...options,
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
  await pool.query(`UPDATE inventory.stock_level SET on_hand = 7 WHERE sku = 'A'`);
  await writeFile(seedFile, JSON.stringify([...CATALOG, { sku: 'C', name: 'Product C', onHand: 3 }]));
  await run(pool, { seedFile });

  const { rows: journal } = await pool.query('SELECT version FROM messaging.schema_migration ORDER BY version');
  assert.deepEqual(journal.map(({ version }) => version), [1, 2, 3, 4, 5]);
  const { rows: stock } = await pool.query('SELECT sku, on_hand FROM inventory.stock_level ORDER BY sku');
  assert.deepEqual(stock, [{ sku: 'A', on_hand: 7 }, { sku: 'B', on_hand: 0 }, { sku: 'C', on_hand: 3 }]);
  const { rows: movements } = await pool.query(`SELECT sku, delta_on_hand FROM inventory.ledger WHERE type = 'RECEIPT' ORDER BY sku`);
  assert.deepEqual(movements, [{ sku: 'A', delta_on_hand: 10 }, { sku: 'B', delta_on_hand: 0 }, { sku: 'C', delta_on_hand: 3 }]);
});

test('a file that changed after it was applied, or that is missing, stops the run before it does anything', async () => {
  const pool = await emptyDatabase('changed');
  await run(pool);
  const changed = join(folder, 'changed');
  await cp(MIGRATIONS, changed, { recursive: true });
  await writeFile(join(changed, '002-orders.sql'), 'CREATE TABLE public.never (x int)');
  await writeFile(join(changed, '999-new.sql'), 'CREATE TABLE public.never (x int)');
  await assert.rejects(run(pool, { directory: changed }), /Migration 2 \(orders\) was changed after it was applied/);
  await rm(join(changed, '002-orders.sql'));
  await assert.rejects(run(pool, { directory: changed }), /migration 2 \(orders\), which this version does not know/);
  const { rows: [never] } = await pool.query(`SELECT to_regclass('public.never') AS name`);
  assert.equal(never.name, null);
});

test('a migration that fails leaves nothing of itself', async () => {
  const pool = await emptyDatabase('fails');
  const failing = join(folder, 'failing');
  await cp(MIGRATIONS, failing, { recursive: true });
  await writeFile(join(failing, '998-half.sql'), 'CREATE TABLE public.half (x int); SELECT 1 / 0;');
  await assert.rejects(run(pool, { directory: failing }), /division by zero/);
  const { rows: [half] } = await pool.query(`SELECT to_regclass('public.half') AS name`);
  assert.equal(half.name, null);
  const { rows } = await pool.query('SELECT max(version) AS version FROM messaging.schema_migration');
  assert.equal(rows[0].version, 5);
});

test('passwords of any characters work, change with the secret, and reach the server only as a SCRAM verifier', async () => {
  const pool = await emptyDatabase('passwords');
  await pool.query(`ALTER SYSTEM SET log_statement = 'all'`);
  await pool.query('SELECT pg_reload_conf()');
  const login = (password: string) => server.pool({ database: 'passwords', user: 'o"dd.na\'me', password, max: 1 }).query('SELECT 1');
  const first = 'first\'"\\ $$ p%ss; --';
  await run(pool, { command: { username: 'o"dd.na\'me', password: first } });
  await login(first);
  await run(pool, { command: { username: 'o"dd.na\'me', password: 'second-password' } });
  await login('second-password');
  await assert.rejects(login(first), /password authentication failed/);
  const { rows: [stored] } = await pool.query(`SELECT rolpassword FROM pg_authid WHERE rolname = 'o"dd.na''me'`);
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

  await command.query(`INSERT INTO messaging.outbox (event_id, aggregate_id, detail_type, envelope) VALUES (gen_random_uuid(), 'a', 'OrderCreated', '{}')`);
  await command.query(`UPDATE inventory.stock_level SET reserved = 1 WHERE sku = 'A'`);
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
    `INSERT INTO inventory.product VALUES ('X', 'X')`,
    'SELECT * FROM messaging.schema_migration',
  ]) await assert.rejects(command.query(statement), denied, statement);

  for (const statement of [
    'SELECT * FROM orders.orders', 'SELECT * FROM orders.order_line', 'SELECT * FROM orders.status_change',
    'SELECT * FROM inventory.product', 'SELECT * FROM inventory.stock_level', 'SELECT * FROM messaging.outbox',
  ]) await query.query(statement);
  const writable = await query.connect();
  await writable.query('SET default_transaction_read_only = off');
  for (const statement of [
    `INSERT INTO orders.orders (order_id, customer_id, status, version) VALUES (gen_random_uuid(), 'c', 'PENDING', 1)`,
    'UPDATE inventory.stock_level SET reserved = 0', 'DELETE FROM messaging.outbox', 'SELECT * FROM orders.idempotency_key',
    'SELECT * FROM notification.notification', 'SELECT * FROM messaging.inbox', 'CREATE TABLE public.mine (x int)',
    `SELECT inventory.claim('c', '{}', '{}', '{}')`,
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
  const { rows: [privilege] } = await pool.query(`SELECT has_table_privilege('app_query', 'orders.orders', 'DELETE') AS granted`);
  assert.equal(privilege.granted, false);
});
