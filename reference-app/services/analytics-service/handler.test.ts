import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { analyticsHandler } from './handler.ts';
import { runUpkeep } from './upkeep.ts';
import { newEvent, newId, type EventEnvelope } from '../shared/events/index.ts';
import { handleOnce } from '../shared/messaging/inbox.ts';
import { eventually, silentLogger, startTestServer, type TestDatabase, type TestServer } from '../shared/testing.ts';

let server: TestServer;
let db: TestDatabase;
before(async () => {
  server = await startTestServer();
  db = await server.database({ workload: 'analytics-service' });
});
after(() => server.stop());

type Counted = EventEnvelope<'order.created' | 'order.confirmed' | 'order.rejected' | 'inventory.updated'>;
const at = (minute: number, second: number) => new Date(Date.UTC(2026, 10, 21, 10, minute, second));

/** The journey of an order that is accepted in minute 0 and decided in minute 1. */
function journey(confirms: boolean, createdAtSecond: number): Counted[] {
  const orderId = newId();
  const createdAt = at(0, createdAtSecond).toISOString();
  const common = { subject: orderId, sequence: 1, cause: { id: newId() } };
  const lines = [{ sku: 'A', quantity: 2 }, { sku: 'B', quantity: 3 }];
  const levels = lines.map((line) => ({ ...line, deltaOnHand: 0, deltaReserved: 0, onHand: 9, reserved: 0 }));
  const updated = (outcome: 'RESERVED' | 'REJECTED' | 'DEDUCTED', time: Date) => newEvent({
    ...common,
    type: 'inventory.updated',
    source: '/inventory-service',
    time,
    data: {
      orderId,
      reservationId: newId(),
      outcome,
      lines: levels.map((line) => ({ ...line, deltaOnHand: outcome === 'DEDUCTED' ? -line.quantity : 0 })),
      shortages: outcome === 'REJECTED' ? [{ sku: 'B', requested: 3, available: 0 }] : [],
    },
  });
  const order = { orderId, customerId: 'c' };
  const created = newEvent({
    ...common, type: 'order.created', source: '/order-service', time: at(0, createdAtSecond), data: { ...order, items: lines, createdAt },
  });
  return confirms
    ? [
      created, updated('RESERVED', at(1, 1)), updated('DEDUCTED', at(2, 3)),
      newEvent({
        ...common,
        type: 'order.confirmed',
        source: '/order-service',
        time: at(1, 2),
        data: { ...order, version: 2, confirmedAt: at(1, 2).toISOString(), createdAt },
      }),
    ]
    : [
      created, updated('REJECTED', at(1, 1)),
      newEvent({
        ...common,
        type: 'order.rejected',
        source: '/order-service',
        time: at(1, 2),
        data: { orderId, customerId: 'c', version: 2, reason: 'INSUFFICIENT_STOCK', shortages: [], rejectedAt: at(1, 2).toISOString(), createdAt },
      }),
    ];
}

