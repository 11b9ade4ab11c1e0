import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import fc from 'fast-check';
import { lives, type LifeEvent } from '../../profiles/fan-out/publisher/life.ts';
import { newEvent, newId, type OrderItem } from '../shared/events/index.ts';
import { reference } from '../shared/messaging/gate-reference.ts';
import type { Handler } from '../shared/messaging/handler.ts';
import { handleIsolating, handleOnce, handleOverdue } from '../shared/messaging/inbox.ts';
import { runDelivery } from '../shared/notifications/delivery.ts';
import { eventually, silentLogger, startTestServer, type TestDatabase, type TestServer } from '../shared/testing.ts';
import { analyticsHandler } from './analytics-consumer/handler.ts';
import type { OrderEventType } from './in-order.ts';
import { locked } from './notification-consumer/delivery.ts';
import { createNotificationHandler } from './notification-consumer/handler.ts';
import { orderHandler } from './order-consumer/handler.ts';

let server: TestServer;
let db: TestDatabase;
before(async () => { server = await startTestServer(); });
after(() => server.stop());
beforeEach(async () => { db = await server.database({ schemas: ['messaging', 'fan_out'] }); });
afterEach(() => db.drop());

const notificationHandler = createNotificationHandler(() => {});
const HANDLERS: Handler<OrderEventType>[] = [orderHandler, analyticsHandler, notificationHandler];

/** Created, updated, cancelled; for each of a number of orders. */
function histories(orders: number): LifeEvent[][] {
  return [...lives(orders, 7)].map((life) => {
    const created = life.create();
    const updated = life.update(created);
    return [created, updated, life.cancel(updated)];
  });
}

/** All that the consumers wrote, but times and how often something came early. */
async function written(): Promise<unknown> {
  const tables = await Promise.all([
    'SELECT order_id, customer_id, version, status, items FROM fan_out.orders ORDER BY 1',
    'SELECT sum(created)::int AS created, sum(updated)::int AS updated, sum(cancelled)::int AS cancelled, sum(units)::int AS units FROM fan_out.order_minute',
    'SELECT order_id, version, outcome, customer_id FROM fan_out.notification ORDER BY 1, 2',
    'SELECT consumer, order_id, version FROM fan_out.progress ORDER BY 1, 2',
    'SELECT consumer, order_id, version FROM messaging.parked WHERE applied_at IS NULL ORDER BY 1, 2, 3',
    'SELECT consumer, event_id FROM messaging.inbox ORDER BY 1, 2',
  ].map((sql) => db.admin.query(sql)));
  return tables.map(({ rows }) => rows);
}

async function handleBatches(batches: readonly (readonly LifeEvent[])[]): Promise<void> {
  for (const handler of HANDLERS) {
    for (const batch of batches) await handleOnce(handler, batch, db.command);
  }
}

async function forget(): Promise<void> {
  await db.admin.query('TRUNCATE fan_out.orders, fan_out.order_minute, fan_out.notification, fan_out.progress, messaging.parked, messaging.inbox');
}

test('an order that was created, updated and cancelled', async () => {
  const [[created, updated, cancelled]] = histories(1) as [[LifeEvent, LifeEvent, LifeEvent]];
  assert.ok(created.type === 'order.created' && updated.type === 'order.updated');
  const row = async () => (await db.admin.query<{ status: string; items: OrderItem[] }>('SELECT version::int, status, items FROM fan_out.orders')).rows;
  await handleOnce(orderHandler, [created], db.command);
  assert.deepEqual(await row(), [{ version: 1, status: 'PENDING', items: created.data.items }]);
  await handleOnce(orderHandler, [updated], db.command);
  assert.deepEqual(await row(), [{ version: 2, status: 'PENDING', items: updated.data.new }]);
  await handleOnce(orderHandler, [cancelled], db.command);
  assert.deepEqual(await row(), [{ version: 3, status: 'CANCELLED', items: updated.data.new }]);
});

