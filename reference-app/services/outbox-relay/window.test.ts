import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { MAX_BYTES, MAX_ENTRIES } from './publisher.ts';
import { Window, type OutboxRow, type Parcel } from './window.ts';
import { newEvent, newId, parseMessage, type EventEnvelope } from '../shared/events/index.ts';

test('what is in memory is bounded in bytes too', () => {
  const window = new Window('s');
  const rowOf = (id: number, envelope: string) => ({ xid: '1', id: String(id), eventId: newId(), aggregateId: String(id), detailType: 'X', time: new Date(), envelope });
  window.add([rowOf(1, 'x'.repeat(1_000)), rowOf(2, 'x'.repeat(500))]);
  assert.ok(window.pendingBytes > 1_500 && window.pendingBytes < 1_600, String(window.pendingBytes));
  const [, second] = window.take(0);
  window.settle(second!.items[0]!);
  assert.ok(window.pendingBytes > 1_000 && window.pendingBytes < 1_050, String(window.pendingBytes));
  assert.deepEqual([window.pending, window.size, window.advance()], [1, 2, undefined]);
});

const SOURCE = 'com.example.orders';
const OUTCOMES = ['RESERVED', 'REJECTED', 'DEDUCTED'] as const;

function row(n: number, aggregate: number, outcome: number, bytes: number): OutboxRow {
  const orderId = `019b0000-0000-7000-8000-${String(aggregate).padStart(12, '0')}`;
  const common = { source: '/a-service', subject: orderId, sequence: n, cause: { id: newId() } };
  const event: EventEnvelope = outcome < OUTCOMES.length
    ? newEvent({ ...common, type: 'inventory.updated', data: { orderId, reservationId: orderId, outcome: OUTCOMES[outcome]!, lines: [], shortages: [] } })
    : newEvent({ ...common, type: 'order.confirmed', data: { orderId, customerId: 'é', version: 1, confirmedAt: '2026-01-15T10:30:00.000Z' } });
  return {
    xid: '1',
    id: String(n),
    eventId: event.id,
    aggregateId: orderId,
    detailType: outcome < OUTCOMES.length ? 'InventoryUpdated' : 'OrderConfirmed',
    envelope: JSON.stringify({ ...event, extension: 'ü'.repeat(bytes) }),
    time: new Date(),
  };
}

const GATHERING = [{ detailType: 'OrderConfirmed', ms: 7 }, { detailType: 'InventoryUpdated', outcome: 'DEDUCTED', ms: 3 }];

const padding = fc.oneof({ weight: 9, arbitrary: fc.nat(600) }, fc.integer({ min: 5_000, max: 60_000 }));
const rowsOf = fc.array(fc.tuple(fc.nat(30), fc.nat(OUTCOMES.length), padding), { maxLength: 120 });

test('whatever the bus answers, nothing is lost, each aggregate keeps its order, and bundles are pure and within the limits', () => {
  const bundles = fc.constantFrom(0, 2_000, 20_000);
  const kinds = fc.constantFrom([], GATHERING);
  fc.assert(fc.property(rowsOf, bundles, kinds, fc.infiniteStream(fc.nat(9)), (values, bundleBytes, gathering, answers) => {
    const rows = values.map(([aggregate, outcome, bytes], n) => row(n, aggregate, outcome, bytes));
    const window = new Window(SOURCE, bundleBytes, gathering);
    window.add(rows);
    const answer = () => answers.next().value as number;
    const published: EventEnvelope[] = [];
    const inFlight: Parcel[] = [];
    for (let now = 0; window.pending > 0; now++) {
      window.release(now);
      const call = window.take(now);
      check(call, bundleBytes);
      inFlight.push(...call);
      const keys = inFlight.flatMap(({ items }) => items.map((item) => item.row.aggregateId));
      assert.equal(new Set(keys).size, keys.length, 'an aggregate has one event in flight');
      // Some answers come later.
      for (const parcel of inFlight.splice(0, 1 + answer())) {
        const result = answer();
        for (const item of parcel.items) {
          if (result < 7) window.settle(item);
          else if (result < 9) window.retry(item, now + 1, result < 8);
          else window.isolate(item);
        }
        if (result < 7) published.push(...parseMessage(parcel.detail) as EventEnvelope[]);
      }
    }
    window.advance();
    assert.deepEqual([window.size, window.pendingBytes, window.take(Infinity)], [0, 0, []]);
    const byAggregate = (ids: readonly { id: string; key: string }[]) => Object.fromEntries(
      [...Map.groupBy(ids, ({ key }) => key)].sort().map(([key, own]) => [key, own.map(({ id }) => id)]));
    assert.deepEqual(
      byAggregate(published.map(({ id, subject }) => ({ id, key: subject }))),
      byAggregate(rows.map(({ eventId, aggregateId }) => ({ id: eventId, key: aggregateId }))));
  }), { numRuns: 150 });
});

