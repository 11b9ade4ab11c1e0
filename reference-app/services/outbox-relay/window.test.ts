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

const padding = fc.oneof({ weight: 9, arbitrary: fc.nat(600) }, fc.integer({ min: 5_000, max: 60_000 }));
const rowsOf = fc.array(fc.tuple(fc.nat(30), fc.nat(OUTCOMES.length), padding), { maxLength: 120 });

test('whatever the bus answers, nothing is lost, each aggregate keeps its order, and bundles are pure and within the limits', () => {
  fc.assert(fc.property(rowsOf, fc.constantFrom(0, 2_000, 20_000), fc.infiniteStream(fc.nat(9)), (values, bundleBytes, answers) => {
    const rows = values.map(([aggregate, outcome, bytes], n) => row(n, aggregate, outcome, bytes));
    const window = new Window(SOURCE, bundleBytes);
    window.add(rows);
    const answer = () => answers.next().value as number;
    const published: EventEnvelope[] = [];
    const inFlight: Parcel[] = [];
    for (let now = 0; window.pending > 0; now++) {
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

test('a text that is no event goes as it is', () => {
  const window = new Window(SOURCE, 1_000);
  window.add(['nonsense', '[]', 'null', '{"a":1}'].map((envelope, n) => ({ ...row(n, n, 0, 0), envelope })));
  assert.deepEqual(window.take(0).map(({ detail }) => detail), ['nonsense', '[]', 'null', '{"a":1}']);
});
