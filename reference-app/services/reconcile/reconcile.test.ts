import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { after, before, beforeEach, test } from 'node:test';
import { SecretsManager } from 'cdk-local-run/secretsmanager/endpoint';
import { findStrays, giveBack } from './reconcile.ts';
import { CHECKS } from '../../invariants/sql.ts';
import type { Caused } from '../inventory-service/decide.ts';
import { inventoryHandler } from '../inventory-service/handler.ts';
import { orderStatusHandler } from '../order-service/order-status/handler.ts';
import type { Pool } from '../shared/database.ts';
import { newEvent, newId, type EventEnvelope } from '../shared/events/index.ts';
import { handleOnce } from '../shared/messaging/inbox.ts';
import { startTestServer, tellOrders, type TestDatabase, type TestServer } from '../shared/testing.ts';

let server: TestServer;
let db: TestDatabase;
const secrets = new SecretsManager();
let secretsUrl: string;

before(async () => {
  server = await startTestServer();
  const { user: username, password } = server.postgres.writer;
  secrets.put({ name: 'admin', secretString: JSON.stringify({ username, password }) });
  secretsUrl = (await secrets.start()).url;
});
after(async () => {
  await secrets.stop();
  await server.stop();
});
beforeEach(async () => {
  await db?.drop();
  db = await server.database();
  await db.admin.query(`INSERT INTO inventory.product VALUES ('A', 'a'), ('B', 'b');
    INSERT INTO inventory.stock_level (sku, location, on_hand) VALUES ('A', 'EAST', 3), ('A', 'MAIN', 100), ('B', 'MAIN', 50);
    INSERT INTO inventory.ledger (sku, location, type, delta_on_hand, delta_reserved) SELECT sku, location, 'RECEIPT', on_hand, 0 FROM inventory.stock_level`);
});

const about = (orderId: string, sequence: number) => ({ source: '/test', subject: orderId, sequence, cause: { id: newId() } });
const validated = (orderId: string, lines = [{ sku: 'A', requested: 5, available: 9 }]) => newEvent({
  ...about(orderId, 1), type: 'inventory.validated', data: { orderId, lines, sufficient: true, asOf: new Date().toISOString() },
});
const confirmed = (orderId: string) => newEvent({
  ...about(orderId, 2), type: 'order.confirmed', data: { orderId, customerId: 'c', version: 2, confirmedAt: new Date().toISOString() },
});

const kept = new Set<string>();

async function order(): Promise<string> {
  const orderId = newId();
  kept.add(orderId);
  await db.admin.query(`INSERT INTO orders.orders (order_id, customer_id, status, version, items)
    VALUES ($1, 'c', 'PENDING', 1, '[{"sku": "A", "quantity": 5}]')`, [orderId]);
  return orderId;
}

const stock = async () => (await db.admin.query<{ place: string; on_hand: number; reserved: number }>(
  'SELECT sku || \'@\' || location AS place, on_hand, reserved FROM inventory.stock_level ORDER BY sku, location')).rows.map((row) => Object.values(row).join(' '));

/** Handles events of orders, most of which are lost then: there is only what order() has made. */
async function handleLost(events: readonly EventEnvelope<Caused>[], pool: Pool) {
  await tellOrders(db.admin, events);
  await db.admin.query('DELETE FROM orders.orders WHERE order_id = ANY ($1) AND order_id <> ALL ($2)', [events.map(({ subject }) => subject), [...kept]]);
  return handleOnce(inventoryHandler, events, pool);
}

/** Counters, ledger and its events agree, and nothing is held for nobody. */
async function checkStock(): Promise<void> {
  for (const { invariant, what, sql } of CHECKS.filter((check) => ['I3', 'I4', 'I7', 'I9'].includes(check.invariant) || /InventoryUpdated/.test(check.what))) {
    assert.deepEqual((await db.admin.query(sql)).rows, [], `${invariant}: ${what}`);
  }
}

