import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { measureOverdue, runSweeper, sweep } from './sweeper.ts';
import { EXPIRING, type Status } from './transitions.ts';
import { inventoryHandler } from '../../inventory-service/handler.ts';
import { newEvent, newId, type EventEnvelope } from '../../shared/events/index.ts';
import { handleOnce } from '../../shared/messaging/inbox.ts';
import { registry } from '../../shared/telemetry.ts';
import { eventually, silentLogger, startTestServer, type TestDatabase, type TestServer } from '../../shared/testing.ts';
import { orderStatusHandler } from '../order-status/handler.ts';

let server: TestServer;
let db: TestDatabase;
before(async () => {
  server = await startTestServer();
  db = await server.database();
  await db.admin.query(`INSERT INTO inventory.product VALUES ('A', 'A');
    INSERT INTO inventory.stock_level (sku, on_hand) VALUES ('A', 1000);
    INSERT INTO inventory.ledger (sku, location, type, delta_on_hand, delta_reserved) VALUES ('A', 'MAIN', 'RECEIPT', 1000, 0)`);
});
after(() => server.stop());

const HOUR = 3_600_000;

/** An order that has been what it is for so long. */
async function order(status: Status, ageMs: number, version = 1): Promise<string> {
  const orderId = `${(Date.now() - ageMs).toString(16).padStart(12, '0').replace(/^(.{8})(.{4})$/, '$1-$2')}${newId().slice(13)}`;
  await db.admin.query(`INSERT INTO orders.orders (order_id, customer_id, status, version, created_at, updated_at, items)
    VALUES ($1, 'c', $2, $3, now() - make_interval(secs => $4), now() - make_interval(secs => $4), '[{"sku": "A", "quantity": 2}]')`, [orderId, status, version, ageMs / 1_000]);
  return orderId;
}

async function expiredEvents(): Promise<EventEnvelope<'order.expired'>[]> {
  const { rows } = await db.admin.query<{ envelope: string }>('SELECT envelope FROM messaging.outbox WHERE detail_type = \'OrderExpired\' ORDER BY id');
  return rows.map(({ envelope }) => JSON.parse(envelope) as EventEnvelope<'order.expired'>);
}

test('what waits for longer than it may expires, whatever it waits for; what rests or has time left stays', async () => {
  const late = await Promise.all(EXPIRING.map((status) => order(status, 2 * HOUR)));
  const others = await Promise.all([order('CONFIRMED', 9 * HOUR), order('CANCELLED', 9 * HOUR), order('PENDING', HOUR / 2)]);
  // An old order that has just been changed.
  const fresh = await order('UPDATE_PENDING', 9 * HOUR, 3);
  await db.admin.query('UPDATE orders.orders SET updated_at = now() WHERE order_id = $1', [fresh]);
  assert.equal(await sweep(db.command, 3_600), late.length);
  assert.equal(await sweep(db.command, 3_600), 0);
  const { rows } = await db.admin.query<{ order_id: string; status: string; reason: string | null }>('SELECT order_id, status, reason FROM orders.orders ORDER BY 1');
  const of = (id: string) => rows.find(({ order_id }) => order_id === id)!;
  assert.deepEqual(late.map((id) => [of(id).status, of(id).reason]), EXPIRING.map((status) => ['EXPIRED', `DEADLINE_OF_${status}`]));
  assert.deepEqual([...others, fresh].map((id) => of(id).status), ['CONFIRMED', 'CANCELLED', 'PENDING', 'UPDATE_PENDING']);
  const events = await expiredEvents();
  assert.deepEqual(events.map(({ data }) => data.status).sort(), [...EXPIRING].sort());
  assert.ok(events.every(({ causationid, data }) => causationid === `deadline of ${data.status}`));
});

