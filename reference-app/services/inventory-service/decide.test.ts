import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { decide, type Caused, type Change, type Decision, type Known } from './decide.ts';
import type { Entry, Level } from './ledger.ts';
import { newEvent, newId, type EventEnvelope } from '../shared/events/index.ts';

type Lines = { sku: string; requested: number }[];

const ORDERS = Array.from({ length: 5 }, newId);

type Kind = 'validated' | 'created' | 'confirmed' | 'requested' | 'updated' | 'refused' | 'late' | 'cancelled' | 'expired';

function eventOf(
  { kind, order, lines, version = 1 }: { kind: Kind; order: number; lines: Lines; version?: number },
): EventEnvelope<Caused> {
  const orderId = ORDERS[order]!;
  const common = { source: '/test', subject: orderId, sequence: version, cause: { id: newId() } };
  const at = new Date().toISOString();
  const of = { orderId, customerId: 'c', version };
  const items = [...new Map(lines.map(({ sku, requested }) => [sku, requested]))].map(([sku, quantity]) => ({ sku, quantity }));
  const change = { ...of, old: items, new: items, changed: [{ sku: 'A', from: 0, to: 1 }] };
  switch (kind) {
    case 'validated': {
      const data = { orderId, lines: lines.map((line) => ({ ...line, available: 0 })), sufficient: true, asOf: at };
      return newEvent({ ...common, type: 'inventory.validated', data });
    }
    case 'created': return newEvent({ ...common, type: 'order.created', data: { orderId, customerId: 'c', items, createdAt: at } });
    case 'confirmed': return newEvent({ ...common, type: 'order.confirmed', data: { ...of, confirmedAt: at } });
    case 'requested': return newEvent({ ...common, type: 'order.update-requested', data: { ...change, requestedAt: at } });
    case 'updated': return newEvent({ ...common, type: 'order.updated', data: { ...change, updatedAt: at } });
    case 'refused': return newEvent({ ...common, type: 'order.update-rejected', data: { ...of, reason: 'INSUFFICIENT_STOCK', shortages: [], rejectedAt: at } });
    case 'late': return newEvent({ ...common, type: 'order.update-expired', data: { ...of, expiredAt: at } });
    case 'cancelled': return newEvent({ ...common, type: 'order.cancel-requested', data: { ...of, reason: 'x', requestedAt: at } });
    case 'expired': return newEvent({ ...common, type: 'order.expired', data: { ...of, status: 'PENDING', expiredAt: at } });
  }
}

/** Each order's events count its versions, whatever they are; a repeated one says again what was said before. */
function historyOf(specs: readonly { kind: Kind; order: number; lines: Lines; repeats: boolean }[]): EventEnvelope<Caused>[] {
  const versions = new Map<number, number>();
  return specs.map(({ kind, order, lines, repeats }) => {
    const before = versions.get(order) ?? 0;
    if (repeats && before > 0) return eventOf({ kind, order, lines, version: before });
    versions.set(order, before + 1);
    // By the advice or by the order itself.
    return eventOf({ kind: before > 0 ? kind : lines.length % 2 ? 'validated' : 'created', order, lines, version: before + 1 });
  });
}

const skuArbitrary = fc.constantFrom('A', 'B', 'C', 'nowhere');
const levelArbitrary = fc.record({
  sku: fc.constantFrom('A', 'B', 'C'), location: fc.constantFrom('EAST', 'MAIN', 'WEST'), onHand: fc.nat(9), reserved: fc.constant(0),
});
const stockArbitrary = fc.uniqueArray(levelArbitrary,
  { selector: ({ sku, location }) => `${sku}/${location}`, maxLength: 7 });
const eventsArbitrary = fc.array(fc.record({
  kind: fc.constantFrom<Kind>('confirmed', 'confirmed', 'requested', 'requested', 'updated', 'updated', 'refused', 'late', 'cancelled', 'expired'),
  order: fc.nat(ORDERS.length - 1),
  repeats: fc.integer({ min: 0, max: 5 }).map((n) => n === 0),
  lines: fc.array(fc.record({ sku: skuArbitrary, requested: fc.integer({ min: 1, max: 5 }) }), { minLength: 1, maxLength: 4 }),
}), { minLength: 1, maxLength: 25 });

function entriesOf({ version, eventId, data: { orderId }, movements }: Change): Entry[] {
  return movements.map(({ sku, location, onHand, reserved }) => ({ orderId, version, sku, location, onHand, reserved, eventId }));
}

/** What is known once the decision is written, as the database would have it. */
function apply(known: Known, { outcomes, changes, stock }: Decision): Known {
  return {
    unfounded: known.unfounded,
    handled: new Set([...known.handled, ...outcomes.filter(({ result }) => result !== 'retry' && result !== 'parked').map(({ eventId }) => eventId)]),
    entries: [...known.entries, ...changes.flatMap(entriesOf)],
    stock: known.stock.map((level): Level => {
      const change = stock.find(({ sku, location }) => sku === level.sku && location === level.location);
      return change ? { ...level, onHand: level.onHand + change.onHand, reserved: level.reserved + change.reserved } : level;
    }),
  };
}

const byPlace = (a: Level, b: Level) => (a.sku + a.location < b.sku + b.location ? -1 : 1);
const sorted = (stock: readonly Level[]) => stock.map((level) => ({ ...level })).sort(byPlace);
/** All that does not hang on the ids of new events. */
const told = (decisions: readonly Decision[]) => decisions.flatMap(({ changes }) => changes.map(
  ({ cause, version, movements, data: { reservationId: _, ...data } }) => ({ cause: cause.id, version, movements, data }),
));