test('stock of orders that do not exist is given back once, and late events about them change nothing', async () => {
  const [held, taken, real] = [newId(), newId(), await order()];
  await handleLost([held, taken, real].map((orderId) => validated(orderId)), db.command);
  await handleLost([validated(newId(), [{ sku: 'B', requested: 51, available: 0 }]), confirmed(taken)], db.command);
  const strays = await findStrays(db.command);
  assert.deepEqual(strays.map((one) => [one.orderId, one.sku, one.held, one.taken]).sort(), [[held, 'A', 3, 0], [held, 'A', 2, 0], [taken, 'A', 0, 5]].sort());
  assert.ok(strays.every(({ since }) => since instanceof Date));
  await assert.rejects(checkStock, /I9/);

  assert.equal(await giveBack(db.command, strays), 2);
  assert.deepEqual(await stock(), ['A@EAST 3 0', 'A@MAIN 100 5', 'B@MAIN 50 0']);
  assert.deepEqual([await findStrays(db.command), await giveBack(db.command, strays)], [[], 0]);
  await checkStock();

  const late = await handleLost([validated(held), confirmed(held)], db.command);
  assert.deepEqual(late.map(({ result }) => result), ['duplicate', 'duplicate']);
  const { rows } = await db.admin.query<{ envelope: string }>('SELECT envelope FROM messaging.outbox WHERE aggregate_id = ANY ($1) ORDER BY id', [[held, taken]]);
  const events = rows.map(({ envelope }) => JSON.parse(envelope) as EventEnvelope<'inventory.updated'>);
  const given = events.filter(({ data: { outcome } }) => outcome !== 'RESERVED' && outcome !== 'DEDUCTED');
  assert.deepEqual(given.map(({ data, sequence }) => [data.orderId, data.outcome, sequence]).sort(), [[held, 'RELEASED', '2'], [taken, 'RETURNED', '3']].sort());
  const answers = await handleOnce(orderStatusHandler, given, db.command);
  assert.deepEqual(answers.map(({ result }) => result), ['duplicate', 'duplicate'], 'nobody waits for the answers, so they are no dead letters');
});

test('it runs beside the services and beside itself', async () => {
  const ghosts = Array.from({ length: 30 }, () => newId());
  const orders = await Promise.all(Array.from({ length: 8 }, order));
  await db.admin.query(`UPDATE inventory.stock_level SET on_hand = 1000 WHERE location = 'MAIN' AND sku = 'A';
    INSERT INTO inventory.ledger (sku, location, type, delta_on_hand, delta_reserved) VALUES ('A', 'MAIN', 'RECEIPT', 900, 0)`);
  await handleLost(ghosts.map((orderId) => validated(orderId)), db.command);
  const strays = await findStrays(db.command);
  const [first, second] = await Promise.all([
    giveBack(db.command, strays),
    giveBack(db.command, strays),
    ...orders.map((orderId) => handleLost([validated(orderId)], db.command)),
    ...ghosts.map((orderId) => handleLost([confirmed(orderId)], db.command)),
  ]);
  // Those that were confirmed in between are found the next time.
  const rest = await giveBack(db.command, await findStrays(db.command));
  assert.ok(first + second + rest >= 30, `${first} + ${second} + ${rest}`);
  assert.deepEqual(await stock(), ['A@EAST 3 3', 'A@MAIN 1000 37', 'B@MAIN 50 0']);
  await checkStock();
});

test('the program shows it, changes nothing without --apply, and its exit code says which', async () => {
  const ghost = newId();
  await handleLost([validated(ghost)], db.command);
  const { host, port } = server.postgres.writer;
  const run = async (...args: string[]) => {
    const child = spawn(process.execPath, [join(import.meta.dirname, 'main.ts'), ...args], {
      env: {
        PATH: process.env.PATH,
        DB_SECRET_ARN: 'admin',
        DB_WRITER_ENDPOINT: `${host}:${port}`,
        DB_NAME: db.name,
        AWS_REGION: 'us-east-1',
        AWS_ACCESS_KEY_ID: 'test',
        AWS_SECRET_ACCESS_KEY: 'test',
        AWS_ENDPOINT_URL_SECRETS_MANAGER: secretsUrl,
        LOG_LEVEL: 'error',
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const [out, err, [code]] = await Promise.all([child.stdout.setEncoding('utf8').toArray(), child.stderr.setEncoding('utf8').toArray(), once(child, 'exit')]);
    return { code: code as number, out: out.join(''), err: err.join('') };
  };
  const [help, wrong, dry] = [await run('--help'), await run('--aply'), await run()];
  assert.deepEqual([help.code, wrong.code, dry.code], [0, 2, 3], dry.err);
  assert.match(help.out, /--apply .*\n/);
  assert.match(wrong.err, /--aply/);
  assert.match(dry.out, new RegExp(`${ghost} +A +EAST +3 +0 +20\\d\\d-`));
  assert.match(dry.out, /\nOrders: 1\. Pieces held: 5, taken: 0\.\nNothing was changed/);
  assert.deepEqual(await stock(), ['A@EAST 3 3', 'A@MAIN 100 2', 'B@MAIN 50 0']);
  const [applied, again] = [await run('--apply'), await run('--apply')];
  assert.deepEqual([applied.code, again.code], [0, 0], applied.err);
  assert.match(applied.out, /The stock of 1 orders was given back\.\n$/);
  assert.match(again.out, /^No stock belongs to an order that does not exist\.\n$/);
  assert.deepEqual(await stock(), ['A@EAST 3 0', 'A@MAIN 100 0', 'B@MAIN 50 0']);
});
