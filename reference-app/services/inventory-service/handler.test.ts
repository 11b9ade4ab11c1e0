import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import fc from 'fast-check';
import type { Caused } from './decide.ts';
import { inventoryHandler } from './handler.ts';
import { CHECKS } from '../../invariants/sql.ts';
import type { Pool } from '../shared/database.ts';
import { newEvent, newId, type EventEnvelope } from '../shared/events/index.ts';
import { handleIsolating, handleOnce } from '../shared/messaging/inbox.ts';
import { startTestServer, tellOrders, type TestDatabase, type TestServer } from '../shared/testing.ts';

let server: TestServer;
let db: TestDatabase;
before(async () => {
  server = await startTestServer();
  db = await server.database({ workload: 'inventory-service' });
});
after(() => server.stop());

type Lines = { sku: string; requested: number }[];
type Validated = EventEnvelope<'inventory.validated'>;
type Updated = EventEnvelope<'inventory.updated'>;

function validated(orderId: string, lines: Lines): Validated {
  return newEvent({
    type: 'inventory.validated',
    source: '/stock-service',
    subject: orderId,
    sequence: 1,
    cause: { id: newId() },
    data: { orderId, lines: lines.map((line) => ({ ...line, available: 0 })), sufficient: false, asOf: new Date().toISOString() },
  });
}

function cancelled(orderId: string, version = 2): EventEnvelope<'order.cancel-requested'> {
  return newEvent({
    type: 'order.cancel-requested',
    source: '/order-service',
    subject: orderId,
    sequence: version,
    cause: { id: newId() },
    data: { orderId, customerId: 'c', version, reason: 'the customer wanted it', requestedAt: new Date().toISOString() },
  });
}

function confirmed(orderId: string): EventEnvelope<'order.confirmed'> {
  return newEvent({
    type: 'order.confirmed',
    source: '/order-service',
    subject: orderId,
    sequence: 2,
    cause: { id: newId() },
    data: { orderId, customerId: 'c', version: 2, confirmedAt: new Date().toISOString() },
  });
}

/** Stock of one test: [sku, location, on hand]. */
async function receive(stock: readonly (readonly [string, string, number])[]): Promise<void> {
  const columns = [0, 1, 2].map((i) => stock.map((row) => row[i]));
  await db.admin.query('INSERT INTO inventory.product SELECT DISTINCT s, s FROM unnest($1::text[]) s ON CONFLICT DO NOTHING', [columns[0]]);
  await db.admin.query('INSERT INTO inventory.stock_level (sku, location, on_hand) SELECT * FROM unnest($1::text[], $2::text[], $3::int[])', columns);
  await db.admin.query(`INSERT INTO inventory.ledger (sku, location, type, delta_on_hand, delta_reserved)
    SELECT sku, location, 'RECEIPT', n, 0 FROM unnest($1::text[], $2::text[], $3::int[]) AS s (sku, location, n)`, columns);
}

async function reset(): Promise<void> {
  await db.admin.query(`ALTER TABLE inventory.ledger DISABLE TRIGGER ledger_append_only;
    TRUNCATE inventory.ledger, inventory.stock_level, inventory.product, messaging.inbox, messaging.outbox, messaging.parked, orders.orders, orders.status_change;
    ALTER TABLE inventory.ledger ENABLE TRIGGER ledger_append_only`);
}

const told = new Set<string>();

/** Makes the orders say these events. */
async function tell(events: readonly EventEnvelope<Caused>[]): Promise<void> {
  const others = events.filter(({ id }) => !told.has(id));
  if (others.length > 0) await tellOrders(db.admin, others);
  for (const { id } of others) told.add(id);
}

/** Handles events that their orders have said. */
async function handle(events: readonly EventEnvelope<Caused>[], pool: Pool) {
  await tell(events);
  return handleOnce(inventoryHandler, events, pool);
}

async function isolating(events: readonly EventEnvelope<Caused>[], pool: Pool, giveUp: () => boolean) {
  await tell(events);
  return handleIsolating(inventoryHandler, events, pool, giveUp);
}