test('counts land in the minute in which things happened, once, in whatever batches and order they are heard of', async () => {
  const events = [...journey(true, 32), ...journey(true, 42), ...journey(false, 52)];
  const shuffled = [...events].sort((a, b) => (a.id.slice(-4) < b.id.slice(-4) ? -1 : 1));
  await Promise.all([0, 4, 8].map((from) => handleOnce(analyticsHandler, shuffled.slice(from, from + 4), db.command)));
  await handleOnce(analyticsHandler, events, db.command);

  const { rows: minutes } = await db.admin.query(`SELECT extract(minute FROM minute AT TIME ZONE 'UTC')::int AS minute,
      accepted, confirmed, rejected, units_accepted::int, units_confirmed::int,
    units_rejected::int, units_deducted::int, seconds_to_terminal_sum AS sum, seconds_to_terminal_max AS max FROM analytics.order_minute ORDER BY 1`);
  const none = {
    accepted: 0, confirmed: 0, rejected: 0, units_accepted: 0, units_confirmed: 0, units_rejected: 0, units_deducted: 0, sum: 0, max: 0,
  };
  assert.deepEqual(minutes, [
    { ...none, minute: 0, accepted: 3, units_accepted: 15 },
    { ...none, minute: 1, confirmed: 2, rejected: 1, units_confirmed: 10, units_rejected: 5, sum: 30 + 20 + 10, max: 30 },
    { ...none, minute: 2, units_deducted: 10 },
  ]);
  const counted = [{ sku: 'A', ordered: 6, reserved: 4, deducted: 4, rejections: 0 }, { sku: 'B', ordered: 9, reserved: 6, deducted: 6, rejections: 1 }];
  assert.deepEqual(await skusOf('sku_count'), counted);
  // Folded by two at once, and again: the view says the same, and what the next batch says is added.
  const fold = () => Promise.all([1, 2].map(() => db.command.query('SELECT analytics.fold(1)')));
  for (let i = 0; i < 12; i++) await fold();
  assert.equal((await db.admin.query('SELECT FROM analytics.sku_batch')).rowCount, 0);
  for (const table of ['sku_hour', 'sku_count']) assert.deepEqual(await skusOf(table), counted);
  await handleOnce(analyticsHandler, journey(false, 1), db.command);
  const more = [{ ...counted[0]!, ordered: 8 }, { ...counted[1]!, ordered: 12, rejections: 2 }];
  assert.deepEqual(await skusOf('sku_count'), more);
  for (let i = 0; i < 2; i++) await fold();
  for (const table of ['sku_hour', 'sku_count']) assert.deepEqual(await skusOf(table), more);
});

async function skusOf(table: string) {
  const { rows } = await db.admin.query(`SELECT hour, sku, units_ordered::int AS ordered, units_reserved::int AS reserved, units_deducted::int AS deducted,
    rejections::int FROM analytics.${table} ORDER BY 1, 2`);
  return rows.map(({ hour, ...counts }) => {
    assert.deepEqual(hour, at(0, 0));
    return counts as object;
  });
}

test('the upkeep folds, and deletes counts by SKU that are older than their retention', async () => {
  await db.admin.query(`INSERT INTO analytics.sku_hour (hour, sku) VALUES (now() - interval '91 days', 'OLD'), (now() - interval '89 days', 'YOUNG');
    INSERT INTO analytics.sku_minute (minute, sku) VALUES (now() - interval '91 days', 'OLD')`);
  await handleOnce(analyticsHandler, journey(false, 1), db.command);
  // Of an outage. All of them in one statement might never end in its time.
  await db.admin.query(`INSERT INTO analytics.sku_batch (hours, skus, ordered, reserved, deducted, rejections)
    SELECT '{}', '{}', '{}', '{}', '{}', '{}' FROM generate_series(1, 1200)`);
  const steps: number[] = [];
  const query = async (config: object) => {
    const answer = await db.command.query<{ rows: string }>(config as never);
    steps.push(Number(answer.rows[0]!.rows));
    return answer;
  };
  const pool = new Proxy(db.command, { get: (target, name) => (name === 'query' ? query : Reflect.get(target, name) as unknown) });
  const upkeep = runUpkeep(pool, silentLogger(), { skuDays: 90, foldMs: 20, pruneMs: 20 });
  const left = async () => (await db.admin.query<{ left: number }>(`SELECT (SELECT count(*) FROM analytics.sku_batch)::int
    + (SELECT count(*) FROM analytics.sku_hour WHERE sku = 'OLD')::int + (SELECT count(*) FROM analytics.sku_minute)::int AS left`)).rows[0]!.left;
  await eventually(left, (count) => count === 0);
  await upkeep.stop();
  assert.equal(Math.max(...steps), 500);
  assert.equal((await db.admin.query('SELECT FROM analytics.sku_hour WHERE sku = \'YOUNG\'')).rowCount, 1);
});