test('whatever order, batches and copies the events come in, the same is written; one at a time or by several at once', async () => {
  const all = histories(4).flat();
  await handleBatches(all.map((event) => [event]));
  const wanted = await written();
  assert.equal((wanted as unknown[][])[4]!.length, 0);

  await fc.assert(fc.asyncProperty(
    fc.shuffledSubarray([...all, ...all], { minLength: 2 * all.length }),
    fc.array(fc.integer({ min: 1, max: 6 }), { minLength: 24, maxLength: 24 }), fc.boolean(),
    async (shuffled, sizes, atOnce) => {
      await forget();
      // Ids within a batch are distinct: the host sees to that.
      const batches: LifeEvent[][] = [];
      for (let rest = shuffled, n = 0; rest.length > 0; n++) {
        const batch = [...new Map(rest.slice(0, sizes[n] ?? 6).map((event) => [event.id, event])).values()];
        batches.push(batch);
        rest = rest.slice(sizes[n] ?? 6);
      }
      if (atOnce) {
        for (const handler of HANDLERS) {
          await Promise.all(batches.map((batch) => handleUntilDone(handler, batch)));
          // As the consumer's poll does with what lost too often while it was to be unparked.
          await eventually(async () => {
            await handleOverdue(handler, 0, db.command, () => {});
            return (await db.admin.query('SELECT FROM messaging.parked WHERE applied_at IS NULL')).rowCount;
          }, (waiting) => waiting === 0, 10_000);
        }
      } else {
        await handleBatches(batches);
      }
      assert.deepEqual(await written(), wanted);
    },
  ), { numRuns: 30 });
});

/** As the queue does with what lost against others too often. */
async function handleUntilDone(handler: Handler<OrderEventType>, batch: readonly LifeEvent[]): Promise<void> {
  for (let left: readonly LifeEvent[] = batch; left.length > 0;) {
    const { failures } = await handleIsolating(handler, left, db.command, () => false);
    left = failures.map(({ event }) => event as LifeEvent);
  }
}

test('what comes early is kept, says so, and is applied with what closes the gap', async () => {
  const [[created, updated, cancelled]] = histories(1) as [[LifeEvent, LifeEvent, LifeEvent]];
  const early = (event: LifeEvent, version: number) => ({ eventId: event.id, result: 'parked', reason: `version ${version} of the order comes first` });
  assert.deepEqual(await handleOnce(orderHandler, [cancelled, updated], db.command), [early(cancelled, 2), early(updated, 1)]);
  assert.equal((await db.admin.query('SELECT FROM fan_out.orders')).rowCount, 0);
  assert.deepEqual(await handleOnce(orderHandler, [updated], db.command), [early(updated, 1)]);
  await handleOnce(orderHandler, [created], db.command);
  assert.deepEqual((await db.admin.query('SELECT status, version::int FROM fan_out.orders')).rows, [{ status: 'CANCELLED', version: 3 }]);
  const { rows: parked } = await db.admin.query('SELECT version::int, applied_at IS NOT NULL AS applied FROM messaging.parked ORDER BY 1');
  assert.deepEqual(parked, [{ version: 2, applied: true }, { version: 3, applied: true }]);
  assert.deepEqual(await handleOnce(orderHandler, [updated], db.command), [{ eventId: updated.id, result: 'duplicate' }]);
});

test('the turns that the database gives are those of the reference', async () => {
  const all = histories(3);
  const picks = fc.array(fc.array(fc.tuple(fc.nat(2), fc.nat(2)), { minLength: 1, maxLength: 6 }), { minLength: 1, maxLength: 8 });
  await fc.assert(fc.asyncProperty(picks, async (batches) => {
    await forget();
    const versions = new Map<string, number>();
    for (const pick of batches) {
      const batch = [...new Set(pick.map(([order, version]) => all[order]![version]!))];
      // The handler itself: its host would apply what waits.
      const results = new Map((await orderHandler.handle(batch, db.command)).map(({ eventId, result }) => [eventId, result]));
      assert.deepEqual(batch.map(({ id }) => results.get(id)), reference(batch, versions));
    }
  }), { numRuns: 30 });
});

test('another event of a version that was there changes nothing', async () => {
  const [history] = histories(1) as [LifeEvent[]];
  await handleBatches([history]);
  const before = await written() as unknown[][];
  const again = { ...history[1]!, id: newId() };
  assert.deepEqual(await handleOnce(orderHandler, [again], db.command), [{ eventId: again.id, result: 'duplicate', reason: 'version 2 of the order was applied before' }]);
  assert.deepEqual((await written() as unknown[][]).slice(0, 5), before.slice(0, 5));
});

test('of two events of one version that come at the same moment, one counts', async () => {
  const all = histories(10);
  await handleOnce(analyticsHandler, all.map(([created]) => created!), db.command);
  await Promise.all(
    all.flatMap(([, updated]) => [updated!, { ...updated!, id: newId() }]).map((event) => handleUntilDone(analyticsHandler, [event])),
  );
  assert.deepEqual((await db.admin.query('SELECT sum(created)::int AS created, sum(updated)::int AS updated FROM fan_out.order_minute')).rows, [{ created: 10, updated: 10 }]);
});