/** As a consumer gives them to a handler. */
function distinct<E extends EventEnvelope>(events: readonly E[]): E[] {
  return [...new Map(events.map((event) => [event.id, event])).values()];
}

async function updates(): Promise<Updated[]> {
  const { rows } = await db.admin.query<{ envelope: string }>('SELECT envelope FROM messaging.outbox ORDER BY id');
  return rows.map(({ envelope }) => JSON.parse(envelope) as Updated);
}

/** Those of the local run that this service alone can break, and what only a test can say. */
async function assertInvariants(): Promise<void> {
  for (const { what, sql } of CHECKS) {
    if (/inventory\.|InventoryUpdated/.test(sql) && !/orders\./.test(sql)) assert.deepEqual((await db.admin.query(sql)).rows, [], what);
  }
  const { rows } = await db.admin.query('SELECT aggregate_id FROM messaging.outbox GROUP BY aggregate_id, envelope::jsonb->\'data\'->>\'outcome\' HAVING count(*) > 1');
  assert.deepEqual(rows, [], 'one answer per order and outcome');
}

const SKUS = ['A', 'B', 'C', 'D'];
/** One location for most, several for some; `nowhere` is a SKU that does not exist. */
const stockArbitrary = fc.uniqueArray(
  fc.tuple(fc.constantFrom(...SKUS), fc.constantFrom('EAST', 'MAIN', 'WEST'), fc.nat(9)), { selector: ([sku, location]) => `${sku}/${location}`, maxLength: 8 },
);
const lineArbitrary = fc.record({ sku: fc.constantFrom(...SKUS, ...SKUS, 'nowhere'), requested: fc.integer({ min: 1, max: 5 }) });
const historyArbitrary = fc.record({
  stock: stockArbitrary,
  orders: fc.array(fc.array(lineArbitrary, { minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 12 }),
  // Which order an event is about, and whether it is the same event again or another about the same order.
  deliveries: fc.array(fc.tuple(fc.nat(99), fc.boolean()), { maxLength: 8 }),
  batches: fc.array(fc.integer({ min: 1, max: 6 }), { minLength: 1, maxLength: 8 }),
});

/** The model: one order after the other, all lines or none. */
function greedy(stock: readonly (readonly [string, string, number])[], orders: readonly Lines[]) {
  const free = new Map<string, number>();
  for (const [sku, , onHand] of stock) free.set(sku, (free.get(sku) ?? 0) + onHand);
  return orders.map((lines) => {
    const wanted = new Map<string, number>();
    for (const { sku, requested } of lines) wanted.set(sku, (wanted.get(sku) ?? 0) + requested);
    const shortages = [...wanted].filter(([sku, n]) => (free.get(sku) ?? 0) < n)
      .map(([sku, requested]) => ({ sku, requested, available: free.get(sku) ?? 0 }));
    if (shortages.length === 0) for (const [sku, n] of wanted) free.set(sku, free.get(sku)! - n);
    return { outcome: shortages.length === 0 ? 'RESERVED' : 'REJECTED', wanted, shortages: shortages.sort((a, b) => (a.sku < b.sku ? -1 : 1)), free: new Map(free) };
  });
}

test('any batching of any history reserves what a sequential greedy model does, and deducts each line once', async () => {
  await fc.assert(fc.asyncProperty(historyArbitrary, async ({ stock, orders, deliveries, batches }) => {
    await reset();
    await receive(stock);
    const first = orders.map((lines) => validated(newId(), lines));
    const events = [...first];
    for (const [which, same] of deliveries) {
      const i = which % first.length;
      // Never before the first one: the model decides in the order of the first deliveries.
      events.splice(i + 1 + (which % (events.length - i)), 0, same ? first[i]! : validated(first[i]!.subject, orders[i]!));
    }
    // Duplicates inserted above may stand before the original of a later order only; decide in order of first appearance.
    const order = [...new Set(events.map(({ subject }) => subject))];
    const expected = greedy(stock, order.map((orderId) => orders[first.findIndex(({ subject }) => subject === orderId)]!));

    await tell(events);
    for (let at = 0, i = 0; at < events.length; i++) {
      const batch = distinct(events.slice(at, at += batches[i % batches.length]!));
      const outcomes = await handle(batch, db.command);
      assert.equal(outcomes.length, batch.length);
    }
    const answers = await updates();
    assert.deepEqual(answers.map(({ subject }) => subject).sort(), [...order].sort());
    order.forEach((orderId, i) => {
      const answer = answers.find(({ subject }) => subject === orderId)!.data;
      const model = expected[i]!;
      assert.equal(answer.outcome, model.outcome);
      assert.deepEqual(answer.shortages, model.shortages);
      assert.deepEqual(new Map(answer.lines.map(({ sku, quantity }) => [sku, quantity])), model.wanted);
      for (const { sku, onHand, reserved } of answer.lines) assert.equal(onHand - reserved, model.free.get(sku) ?? 0, `available of ${sku} after the order`);
    });
    await assertInvariants();

    // Every order is confirmed, some of them twice, and rejected ones by mistake.
    const confirmations = order.flatMap((orderId, i) => (i % 2 ? [confirmed(orderId)] : [confirmed(orderId), confirmed(orderId)]));
    await tell(confirmations);
    for (let at = 0; at < confirmations.length; at += 5) await handle(confirmations.slice(at, at + 5), db.command);
    await assertInvariants();
    const deducted = (await updates()).filter(({ data }) => data.outcome === 'DEDUCTED');
    assert.deepEqual(deducted.map(({ subject }) => subject).sort(), order.filter((_, i) => expected[i]!.outcome === 'RESERVED').sort());
    // Read one after the other, the events tell the counters of every moment.
    const levels = new Map<string, { onHand: number; reserved: number }>();
    for (const [sku, , n] of stock) levels.set(sku, { onHand: (levels.get(sku)?.onHand ?? 0) + n, reserved: 0 });
    for (const { data } of await updates()) {
      for (const line of data.lines) {
        const level = levels.get(line.sku) ?? { onHand: 0, reserved: 0 };
        const next = { onHand: level.onHand + line.deltaOnHand, reserved: level.reserved + line.deltaReserved };
        assert.deepEqual({ onHand: line.onHand, reserved: line.reserved }, next, `${data.outcome} ${line.sku}`);
        levels.set(line.sku, next);
      }
    }
    const { rows } = await db.admin.query<{ sku: string; on_hand: number; reserved: number }>(
      'SELECT sku, sum(on_hand)::int AS on_hand, sum(reserved)::int AS reserved FROM inventory.stock_level GROUP BY sku',
    );
    for (const { sku, on_hand, reserved } of rows) {
      assert.deepEqual({ on_hand, reserved }, { on_hand: expected.at(-1)!.free.get(sku), reserved: 0 });
    }
  }), { numRuns: 150 });
});

test('locations of a SKU are used up in sorted order, and the ledger names each', async () => {
  await reset();
  await receive([['A', 'WEST', 5], ['A', 'EAST', 2], ['A', 'MAIN', 1]]);
  const orderId = newId();
  await handle([validated(orderId, [{ sku: 'A', requested: 4 }])], db.command);
  const { rows } = await db.admin.query('SELECT location, delta_reserved AS quantity FROM inventory.ledger WHERE document_id = $1 ORDER BY line', [orderId]);
  assert.deepEqual(rows, [{ location: 'EAST', quantity: 2 }, { location: 'MAIN', quantity: 1 }, { location: 'WEST', quantity: 1 }]);
  await handle([confirmed(orderId)], db.command);
  const { rows: left } = await db.admin.query('SELECT location, on_hand, reserved FROM inventory.stock_level ORDER BY location');
  assert.deepEqual(left, [{ location: 'EAST', on_hand: 0, reserved: 0 }, { location: 'MAIN', on_hand: 0, reserved: 0 }, { location: 'WEST', on_hand: 4, reserved: 0 }]);
  const last = (await updates()).at(-1)!.data;
  assert.deepEqual(last.lines, [{ sku: 'A', quantity: 4, deltaOnHand: -4, deltaReserved: -4, onHand: 4, reserved: 0 }]);
  await assertInvariants();
});

test('a rejected order stays rejected when stock has come meanwhile', async () => {
  await reset();
  await receive([['A', 'MAIN', 1]]);
  const orderId = newId();
  await handle([validated(orderId, [{ sku: 'A', requested: 2 }])], db.command);
  await db.admin.query('UPDATE inventory.stock_level SET on_hand = 5');
  const [outcome] = await handle([validated(orderId, [{ sku: 'A', requested: 2 }])], db.command);
  assert.equal(outcome?.result, 'duplicate');
  assert.equal((await updates()).length, 1);
});

test('a confirmation that overtakes its reservation is parked, and applied with it', async () => {
  await reset();
  await receive([['A', 'MAIN', 3]]);
  const orderId = newId();
  const event = confirmed(orderId);
  assert.equal((await handle([event], db.command))[0]?.result, 'parked');
  assert.equal((await handle([event], db.command))[0]?.result, 'parked', 'a second copy changes nothing');
  await handle([validated(orderId, [{ sku: 'A', requested: 1 }])], db.command);
  assert.deepEqual((await updates()).map(({ data: { outcome } }) => outcome), ['RESERVED', 'DEDUCTED']);
  assert.equal((await handle([event], db.command))[0]?.result, 'duplicate');
  const { rows } = await db.admin.query('SELECT version::int, applied_at IS NOT NULL AS applied FROM messaging.parked WHERE order_id = $1', [orderId]);
  assert.deepEqual(rows, [{ version: 2, applied: true }]);
  await assertInvariants();
});

test('the event says what it follows from and stays in its trace', async () => {
  await reset();
  await receive([['A', 'MAIN', 3]]);
  const cause = validated(newId(), [{ sku: 'A', requested: 1 }]);
  await handle([cause], db.command);
  const [event] = await updates();
  assert.equal(event!.causationid, cause.id);
  assert.equal(event!.correlationid, cause.subject);
  assert.equal(event!.traceparent!.split('-')[1], cause.traceparent!.split('-')[1]);
  assert.notEqual(event!.traceparent!.split('-')[2], cause.traceparent!.split('-')[2]);
});

test('what the order has not said is refused and changes nothing: no order, other items, another event of this version, a version to come', async () => {
  await reset();
  await receive([['A', 'MAIN', 100], ['B', 'MAIN', 100]]);
  const orderId = newId();
  const right = validated(orderId, [{ sku: 'A', requested: 2 }, { sku: 'B', requested: 1 }]);
  const confirmation = confirmed(orderId);
  await tellOrders(db.admin, [right, confirmation]);
  const hears = async (...events: EventEnvelope<Caused>[]) => (
    (await handleOnce(inventoryHandler, events, db.command)).map(({ result, reason }) => `${result} ${reason ?? ''}`.trim()));
  const absent = 'refused there is no such order, or not in this version';
  const other = 'refused the order asked for other items';
  const at = new Date().toISOString();
  const request = (items: { sku: string; quantity: number }[]) => newEvent({
    type: 'order.update-requested',
    source: '/order-service',
    subject: orderId,
    sequence: 3,
    cause: { id: newId() },
    data: { orderId, customerId: 'c', version: 3, old: items, new: items, changed: [{ sku: 'A', from: 2, to: 3 }], requestedAt: at },
  });
  const late = { ...confirmed(orderId), sequence: '9007199254740993000' };
  assert.deepEqual(await hears(validated(newId(), [{ sku: 'A', requested: 2 }]), cancelled(orderId, 3), late), [absent, absent, absent]);
  assert.deepEqual(await hears(
    validated(orderId, [{ sku: 'A', requested: 3 }, { sku: 'B', requested: 1 }]), validated(orderId, [{ sku: 'A', requested: 2 }]),
    { ...right, id: newId(), sequence: '2' },
  ), [other, other, 'refused the order came to this version by another event']);
  assert.deepEqual([await db.admin.query('SELECT FROM messaging.outbox'), await db.admin.query('SELECT FROM messaging.inbox')].map(({ rowCount }) => rowCount), [0, 0]);
  // In a batch with the right ones; lines in any order and in parts are the same items.
  const lines = ['B', 'A', 'A'].map((sku) => ({ sku, requested: 1, available: 0 }));
  const parts = { ...right, data: { ...right.data, lines } };
  assert.deepEqual(await hears(confirmed(orderId), parts, confirmation), ['refused the order came to this version by another event', 'ok', 'ok']);
  await db.admin.query('UPDATE orders.orders SET status = \'CONFIRMED\', version = 2 WHERE order_id = $1', [orderId]);
  await db.admin.query('UPDATE orders.orders SET status = \'UPDATE_PENDING\', version = 3, requested = \'[{"sku": "A", "quantity": 3}]\' WHERE order_id = $1', [orderId]);
  const [more, asked] = [request([{ sku: 'A', quantity: 99 }]), request([{ sku: 'A', quantity: 3 }])];
  await tellOrders(db.admin, [more]);
  assert.deepEqual(await hears(more), [other]);
  assert.deepEqual(await hears({ ...asked, id: more.id }), ['ok']);
  assert.deepEqual((await db.admin.query('SELECT on_hand, reserved FROM inventory.stock_level ORDER BY sku')).rows, [{ on_hand: 98, reserved: 1 }, { on_hand: 99, reserved: 0 }]);
});

/** The server's own count. A session reports once a second, so those of the last one may be missing. */
async function deadlocks(): Promise<number> {
  const { rows: [row] } = await db.admin.query<{ deadlocks: number }>('SELECT deadlocks::int FROM pg_stat_database WHERE datname = current_database()');
  return row!.deadlocks;
}

test('many workers with overlapping, duplicated and mixed batches: nothing oversold, nothing deadlocked, every order decided', async () => {
  await reset();
  const skus = Array.from({ length: 6 }, (_, i) => `S${i}`);
  await receive(skus.flatMap((sku) => [[sku, 'MAIN', 60], [sku, 'WEST', 20]] as const));
  let seed = 7;
  const random = (n: number) => (seed = (seed * 48_271) % 2_147_483_647) % n;
  const reservations = Array.from({ length: 400 }, () => validated(newId(), skus.filter(() => random(3) === 0).concat('S0').map((sku) => ({ sku, requested: 1 + random(3) }))));
  const work = reservations.flatMap((event, i) => [
    event, ...(random(4) === 0 ? [event] : []), ...(i > 40 ? [confirmed(reservations[i - 40]!.subject)] : []),
  ]);
  const waiting: EventEnvelope<'inventory.validated' | 'order.confirmed'>[][] = [];
  for (let at = 0; at < work.length; at += 17) waiting.push(distinct(work.slice(at, at + 17)));
  // Before the workers begin: they must not wait for what the orders say.
  await tell(distinct(work));
  const before = await deadlocks();
  await Promise.all(Array.from({ length: 6 }, async () => {
    for (let batch = waiting.shift(); batch; batch = waiting.shift()) {
      const outcomes = await handle(batch, db.command);
      const again = batch.filter(({ id }) => outcomes.find(({ eventId }) => eventId === id)?.result === 'retry');
      if (again.length > 0) waiting.push(again);
    }
  }));
  await assertInvariants();
  const { rows: [count] } = await db.admin.query('SELECT count(*)::int AS decided, count(*) FILTER (WHERE state = \'HELD\')::int AS held FROM inventory.reservation');
  assert.equal(count.decided, 400);
  const { rows: [stock] } = await db.admin.query('SELECT on_hand - reserved AS free FROM inventory.stock_level WHERE sku = \'S0\' AND location = \'MAIN\'');
  assert.equal(stock.free, 0, 'every order wants S0: all of it is promised');
  assert.equal(await deadlocks() - before, 0, 'deadlocks');
});

test('a cancelled order gives back what it holds or has taken, whichever of its events come and in whatever batches', async () => {
  await reset();
  await receive([['A', 'EAST', 30], ['A', 'MAIN', 970]]);
  const orders = Array.from({ length: 60 }, newId);
  // Each third of them: cancelled while held, cancelled after the deduction, and not cancelled.
  const events = orders.flatMap((orderId, i) => [
    validated(orderId, [{ sku: 'A', requested: 2 }]),
    ...(i % 3 > 0 ? [confirmed(orderId)] : []),
    ...(i % 3 < 2 ? [cancelled(orderId, 2 + (i % 3)), cancelled(orderId, 2 + (i % 3))] : []),
  ]);
  for (let at = 0, size = 1; at < events.length; at += size, size = (size * 5) % 23) {
    await handle(events.slice(at, at + size), db.command);
  }
  const { rows } = await db.admin.query('SELECT state, version, count(*)::int FROM inventory.reservation GROUP BY 1, 2 ORDER BY 1');
  assert.deepEqual(rows, [{ state: 'COMMITTED', version: 2, count: 20 }, { state: 'RELEASED', version: 2, count: 20 }, { state: 'RETURNED', version: 3, count: 20 }]);
  const { rows: [stock] } = await db.admin.query('SELECT sum(on_hand)::int AS on_hand, sum(reserved)::int AS reserved FROM inventory.stock_level');
  assert.deepEqual(stock, { on_hand: 1_000 - 40, reserved: 0 });
  const released = (await updates()).find(({ data }) => data.outcome === 'RELEASED')!;
  const reserved = (await updates()).find(({ subject, data }) => subject === released.subject && data.outcome === 'RESERVED')!;
  const deltas = released.data.lines.map(({ deltaOnHand, deltaReserved }) => [deltaOnHand, deltaReserved]);
  assert.deepEqual([released.sequence, released.data.reservationId, deltas], ['2', reserved.id, [[0, -2]]]);
  await assertInvariants();

  const late = newId();
  assert.deepEqual((await handle([cancelled(late)], db.command)).map(({ result }) => result), ['parked'], 'nothing was decided that it could undo');
  await db.admin.query('UPDATE inventory.stock_level SET on_hand = 0');
  await handle([validated(late, [{ sku: 'A', requested: 1 }])], db.command);
  const answers = (await updates()).filter(({ subject }) => subject === late);
  assert.deepEqual(answers.map(({ sequence, data: { outcome, lines } }) => [sequence, outcome, lines.length]),
    [['1', 'REJECTED', 1], ['2', 'RELEASED', 0]], 'what was rejected holds nothing');
});

/** The pool, but something else happens once between the read and the write of the batch. */
function meanwhile(happens: () => Promise<unknown>): Pool {
  let waiting = true;
  return new Proxy(db.command, {
    get(target, property) {
      if (property === 'query') {
        return async (config: { name: string }) => {
          const answer: unknown = await target.query(config as never);
          if (config.name === 'inventory-read' && waiting) {
            waiting = false;
            await happens();
          }
          return answer;
        };
      }
      const value: unknown = Reflect.get(target, property);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

test('stock that is sold between the read and the write is not sold again', async () => {
  await reset();
  await receive([['A', 'MAIN', 5]]);
  const orders = Array.from({ length: 4 }, newId);
  const [mine, theirs] = [orders.slice(0, 2), orders.slice(2)].map((ids) => ids.map((id) => validated(id, [{ sku: 'A', requested: 2 }])));
  const outcomes = await handle(mine!, meanwhile(() => handle(theirs!, db.command)));
  assert.deepEqual(outcomes.map(({ result }) => result), ['ok', 'ok']);
  assert.deepEqual((await updates()).map(({ subject, data }) => [subject, data.outcome]), [
    [orders[2], 'RESERVED'], [orders[3], 'RESERVED'], [orders[0], 'REJECTED'], [orders[1], 'REJECTED'],
  ]);
  await assertInvariants();
});

test('nobody is refused for stock that came between the read and the write', async () => {
  await reset();
  await receive([['A', 'MAIN', 1]]);
  await handle([validated(newId(), [{ sku: 'A', requested: 2 }])], meanwhile(() => receive([['A', 'WEST', 1]])));
  assert.deepEqual((await updates()).map(({ data }) => data.outcome), ['RESERVED']);
  await assertInvariants();
});

test('an event or an order that another worker decides between the read and the write is decided once', async () => {
  await reset();
  await receive([['A', 'MAIN', 10]]);
  const [same, other] = [newId(), newId()];
  const event = validated(same, [{ sku: 'A', requested: 2 }]);
  const mine = [event, validated(other, [{ sku: 'A', requested: 2 }]), confirmed(newId())];
  const theirs = [event, validated(other, [{ sku: 'A', requested: 2 }])];
  const outcomes = await handle(mine, meanwhile(() => handle(theirs, db.command)));
  assert.deepEqual(outcomes.map(({ result }) => result), ['duplicate', 'duplicate', 'parked']);
  assert.equal((await updates()).length, 2);
  const { rows: [inbox] } = await db.admin.query('SELECT count(*)::int AS known FROM messaging.inbox');
  assert.equal(inbox.known, 3, 'what waits is not remembered');
  await assertInvariants();
});

test('a reservation and a rejection of the same order exclude each other, though stock allows both', async () => {
  await reset();
  await receive([['A', 'MAIN', 4]]);
  const [orderId, between] = [newId(), newId()];
  const [outcome] = await handle([validated(orderId, [{ sku: 'A', requested: 2 }])], meanwhile(async () => {
    await handle([validated(between, [{ sku: 'A', requested: 3 }])], db.command);
    await handle([validated(orderId, [{ sku: 'A', requested: 2 }])], db.command);
    await handle([cancelled(between)], db.command);
  }));
  assert.equal(outcome?.result, 'duplicate');
  assert.deepEqual((await updates()).map(({ data }) => data.outcome), ['RESERVED', 'REJECTED', 'RELEASED']);
  await assertInvariants();
});

test('scarce stock, four workers, duplicates and another order of arrival: sells exactly what there is, and no batch fails', async () => {
  await reset();
  await receive([['A', 'MAIN', 500], ['A', 'WEST', 100]]);
  const events = Array.from({ length: 2_000 }, () => validated(newId(), [{ sku: 'A', requested: 1 }]));
  const messages = events.flatMap((event, i) => (i % 20 === 0 ? [event, event] : [event]))
    .map((event, i) => ({ event, at: i + Math.random() * 300 })).sort((a, b) => a.at - b.at).map(({ event }) => event);
  const pieces: Validated[][] = [];
  for (let at = 0; at < messages.length; at += 50) pieces.push(distinct(messages.slice(at, at + 50)));
  let handled = 0;
  await Promise.all(Array.from({ length: 4 }, async () => {
    for (let batch = pieces.shift(); batch; batch = pieces.shift()) {
      const { outcomes, failures } = await isolating(batch, db.command, () => true);
      assert.deepEqual(failures, []);
      handled += outcomes.filter(({ result }) => result === 'ok').length;
    }
  }));
  assert.equal(handled, 2_000);
  const { rows } = await db.admin.query('SELECT state, count(*)::int FROM inventory.reservation GROUP BY 1 ORDER BY 1');
  assert.deepEqual(rows, [{ state: 'HELD', count: 600 }, { state: 'REJECTED', count: 1_400 }]);
  await assertInvariants();
});

test('six workers, all events of all orders in any order, twice and in any batches: each order goes through all of its versions, and all stock is back', async () => {
  await reset();
  await receive([['A', 'EAST', 300], ['A', 'MAIN', 9_000], ['B', 'MAIN', 9_000]]);
  const at = new Date().toISOString();
  const orders = Array.from({ length: 150 }, newId);
  const events = orders.flatMap((orderId): EventEnvelope<Caused>[] => {
    const common = (version: number) => ({ source: '/order-service', subject: orderId, sequence: version, cause: { id: newId() } });
    const [old, wanted] = [[{ sku: 'A', quantity: 3 }], [{ sku: 'A', quantity: 1 }, { sku: 'B', quantity: 4 }]];
    const change = { orderId, customerId: 'c', old, new: wanted, changed: [{ sku: 'A', from: 3, to: 1 }, { sku: 'B', from: 0, to: 4 }] };
    return [
      validated(orderId, [{ sku: 'A', requested: 3 }]), confirmed(orderId),
      newEvent({ ...common(3), type: 'order.update-requested', data: { ...change, version: 3, requestedAt: at } }),
      newEvent({ ...common(4), type: 'order.updated', data: { ...change, version: 4, updatedAt: at } }),
      cancelled(orderId, 5),
    ];
  });
  // All at once, while the items of an order change on the way: nothing is said about them.
  await tellOrders(db.admin, events);
  await db.admin.query('TRUNCATE orders.orders');
  const messages = [...events, ...events].map((event) => ({ event, at: Math.random() }))
    .sort((a, b) => a.at - b.at).map(({ event }) => event);
  await Promise.all(Array.from({ length: 6 }, async () => {
    while (messages.length > 0) {
      const batch = [...new Map(messages.splice(0, 1 + Math.floor(Math.random() * 40)).map((event) => [event.id, event])).values()];
      const { failures } = await handleIsolating(inventoryHandler, batch, db.command, () => true);
      assert.deepEqual(failures, []);
    }
  }));
  const { rows: waiting } = await db.admin.query('SELECT order_id, version FROM messaging.parked WHERE applied_at IS NULL');
  assert.deepEqual(waiting, [], 'nothing waits, and nobody had to look again');
  const { rows: [parked] } = await db.admin.query('SELECT count(*)::int AS count FROM messaging.parked');
  assert.ok(parked.count > 100, `only ${parked.count} events were parked`);
  const { rows } = await db.admin.query('SELECT state, version, count(*)::int FROM inventory.reservation GROUP BY 1, 2');
  assert.deepEqual(rows, [{ state: 'RETURNED', version: 5, count: orders.length }]);
  const { rows: stock } = await db.admin.query('SELECT sku, sum(on_hand)::int AS on_hand, sum(reserved)::int AS reserved FROM inventory.stock_level GROUP BY 1 ORDER BY 1');
  assert.deepEqual(stock, [{ sku: 'A', on_hand: 9_300, reserved: 0 }, { sku: 'B', on_hand: 9_000, reserved: 0 }]);
  const answers = (await updates()).filter(({ subject }) => subject === orders[0]);
  const outcomes = answers.sort((a, b) => Number(a.sequence) - Number(b.sequence)).map(({ data: { outcome, lines } }) =>
    [outcome, ...lines.map(({ sku, deltaOnHand, deltaReserved }) => `${sku} ${deltaOnHand} ${deltaReserved}`)]);
  assert.deepEqual(outcomes, [
    ['RESERVED', 'A 0 3'], ['DEDUCTED', 'A -3 -3'], ['RESERVED', 'B 0 4'], ['DEDUCTED', 'B -4 -4', 'A 2 0'], ['RETURNED', 'A 1 0', 'B 4 0'],
  ]);
});

test('an order is decided on once, by its creation or by the advice about it, whichever comes first', async () => {
  await reset();
  await receive([['A', 'MAIN', 150]]);
  const orders = Array.from({ length: 60 }, newId);
  const created = (orderId: string) => newEvent({
    type: 'order.created',
    source: '/order-service',
    subject: orderId,
    sequence: 1,
    cause: { id: newId() },
    data: { orderId, customerId: 'c', items: [{ sku: 'A', quantity: 2 }], createdAt: new Date().toISOString() },
  });
  const [first, ...others] = orders;
  const alone = await handle([created(first!)], db.command);
  const again = await handle([validated(first!, [{ sku: 'A', requested: 2 }])], db.command);
  assert.deepEqual([alone, again].map(([outcome]) => outcome!.result), ['ok', 'duplicate']);
  await Promise.all([
    ...[0, 20, 40].map((from) => handle(others.slice(from, from + 20).map(created), db.command)),
    ...[40, 0, 20].map((from) => handle(others.slice(from, from + 20).map((orderId) => validated(orderId, [{ sku: 'A', requested: 2 }])), db.command)),
  ]);
  assert.deepEqual((await updates()).map(({ subject }) => subject).sort(), [...orders].sort());
  assert.deepEqual((await db.admin.query('SELECT on_hand, reserved FROM inventory.stock_level')).rows, [{ on_hand: 150, reserved: 120 }]);
  await assertInvariants();
});
