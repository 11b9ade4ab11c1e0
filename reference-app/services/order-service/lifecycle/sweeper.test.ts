import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Registry } from 'prom-client';
import { decideExpiry } from './decide.ts';
import { readForCommand, settle } from './statements.ts';
import { measureOverdue, runSweeper, sweep } from './sweeper.ts';
import { EXPIRING, type Status } from './transitions.ts';
import { inventoryHandler } from '../../inventory-service/handler.ts';
import type { Pool } from '../../shared/database.ts';
import { newEvent, newId, type EventEnvelope, type EventType } from '../../shared/events/index.ts';
import { withoutAuthorization } from '../../shared/http/caller.ts';
import type { Handler } from '../../shared/messaging/handler.ts';
import { handleOnce } from '../../shared/messaging/inbox.ts';
import { registry } from '../../shared/telemetry.ts';
import { appendToOutbox, eventually, silentLogger, startTestServer, tellLedger, type TestDatabase, type TestServer } from '../../shared/testing.ts';
import { createStockHandler } from '../../stock-service/handler.ts';
import { createWriteApi } from '../api-write-service/api.ts';
import { orderStatusHandler } from '../order-status/handler.ts';

let server: TestServer;
let db: TestDatabase;
/** As the sweeper's own login. */
let own: Pool;
before(async () => {
  server = await startTestServer();
  db = await server.database({ logins: ['order-status'] });
  own = db.as('order-status', 8);
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
  if (version === 1) await db.admin.query('INSERT INTO orders.status_change (order_id, version, to_status, event_id) VALUES ($1, 1, \'PENDING\', $2)', [orderId, newId()]);
  return orderId;
}

/** Orders as the intake stores them, so long ago; their events wait for the relay. */
async function accepted(count: number, ageMs: number): Promise<string[]> {
  const ids = await Promise.all(Array.from({ length: count }, () => order('PENDING', ageMs)));
  await appendToOutbox(db.admin, ids.map((orderId) => newEvent({
    type: 'order.created',
    source: '/order-service',
    subject: orderId,
    sequence: 1,
    cause: { id: newId() },
    data: { orderId, customerId: 'c', items: [{ sku: 'A', quantity: 2 }], createdAt: new Date(Date.now() - ageMs).toISOString() },
  })));
  await db.admin.query('UPDATE messaging.outbox SET created_at = now() - make_interval(secs => $2) WHERE aggregate_id = ANY ($1)', [ids, ageMs / 1_000]);
  return ids;
}

/** Nothing waits for the relay any more. */
const relayed = () => db.admin.query('UPDATE messaging.relay_cursor SET (xid, id) = (SELECT xid, id FROM messaging.outbox ORDER BY xid DESC, id DESC LIMIT 1)');

/** Delivers the events of a type about these orders. */
async function deliver<T extends EventType>(handler: Handler<T>, detailType: string, orderIds: readonly string[]): Promise<void> {
  const { rows } = await db.admin.query<{ envelope: string }>(
    'SELECT envelope FROM messaging.outbox WHERE detail_type = $1 AND aggregate_id = ANY ($2) ORDER BY id', [detailType, orderIds]);
  await handleOnce(handler, rows.map(({ envelope }) => JSON.parse(envelope) as EventEnvelope<T>), db.command);
}

/** What was handled until now was handled ten minutes ago, which is more than a tenth of an hour. */
const timePasses = () => db.admin.query('UPDATE messaging.inbox SET processed_at = processed_at - interval \'10 minutes\'');

/** From the order to its decision. */
async function decideOn(orderIds: readonly string[]): Promise<void> {
  await deliver(createStockHandler({ reader: db.command, writer: db.command, logger: silentLogger() }), 'OrderCreated', orderIds);
  await deliver(inventoryHandler, 'StockValidated', orderIds);
  await deliver(orderStatusHandler, 'InventoryUpdated', orderIds);
  await relayed();
}

async function statuses(orderIds: readonly string[]): Promise<string[]> {
  const { rows } = await db.admin.query<{ status: string }>('SELECT DISTINCT status FROM orders.orders WHERE order_id = ANY ($1) ORDER BY 1', [orderIds]);
  return rows.map(({ status }) => status);
}

async function expiredEvents(): Promise<EventEnvelope<'order.expired'>[]> {
  const { rows } = await db.admin.query<{ envelope: string }>('SELECT envelope FROM messaging.outbox WHERE detail_type = \'OrderExpired\' ORDER BY id');
  return rows.map(({ envelope }) => JSON.parse(envelope) as EventEnvelope<'order.expired'>);
}

test('what waits for longer than it may ends, whatever it waits for; what rests or has time left stays', async () => {
  const late = await Promise.all(EXPIRING.map((status) => order(status, 2 * HOUR)));
  const others = await Promise.all([order('CONFIRMED', 9 * HOUR), order('CANCELLED', 9 * HOUR), order('PENDING', HOUR / 2)]);
  // An old order that has just been changed.
  const fresh = await order('UPDATE_PENDING', 9 * HOUR, 3);
  await db.admin.query('UPDATE orders.orders SET updated_at = now() WHERE order_id = $1', [fresh]);
  assert.equal(await sweep(own, 3_600), late.length);
  assert.equal(await sweep(own, 3_600), 0);
  const { rows } = await db.admin.query<{ order_id: string; status: string; reason: string | null }>('SELECT order_id, status, reason FROM orders.orders ORDER BY 1');
  const of = (id: string) => rows.find(({ order_id }) => order_id === id)!;
  // An update without an answer leaves the order as it was before.
  const end = (status: Status) => (status === 'UPDATE_PENDING' ? 'CONFIRMED' : 'EXPIRED');
  assert.deepEqual(late.map((id) => [of(id).status, of(id).reason]), EXPIRING.map((status) => [end(status), `DEADLINE_OF_${status}`]));
  assert.deepEqual([...others, fresh].map((id) => of(id).status), ['CONFIRMED', 'CANCELLED', 'PENDING', 'UPDATE_PENDING']);
  const events = await expiredEvents();
  assert.deepEqual(events.map(({ data }) => data.status).sort(), EXPIRING.filter((status) => end(status) === 'EXPIRED').sort());
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
  assert.equal(await sweep(own, 3_600), 0, 'its answer may be on its way');
  const [other] = await accepted(1, 0);
  await decideOn([other!]);
  await timePasses();
  await db.admin.query('UPDATE messaging.outbox SET created_at = now() - interval \'2 hours\' WHERE aggregate_id = $1', [orderId]);
  assert.equal(await sweep(own, 3_600), 1);
  const late = await handleOnce(orderStatusHandler, [JSON.parse(answer!.envelope) as EventEnvelope<'inventory.updated'>], db.command);
  assert.deepEqual(late.map(({ result }) => result), ['ignored']);
  const expired = (await expiredEvents()).find(({ subject }) => subject === orderId)!;
  await handleOnce(inventoryHandler, [expired], db.command);
  const { rows: [stock] } = await db.admin.query('SELECT on_hand, reserved FROM inventory.stock_level');
  assert.deepEqual(stock, { on_hand: 1000, reserved: 2 }, 'what the other order has');
  const { rows: [row] } = await db.admin.query('SELECT status FROM orders.orders WHERE order_id = $1', [orderId]);
  assert.equal(row.status, 'EXPIRED');
});

test('an outage ends no order: neither one of the relay, nor one of a consumer', async () => {
  await relayed();
  await db.admin.query('DELETE FROM messaging.inbox');
  const ids = await accepted(200, 2 * HOUR);
  assert.equal(await sweep(own, 3_600), 0, 'the relay is away');
  await relayed();
  assert.equal(await sweep(own, 3_600), 0, 'the relay is back, and the events are in queues');
  const young = await accepted(1, 0);
  await deliver(createStockHandler({ reader: db.command, writer: db.command, logger: silentLogger() }), 'OrderCreated', [...ids, ...young]);
  await relayed();
  assert.equal(await sweep(own, 3_600), 0, 'the next consumer is away');
  await deliver(inventoryHandler, 'StockValidated', [...ids, ...young]);
  await deliver(orderStatusHandler, 'InventoryUpdated', [...ids, ...young]);
  await relayed();
  assert.deepEqual([await sweep(own, 3_600), await statuses([...ids, ...young])], [0, ['CONFIRMED']]);
});

test('queues have no order: after an outage, a new event that comes before the others ends none of them', async () => {
  const ids = await accepted(20, 2 * HOUR);
  await relayed();
  await db.admin.query('DELETE FROM messaging.inbox');
  await decideOn(await accepted(1, 0));
  assert.equal(await sweep(own, 3_600), 0, 'the others may come next');
  const [lost, ...waited] = ids;
  await decideOn(waited);
  assert.deepEqual([await statuses(waited), await statuses([lost!])], [['CONFIRMED'], ['PENDING']]);
  // The consumers are busy with others since then.
  await timePasses();
  await db.admin.query(`INSERT INTO messaging.inbox (consumer, event_id)
    SELECT c, (left(messaging.first_id(now() + interval '1 minute')::text, 24) || lpad(to_hex(n), 12, '0'))::uuid
    FROM unnest(ARRAY['stock-service', 'inventory-service', 'order-status']) AS c, generate_series(1, 500) AS n`);
  await db.admin.query(`UPDATE messaging.inbox SET event_id = (left(messaging.first_id(now() - interval '15 minutes')::text, 24) || right(event_id::text, 12))::uuid
    WHERE processed_at < now() - interval '5 minutes'`);
  assert.equal(await sweep(own, 3_600), 1);
  assert.deepEqual(await statuses([lost!]), ['EXPIRED']);
  await db.admin.query('DELETE FROM messaging.inbox');
});

test('one of two relays that stands still is an outage, though the other one works', async () => {
  await db.admin.query('SELECT messaging.set_relay_shards(2)');
  const pass = (shard: number) => db.admin.query(
    'UPDATE messaging.relay_cursor SET (xid, id) = (SELECT xid, id FROM messaging.outbox ORDER BY xid DESC, id DESC LIMIT 1) WHERE shard = $1', [shard]);
  await Promise.all([0, 1].map(pass));
  const ids = await accepted(20, 2 * HOUR);
  await pass(0);
  await decideOn(await accepted(1, 0));
  await timePasses();
  await db.admin.query('UPDATE messaging.relay_cursor c SET (xid, id) = (SELECT o.xid, o.id - 1 FROM messaging.outbox o WHERE o.aggregate_id = $1) WHERE shard = 1', [ids[0]]);
  assert.equal(await sweep(own, 3_600), 0);
  await Promise.all([0, 1].map(pass));
  assert.equal(await sweep(own, 3_600), 20);
  await db.admin.query('SELECT messaging.set_relay_shards(1)');
  await relayed();
});

test('an order whose event was lost ends when younger ones were decided, or when its dead letter is noted', async () => {
  const [lost, dead, refused] = await accepted(3, 2 * HOUR);
  await relayed();
  await db.admin.query('DELETE FROM messaging.inbox');
  assert.equal(await sweep(own, 3_600), 0, 'it may still come');
  const note = (consumer: string) => db.admin.query(
    'INSERT INTO messaging.dead_letter (consumer, event_id, order_id, type, error) VALUES ($1, $2, $3, \'order.created\', \'broken\')', [consumer, newId(), dead]);
  await note('analytics-service');
  assert.equal(await sweep(own, 3_600), 0, 'no decision needs analytics');
  await note('stock-service');
  await db.admin.query(
    'INSERT INTO messaging.outbox_dead SELECT xid, id, event_id, aggregate_id, detail_type, envelope, \'too large\' FROM messaging.outbox WHERE aggregate_id = $1', [refused]);
  assert.equal(await sweep(own, 3_600), 2);
  assert.deepEqual([await statuses([dead!, refused!]), await statuses([lost!])], [['EXPIRED'], ['PENDING']]);
  await relayed();
  await decideOn(await accepted(1, 1.95 * HOUR));
  assert.deepEqual(await statuses([lost!]), ['PENDING']);
  await decideOn(await accepted(1, 0));
  await timePasses();
  assert.equal(await sweep(own, 3_600), 1);
  assert.deepEqual(await statuses([lost!]), ['EXPIRED']);
});

test('an update that nobody answers leaves the order with its items, and the stock that it came to hold is given back', async () => {
  const [orderId] = await accepted(1, 0);
  await decideOn([orderId!]);
  await deliver(inventoryHandler, 'OrderConfirmed', [orderId!]);
  const { rows: [before] } = await db.admin.query('SELECT on_hand, reserved FROM inventory.stock_level');
  const app = createWriteApi({ authentication: withoutAuthorization, pool: db.command, logger: silentLogger(), registry: new Registry() });
  const patched = await app.inject({ method: 'PATCH', url: `/orders/${orderId}`, headers: { 'if-match': '*' }, payload: { items: [{ sku: 'A', quantity: 5 }] } });
  assert.equal(patched.statusCode, 202);
  await app.close();
  const { order: stored } = await readForCommand(db.command, { orderId: orderId!, caller: { subject: '', customerId: undefined }, key: undefined, skus: [] });
  const at = new Date();
  await settle(db.command, '', [], [decideExpiry(stored!, at)!], at);
  const look = async () => (await db.admin.query('SELECT status, version, items, requested, reason FROM orders.orders WHERE order_id = $1', [orderId])).rows[0];
  const settled = { status: 'CONFIRMED', version: 4, items: [{ sku: 'A', quantity: 2 }], requested: null, reason: 'DEADLINE_OF_UPDATE_PENDING' };
  assert.deepEqual(await look(), settled);
  // Now it comes to the request after all, reserves, and answers; then it hears of the deadline.
  await deliver(inventoryHandler, 'OrderUpdateRequested', [orderId!]);
  await deliver(orderStatusHandler, 'InventoryUpdated', [orderId!]);
  assert.deepEqual(await look(), settled);
  await deliver(inventoryHandler, 'OrderUpdateExpired', [orderId!]);
  assert.deepEqual((await db.admin.query('SELECT on_hand, reserved FROM inventory.stock_level')).rows, [before]);
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
  await tellLedger(db.admin, answers);
  const sweepers = Array.from(
    { length: 4 }, () => runSweeper({ pool: own, logger: silentLogger(), deadlineSeconds: 3_600, everyMs: 5 }),
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
  const { rows: twice } = await db.admin.query('SELECT order_id FROM orders.status_change WHERE order_id = ANY ($1) AND version > 1 GROUP BY 1 HAVING count(*) > 1', [late]);
  assert.deepEqual(twice, []);
});

test('a sweeper does not wait for an order that somebody else works on, or for another sweeper, and leaves it to them', async () => {
  const [busy, free] = await Promise.all([order('PENDING', 2 * HOUR), order('PENDING', 2 * HOUR)]);
  const client = await db.admin.connect();
  try {
    await client.query('BEGIN');
    await client.query('SELECT FROM orders.orders WHERE order_id = $1 FOR UPDATE', [busy]);
    const swept = await Promise.race([sweep(own, 3_600), new Promise<string>((resolve) => setTimeout(() => resolve('it waits'), 5_000).unref())]);
    assert.equal(swept, 1);
  } finally {
    await client.query('ROLLBACK');
    client.release();
  }
  const { rows: [row] } = await db.admin.query('SELECT status FROM orders.orders WHERE order_id = $1', [free]);
  assert.equal(row.status, 'EXPIRED');
  await order('PENDING', 2 * HOUR);
  const other = await db.admin.connect();
  try {
    await other.query('BEGIN; SELECT FROM orders.overdue(ARRAY[\'PENDING\'], interval \'1 hour\', 1)');
    assert.equal(await sweep(own, 3_600), 0);
  } finally {
    await other.query('ROLLBACK');
    other.release();
  }
  assert.equal(await sweep(own, 3_600), 2);
});

test('what is past its deadline shows in the metrics until it is swept', async () => {
  await Promise.all([order('PENDING', 2 * HOUR), order('CANCEL_PENDING', 2 * HOUR)]);
  const overdue = async () => [...(await registry.metrics()).matchAll(/^orders_overdue\{status="(\w+)"\} (\d+)$/gm)].map(([, status, count]) => `${status} ${count}`).sort();
  await measureOverdue(own, 3_600);
  assert.deepEqual(await overdue(), ['CANCEL_PENDING 1', 'PENDING 1', 'UPDATE_PENDING 0']);
  assert.equal(await sweep(own, 3_600), 2);
  await measureOverdue(own, 3_600);
  assert.deepEqual(await overdue(), ['CANCEL_PENDING 0', 'PENDING 0', 'UPDATE_PENDING 0']);
});
