import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { orderStatusHandler } from './handler.ts';
import type { Pool } from '../../shared/database.ts';
import { newEvent, newId, type EventData, type EventEnvelope } from '../../shared/events/index.ts';
import { handleOnce } from '../../shared/messaging/inbox.ts';
import { startTestServer, tellLedger, type TestDatabase, type TestServer } from '../../shared/testing.ts';

let server: TestServer;
let db: TestDatabase;
before(async () => {
  server = await startTestServer();
  db = await server.database({ workload: 'order-status' });
});
after(() => server.stop());

type Outcome = EventData<'inventory.updated'>['outcome'];

async function order(status = 'PENDING'): Promise<string> {
  const orderId = newId();
  await db.admin.query('INSERT INTO orders.orders (order_id, customer_id, status, version) VALUES ($1, \'customer\', $2, 1)', [orderId, status]);
  return orderId;
}

const SHORTAGES = [{ sku: 'A', requested: 2, available: 1 }];

function updated(orderId: string, outcome: Outcome): EventEnvelope<'inventory.updated'> {
  return newEvent({
    type: 'inventory.updated',
    source: '/inventory-service',
    subject: orderId,
    sequence: 1,
    cause: { id: newId() },
    data: {
      orderId,
      reservationId: newId(),
      outcome,
      shortages: outcome === 'REJECTED' ? SHORTAGES : [],
      lines: [{ sku: 'A', quantity: 2, deltaOnHand: 0, deltaReserved: 0, onHand: 1, reserved: 0 }],
    },
  });
}

/** Handles answers that the ledger has. */
async function handle(events: readonly EventEnvelope<'inventory.updated'>[], pool: Pool) {
  await tellLedger(db.admin, events);
  return handleOnce(orderStatusHandler, events, pool);
}

async function history(orderId: string) {
  const [{ rows: [row] }, { rows: changes }, { rows: events }] = await Promise.all([
    db.admin.query('SELECT status, version, reason, shortages FROM orders.orders WHERE order_id = $1', [orderId]),
    db.admin.query('SELECT version, from_status, to_status, event_id, cause_id FROM orders.status_change WHERE order_id = $1 ORDER BY version', [orderId]),
    db.admin.query<{ envelope: string }>('SELECT envelope FROM messaging.outbox WHERE aggregate_id = $1 ORDER BY id', [orderId]),
  ]);
  return { row, changes, events: events.map(({ envelope }) => JSON.parse(envelope) as EventEnvelope) };
}

test('a reservation confirms the order, with the change and the event in the same transaction', async () => {
  const orderId = await order();
  const cause = updated(orderId, 'RESERVED');
  const [outcome] = await handle([cause], db.command);
  assert.equal(outcome?.result, 'ok');
  const { row, changes, events } = await history(orderId);
  assert.deepEqual(row, { status: 'CONFIRMED', version: 2, reason: null, shortages: null });
  const [event] = events;
  assert.ok(event?.type === 'order.confirmed');
  assert.deepEqual(changes, [{ version: 2, from_status: 'PENDING', to_status: 'CONFIRMED', event_id: event.id, cause_id: cause.id }]);
  assert.equal(event.causationid, cause.id);
  assert.equal(event.sequence, '2');
  assert.equal(event.data.customerId, 'customer');
  assert.equal(event.data.version, 2);
});

test('a shortage rejects the order and says what was missing', async () => {
  const orderId = await order();
  await handle([updated(orderId, 'REJECTED')], db.command);
  const { row, events: [event] } = await history(orderId);
  assert.deepEqual(row, { status: 'REJECTED', version: 2, reason: 'INSUFFICIENT_STOCK', shortages: SHORTAGES });
  assert.ok(event?.type === 'order.rejected');
  assert.deepEqual(event.data.shortages, SHORTAGES);
});