test('an expired order gives its stock back, and an answer that comes too late changes nothing', async () => {
  const orderId = await order('PENDING', 2 * HOUR);
  const validated = newEvent({
    type: 'inventory.validated',
    source: '/stock-service',
    subject: orderId,
    sequence: 1,
    cause: { id: newId() },
    data: { orderId, lines: [{ sku: 'A', requested: 2, available: 9 }], sufficient: true, asOf: new Date().toISOString() },
  });
  await handleOnce(inventoryHandler, [validated], db.command);
  const { rows: [answer] } = await db.admin.query<{ envelope: string }>('SELECT envelope FROM messaging.outbox WHERE aggregate_id = $1', [orderId]);
  assert.equal(await sweep(db.command, 3_600), 1);
  const late = await handleOnce(orderStatusHandler, [JSON.parse(answer!.envelope) as EventEnvelope<'inventory.updated'>], db.command);
  assert.deepEqual(late.map(({ result }) => result), ['ignored']);
  const expired = (await expiredEvents()).find(({ subject }) => subject === orderId)!;
  await handleOnce(inventoryHandler, [expired], db.command);
  const { rows: [stock] } = await db.admin.query('SELECT on_hand, reserved FROM inventory.stock_level');
  assert.deepEqual(stock, { on_hand: 1000, reserved: 0 });
  const { rows: [row] } = await db.admin.query('SELECT status FROM orders.orders WHERE order_id = $1', [orderId]);
  assert.equal(row.status, 'EXPIRED');
});

test('sweepers share the work: each order expires once, while others answer', async () => {
  const before = (await expiredEvents()).length;
  const late = await Promise.all(Array.from({ length: 700 }, () => order('PENDING', 2 * HOUR)));
  const answers = late.filter((_, i) => i % 3 === 0).map((orderId) => newEvent({
    type: 'inventory.updated',
    source: '/inventory-service',
    subject: orderId,
    sequence: 1,
    cause: { id: newId() },
    data: { orderId, reservationId: newId(), outcome: 'RESERVED', lines: [], shortages: [] },
  }));
  const sweepers = Array.from(
    { length: 4 }, () => runSweeper({ pool: db.command, logger: silentLogger(), deadlineSeconds: 3_600, everyMs: 5 }),
  );
  const answered = (async () => {
    for (let at = 0; at < answers.length; at += 20) await handleOnce(orderStatusHandler, answers.slice(at, at + 20), db.command);
  })();
  await eventually(async () => (await db.admin.query('SELECT FROM orders.orders WHERE order_id = ANY ($1) AND status = \'PENDING\'', [late])).rowCount, (open) => open === 0);
  await Promise.all([answered, ...sweepers.map((one) => one.stop())]);
  const { rows } = await db.admin.query<{ status: string; n: number }>('SELECT status, count(*)::int AS n FROM orders.orders WHERE order_id = ANY ($1) GROUP BY 1', [late]);
  const expired = rows.find(({ status }) => status === 'EXPIRED')!.n;
  assert.equal(rows.reduce((sum, { n }) => sum + n, 0), 700);
  assert.equal((await expiredEvents()).length - before, expired);
  const { rows: twice } = await db.admin.query('SELECT order_id FROM orders.status_change WHERE order_id = ANY ($1) GROUP BY 1 HAVING count(*) > 1', [late]);
  assert.deepEqual(twice, []);
});

test('a sweeper does not wait for an order that somebody else works on, and leaves it to them', async () => {
  const [busy, free] = await Promise.all([order('PENDING', 2 * HOUR), order('PENDING', 2 * HOUR)]);
  const client = await db.admin.connect();
  try {
    await client.query('BEGIN');
    await client.query('SELECT FROM orders.orders WHERE order_id = $1 FOR UPDATE', [busy]);
    const swept = await Promise.race([sweep(db.command, 3_600), new Promise<string>((resolve) => setTimeout(() => resolve('it waits'), 5_000).unref())]);
    assert.equal(swept, 1);
  } finally {
    await client.query('ROLLBACK');
    client.release();
  }
  const { rows: [row] } = await db.admin.query('SELECT status FROM orders.orders WHERE order_id = $1', [free]);
  assert.equal(row.status, 'EXPIRED');
  assert.equal(await sweep(db.command, 3_600), 1);
});

test('what is past its deadline shows in the metrics until it is swept', async () => {
  await Promise.all([order('PENDING', 2 * HOUR), order('CANCEL_PENDING', 2 * HOUR)]);
  const overdue = async () => [...(await registry.metrics()).matchAll(/^orders_overdue\{status="(\w+)"\} (\d+)$/gm)].map(([, status, count]) => `${status} ${count}`).sort();
  await measureOverdue(db.command, 3_600);
  assert.deepEqual(await overdue(), ['CANCEL_PENDING 1', 'PENDING 1', 'UPDATE_PENDING 0']);
  assert.equal(await sweep(db.command, 3_600), 2);
  await measureOverdue(db.command, 3_600);
  assert.deepEqual(await overdue(), ['CANCEL_PENDING 0', 'PENDING 0', 'UPDATE_PENDING 0']);
});