test('a batch is decided as its events would be one by one, wherever it is cut', () => {
  fc.assert(fc.property(stockArbitrary, eventsArbitrary, fc.array(fc.nat(24)), (levels, specs, cuts) => {
    const events = historyOf(specs);
    const start: Known = { handled: new Set(), unfounded: new Map(), entries: [], stock: sorted(levels) };
    const run = (borders: ReadonlySet<number>) => {
      const decisions: Decision[] = [];
      let known = start;
      let batch: EventEnvelope<Caused>[] = [];
      events.forEach((event, i) => {
        batch.push(event);
        if (!borders.has(i) && i < events.length - 1) return;
        decisions.push(decide(batch, known));
        known = apply(known, decisions.at(-1)!);
        batch = [];
      });
      return { decisions, known };
    };
    const single = run(new Set(events.keys()));
    const cut = run(new Set(cuts));
    assert.deepEqual(told(cut.decisions), told(single.decisions));
    assert.deepEqual(cut.decisions.flatMap(({ outcomes }) => outcomes), single.decisions.flatMap(({ outcomes }) => outcomes));
    assert.deepEqual(cut.known.stock, single.known.stock);

    // Nothing oversold, the counters are the sum of what moved, and every version follows the one before.
    for (const { sku, location, onHand, reserved } of cut.known.stock) {
      assert.ok(reserved >= 0 && reserved <= onHand, `${sku} ${location}`);
      const first = start.stock.find((one) => one.sku === sku && one.location === location)!;
      const moved = cut.decisions.flatMap(({ changes }) => changes.flatMap(({ movements }) => movements))
        .filter((one) => one.sku === sku && one.location === location);
      assert.equal(onHand, moved.reduce((sum, one) => sum + one.onHand, first.onHand));
      assert.equal(reserved, moved.reduce((sum, one) => sum + one.reserved, 0));
    }
    for (const orderId of ORDERS) {
      const own = cut.decisions.flatMap(({ changes }) => changes).filter(({ data }) => data.orderId === orderId);
      assert.deepEqual(own.map(({ version }) => version), own.map((_, i) => i + 1));
      const has = new Map<string, { held: number; taken: number }>();
      for (const { cause, version, movements, data } of own) {
        assert.equal(version, Number(cause.sequence));
        for (const { sku, location, onHand, reserved } of movements) {
          if (location === null) continue;
          const piece = has.get(`${sku} ${location}`) ?? { held: 0, taken: 0 };
          has.set(`${sku} ${location}`, { held: piece.held + reserved, taken: piece.taken - onHand });
        }
        const pieces = [...has.values()];
        assert.ok(pieces.every(({ held, taken }) => held >= 0 && taken >= 0), 'nothing is given back that the order does not have');
        if (cause.type === 'order.cancel-requested' || cause.type === 'order.expired') assert.ok(pieces.every(({ held, taken }) => held === 0 && taken === 0), 'all is given back');
        if (cause.type === 'order.update-requested' && data.outcome === 'RESERVED') {
          for (const { sku, quantity } of cause.data.new) {
            const sum = [...has].filter(([place]) => place.startsWith(`${sku} `)).reduce((total, [, { held, taken }]) => total + held + taken, 0);
            assert.ok(sum >= quantity, `the order has ${sum} of ${quantity} ${sku}`);
          }
        }
      }
      assert.ok(own.every(({ data }) => data.reservationId === own[0]!.eventId), 'the id of the reservation is the id of the event that decided');
    }
    // Everything has an outcome, and what was handled is known the next time.
    assert.deepEqual(cut.decisions.flatMap(({ outcomes }) => outcomes.map(({ eventId }) => eventId)), events.map(({ id }) => id));
    for (const { eventId, result } of decide(events, cut.known).outcomes) if (cut.known.handled.has(eventId)) assert.equal(result, 'duplicate');
  }), { numRuns: 1_000 });
});

test('all lines or none, greedy in the order of arrival', () => {
  const line = (sku: string, requested: number) => ({ sku, requested });
  const events = [
    eventOf({ kind: 'validated', order: 0, lines: [line('A', 6), line('B', 1)] }), eventOf({ kind: 'validated', order: 1, lines: [line('A', 3)] }),
    eventOf({ kind: 'validated', order: 2, lines: [line('A', 2), line('A', 2)] }), eventOf({ kind: 'validated', order: 3, lines: [line('A', 2), line('nowhere', 1)] }),
    eventOf({ kind: 'validated', order: 4, lines: [line('A', 2)] }),
  ];
  const before = [{ sku: 'A', location: 'EAST', onHand: 1, reserved: 0 }, { sku: 'A', location: 'MAIN', onHand: 5, reserved: 1 }];
  const { changes, stock, isShort } = decide(events, { handled: new Set(), unfounded: new Map(), entries: [], stock: before });
  assert.deepEqual(changes.map(({ data: { outcome, shortages } }) => [outcome, shortages]), [
    ['REJECTED', [{ sku: 'A', requested: 6, available: 5 }, { sku: 'B', requested: 1, available: 0 }]],
    ['RESERVED', []],
    ['REJECTED', [{ sku: 'A', requested: 4, available: 2 }]],
    ['REJECTED', [{ sku: 'nowhere', requested: 1, available: 0 }]],
    ['RESERVED', []],
  ]);
  assert.equal(isShort, true);
  assert.deepEqual(stock.map(({ location, onHand, reserved }) => [location, onHand, reserved]), [['EAST', 0, 1], ['MAIN', 0, 4]]);
});