function check(call: readonly Parcel[], bundleBytes: number): void {
  assert.ok(call.length <= MAX_ENTRIES);
  const sizes = call.map(({ detailType, detail }) => 14 + Buffer.byteLength(SOURCE + detailType + detail));
  assert.ok(call.length === 1 || sizes.reduce((sum, size) => sum + size, 0) <= MAX_BYTES);
  call.forEach(({ detail, items, events }, n) => {
    assert.equal(events, items.length);
    assert.ok(events === 1 || (sizes[n]! <= bundleBytes && items.every(({ alone }) => !alone)));
    const { events: inside, ...common } = JSON.parse(detail) as EventEnvelope & { events?: EventEnvelope[] };
    assert.equal(inside !== undefined, bundleBytes > 0);
    for (const event of inside ?? []) {
      const { specversion, type, source, dataschema, data } = event;
      assert.deepEqual(common, { specversion, type, source, dataschema, data: 'outcome' in data ? { outcome: data.outcome } : {} });
    }
  });
}

test('a bundle is filled before another is begun, up to the bytes of the limit', () => {
  const rows = Array.from({ length: 40 }, (_, n) => row(1, n, OUTCOMES.length, 0));
  const one = new Window(SOURCE, 1);
  one.add(rows.slice(0, 1));
  const { bytes, size } = one.take(0)[0]!.items[0]!;
  const window = new Window(SOURCE, size + 9 * (bytes + 1));
  window.add(rows);
  assert.deepEqual(window.take(0).map(({ events }) => events), [10, 10, 10, 10]);
});

/** The numbers of the rows that go at this time. */
function goes(window: Window, now: number): string[] {
  window.release(now);
  const items = window.take(now).flatMap((parcel) => parcel.items);
  items.forEach((item) => window.settle(item));
  return items.map((item) => item.row.id);
}
const [RESERVED, , DEDUCTED, CONFIRMED] = [0, 1, 2, 3];

test('events that gather go at most once in their time, the first at once, and each kind by itself', () => {
  const window = new Window(SOURCE, 20_000, GATHERING);
  window.add([row(1, 1, CONFIRMED, 0), row(2, 2, DEDUCTED, 0), row(3, 3, RESERVED, 0)]);
  assert.deepEqual(goes(window, 100).sort(), ['1', '2', '3']);
  window.add([row(4, 4, CONFIRMED, 0), row(5, 5, DEDUCTED, 0), row(6, 6, RESERVED, 0)]);
  assert.deepEqual(goes(window, 101), ['6']);
  assert.deepEqual([window.nextAt(), window.waits(102)], [103, false]);
  assert.deepEqual(goes(window, 102), []);
  assert.deepEqual(goes(window, 103), ['5']);
  assert.deepEqual([window.nextAt(), goes(window, 107)], [107, ['4']]);
  assert.deepEqual([window.nextAt(), window.pending], [undefined, 0]);
});

test('an event that need not gather is not held up by one before it', () => {
  const window = new Window(SOURCE, 20_000, GATHERING);
  window.add([row(1, 1, CONFIRMED, 0)]);
  assert.deepEqual(goes(window, 0), ['1']);
  window.add([row(2, 2, CONFIRMED, 0), row(3, 3, CONFIRMED, 0), row(4, 4, CONFIRMED, 0)]);
  window.add([row(5, 2, RESERVED, 0), row(6, 3, DEDUCTED, 0)]);
  // One would wait for less time than the event before it, the other not at all.
  assert.deepEqual([goes(window, 1).sort(), goes(window, 2).sort()], [['2', '3'], ['5', '6']]);
  assert.deepEqual(goes(window, 7), ['4']);
});

test('what fills a call gathers no longer, and without bundles nothing gathers', () => {
  const window = new Window(SOURCE, 60_000, GATHERING);
  window.add([row(1, 1, CONFIRMED, 0)]);
  goes(window, 0);
  window.add(Array.from({ length: 3 }, (_, n) => row(n + 2, n + 2, CONFIRMED, 40_000)));
  assert.deepEqual(goes(window, 1), []);
  window.add([row(5, 5, CONFIRMED, 40_000)]);
  assert.equal(goes(window, 1).length, 3, 'up to 256 KB');
  const plain = new Window(SOURCE, 0, GATHERING);
  plain.add([row(1, 1, CONFIRMED, 0)]);
  assert.deepEqual(goes(plain, 0), ['1']);
  plain.add([row(2, 2, CONFIRMED, 0)]);
  assert.deepEqual(goes(plain, 1), ['2']);
});

test('a text that is no event goes as it is', () => {
  const window = new Window(SOURCE, 1_000);
  window.add(['nonsense', '[]', 'null', '{"a":1}'].map((envelope, n) => ({ ...row(n, n, 0, 0), envelope })));
  assert.deepEqual(window.take(0).map(({ detail }) => detail), ['nonsense', '[]', 'null', '{"a":1}']);
});