test('an answer that the ledger does not have, or has otherwise, is refused', async () => {
  const orderId = await order();
  const rejected = updated(orderId, 'REJECTED');
  await tellLedger(db.admin, [rejected]);
  const said = [updated(orderId, 'RESERVED'), { ...rejected, data: { ...rejected.data, outcome: 'RESERVED' as const } }, { ...rejected, sequence: '2' }];
  for (const event of said) {
    const outcomes = await handleOnce(orderStatusHandler, [event], db.command);
    assert.deepEqual(outcomes.map(({ result, reason }) => [result, reason]), [['refused', 'the ledger has no such answer to the order']]);
  }
  assert.deepEqual((await history(orderId)).row, { status: 'PENDING', version: 1, reason: null, shortages: null });
  assert.equal((await handleOnce(orderStatusHandler, [rejected], db.command))[0]?.result, 'ok');
});

test('only a pending order is settled: every other state absorbs what comes later', async () => {
  for (const status of ['CONFIRMED', 'FULFILLING', 'SHIPPED', 'DELIVERED', 'COMPLETED', 'REJECTED', 'CANCELLED', 'EXPIRED', 'FAILED']) {
    const orderId = await order(status);
    const outcomes = await handle([updated(orderId, 'RESERVED'), updated(orderId, 'REJECTED')], db.command);
    assert.deepEqual(outcomes.map(({ result }) => result), ['ignored', 'ignored'], status);
    const { row, changes, events } = await history(orderId);
    assert.deepEqual([row.status, row.version, changes, events], [status, 1, [], []]);
  }
});

test('a deduction changes nothing, and an event that overtakes its order is tried again', async () => {
  const orderId = await order();
  const outcomes = await handle([updated(orderId, 'DEDUCTED'), updated(newId(), 'RESERVED')], db.command);
  assert.deepEqual(outcomes.map(({ result }) => result), ['ignored', 'retry']);
  assert.equal((await history(orderId)).row.status, 'PENDING');
});

test('an order that changes between the read and the write is decided again', async () => {
  const orderId = await order();
  let hasChanged = false;
  const cancelling = new Proxy(db.command, {
    get(target, property) {
      if (property !== 'query') return Reflect.get(target, property) as unknown;
      return async (config: { name: string }) => {
        const answer: unknown = await target.query(config as never);
        if (config.name === 'orders-states' && !hasChanged) {
          hasChanged = true;
          await db.admin.query('UPDATE orders.orders SET status = \'CANCEL_PENDING\', version = 2 WHERE order_id = $1', [orderId]);
        }
        return answer;
      };
    },
  });
  const [outcome] = await handle([updated(orderId, 'RESERVED')], cancelling);
  assert.equal(hasChanged, true);
  assert.equal(outcome?.result, 'ignored');
  const { row, changes, events } = await history(orderId);
  assert.deepEqual([row.status, row.version, changes, events], ['CANCEL_PENDING', 2, [], []]);
});

test('workers that race with duplicates and contradictions settle each order exactly once', async () => {
  const orders = await Promise.all(Array.from({ length: 60 }, () => order()));
  const events = orders.flatMap((orderId, i) => {
    const first = updated(orderId, i % 2 ? 'RESERVED' : 'REJECTED');
    return [first, first, updated(orderId, i % 3 ? 'RESERVED' : 'REJECTED')];
  });
  const batch = (from: number) => [
    ...new Map([...events.slice(from), ...events.slice(0, from)].slice(0, 120).map((event) => [event.id, event])).values(),
  ];
  await Promise.all([0, 40, 80, 120].map((from) => handle(batch(from), db.command)));
  for (const orderId of orders) {
    const { row, changes, events: said } = await history(orderId);
    assert.equal(row.version, 2);
    assert.deepEqual(changes.map(({ version, to_status }) => [version, to_status]), [[2, row.status]]);
    assert.deepEqual(said.map(({ type }) => type), [row.status === 'CONFIRMED' ? 'order.confirmed' : 'order.rejected']);
    assert.equal(said[0]!.id, changes[0].event_id);
  }
});