test('versions that others give an order are steps too, and an end is an end', async () => {
  const [[created, updated]] = histories(1) as [[LifeEvent, LifeEvent]];
  assert.ok(updated.type === 'order.updated');
  const order = { source: '/order-service', subject: created.subject, cause: created };
  const { orderId, customerId } = created.data;
  const confirmed = newEvent({ ...order, type: 'order.confirmed', sequence: 2, data: { orderId, customerId, version: 2, confirmedAt: created.time } });
  const cancelled = newEvent({ ...order, type: 'order.cancelled', sequence: 3, data: { orderId, customerId, version: 3, reason: 'test', cancelledAt: created.time } });
  const late = { ...updated, id: newId(), sequence: '4' };
  for (const events of [[created, confirmed], [cancelled], [late]]) await handleOnce(orderHandler, events, db.command);
  assert.ok(created.type === 'order.created');
  assert.deepEqual((await db.admin.query('SELECT status, items FROM fan_out.orders')).rows, [{ status: 'CANCELLED', items: created.data.items }]);
});

test('an event that cannot be applied fails alone, and leaves nothing behind', async () => {
  const [good, bad] = histories(2) as [LifeEvent[], LifeEvent[]];
  const orphan = { ...bad[2]!, sequence: '1' };
  const { outcomes, failures } = await handleIsolating(orderHandler, [...good, orphan], db.command, () => false);
  assert.deepEqual(outcomes.map(({ result }) => result), ['ok', 'ok', 'ok']);
  assert.deepEqual(failures.map(({ event }) => event.id), [orphan.id]);
  assert.deepEqual((await db.admin.query('SELECT order_id FROM fan_out.progress')).rows, [{ order_id: good[0]!.subject }]);
  const zero = { ...good[0]!, id: newId(), sequence: '0' };
  const refusal = /^EventFormatError: sequence must be the version of the order, from 1, not 0/;
  await assert.rejects(handleOnce(orderHandler, [zero], db.command), refusal);
});

test('customers get each notification once and in order, however many send and however often that fails', async () => {
  const events = histories(20).flat();
  await handleOnce(notificationHandler, events, db.command);
  const told = new Map<string, string[]>();
  const attempts = new Set<string>();
  const sender = {
    channel: 'test',
    async send({ orderId, outcome }: { orderId: string; outcome: string }, key: string) {
      // Each fails the first time.
      if (!attempts.has(key)) {
        attempts.add(key);
        throw new Error('not now');
      }
      told.set(orderId, [...told.get(orderId) ?? [], outcome]);
    },
  };
  const deliveries = Array.from({ length: 3 }, () => runDelivery({
    deliver: locked(db.command), sender, logger: silentLogger(), pollMs: 10, firstBackOffSeconds: 0.01,
  }));
  try {
    await eventually(async () => (await db.admin.query('SELECT FROM fan_out.notification WHERE sent_at IS NULL')).rowCount, (unsent) => unsent === 0);
  } finally {
    await Promise.all(deliveries.map((delivery) => delivery.stop()));
  }
  assert.deepEqual([...told.keys()].sort(), events.filter(({ type }) => type === 'order.created').map(({ subject }) => subject).sort());
  for (const outcomes of told.values()) assert.deepEqual(outcomes, ['CREATED', 'UPDATED', 'CANCELLED']);
  assert.deepEqual((await db.admin.query('SELECT DISTINCT attempts FROM fan_out.notification')).rows, [{ attempts: 2 }]);
});

test('no step scans a table that grows, though its plans were made while the tables were nearly empty', async () => {
  const growing = ['fan_out.notification', 'fan_out.orders', 'fan_out.progress', 'messaging.parked'];
  // One connection for all of it, as a process keeps its own: with prepared statements and their plans.
  const pool = server.pool({ database: db.name, max: 1 });
  const sender = { channel: 'test', send: async () => {} };
  const journey = async (orders: number) => {
    const [created, updated, cancelled] = [0, 1, 2].map((i) => histories(orders).map((history) => history[i]!));
    for (const handler of HANDLERS) {
      for (const batch of [created!, cancelled!, updated!]) await handleOnce(handler, batch, pool);
    }
    const delivery = runDelivery({ deliver: locked(pool), sender, logger: silentLogger(), pollMs: 5 });
    await eventually(async () => (await pool.query('SELECT count(*)::int AS unsent FROM fan_out.claim(1)')).rows[0].unsent, (unsent) => unsent === 0);
    await delivery.stop();
  };
  for (let i = 0; i < 8; i++) await journey(2);
  await db.admin.query('ANALYZE');
  for (let i = 0; i < 3; i++) await journey(200);
  await pool.query('SELECT pg_stat_force_next_flush()');
  const { rows } = await db.admin.query(`SELECT schemaname || '.' || relname AS name, seq_tup_read::int AS rows FROM pg_stat_user_tables
    WHERE schemaname || '.' || relname = ANY ($1) ORDER BY 1`, [growing]);
  assert.deepEqual(rows, growing.map((name) => ({ name, rows: 0 })));
});
