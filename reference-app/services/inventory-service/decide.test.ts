import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { newEvent, newId, type EventEnvelope } from '../shared/events/index.ts';
import { decide, type Caused, type Decision, type Entry, type Known, type Level } from './decide.ts';

type Lines = { sku: string; requested: number }[];

const ORDERS = Array.from({ length: 5 }, newId);

function eventOf({ kind, order, lines }: { kind: 'validated' | 'confirmed' | 'cancelled'; order: number; lines: Lines }): EventEnvelope<Caused> {
  const orderId = ORDERS[order]!;
  const common = { source: '/test', subject: orderId, sequence: 1, cause: { id: newId() } };
  const at = new Date().toISOString();
  switch (kind) {
    case 'validated': return newEvent({ ...common, type: 'inventory.validated', data: { orderId, lines: lines.map((line) => ({ ...line, available: 0 })), sufficient: true, asOf: at } });
    case 'confirmed': return newEvent({ ...common, type: 'order.confirmed', data: { orderId, customerId: 'c', version: 2, confirmedAt: at } });
    case 'cancelled': return newEvent({ ...common, type: 'order.cancelled', data: { orderId, customerId: 'c', version: 3, reason: 'x', cancelledAt: at } });
  }
}

const skuArbitrary = fc.constantFrom('A', 'B', 'C', 'nowhere');
const stockArbitrary = fc.uniqueArray(fc.record({ sku: fc.constantFrom('A', 'B', 'C'), location: fc.constantFrom('EAST', 'MAIN', 'WEST'), onHand: fc.nat(9), reserved: fc.constant(0) }),
  { selector: ({ sku, location }) => `${sku}/${location}`, maxLength: 7 });
const eventsArbitrary = fc.array(fc.record({
  kind: fc.constantFrom('validated' as const, 'validated' as const, 'confirmed' as const, 'cancelled' as const), order: fc.nat(ORDERS.length - 1),
  lines: fc.array(fc.record({ sku: skuArbitrary, requested: fc.integer({ min: 1, max: 5 }) }), { minLength: 1, maxLength: 4 }),
}), { minLength: 1, maxLength: 25 });

/** What is known once the decision is written, as the database would tell it. */
function apply(known: Known, { outcomes, changes, stock }: Decision): Known {
  return {
    handled: new Set([...known.handled, ...outcomes.filter(({ result }) => result !== 'retry').map(({ eventId }) => eventId)]),
    entries: [...known.entries, ...changes.flatMap(({ version, type, eventId, data, movements }) => movements.map((one): Entry => ({
      orderId: data.orderId, version, type, sku: one.sku, location: one.location ?? '-', quantity: Math.max(Math.abs(one.onHand), Math.abs(one.reserved)), eventId,
    })))],
    stock: known.stock.map((level): Level => {
      const change = stock.find(({ sku, location }) => sku === level.sku && location === level.location);
      return change ? { ...level, onHand: level.onHand + change.onHand, reserved: level.reserved + change.reserved } : level;
    }),
  };
}

const sorted = (stock: readonly Level[]) => stock.map((level) => ({ ...level })).sort((a, b) => (a.sku + a.location < b.sku + b.location ? -1 : 1));
/** All that does not hang on the ids of new events. */
const told = (decisions: readonly Decision[]) => decisions.flatMap(({ changes }) => changes.map(({ cause, version, type, movements, data: { reservationId: _, ...data } }) => ({ cause: cause.id, version, type, movements, data })));

test('a batch is decided as its events would be one by one, wherever it is cut', () => {
  fc.assert(fc.property(stockArbitrary, eventsArbitrary, fc.array(fc.nat(24)), (levels, specs, cuts) => {
    const events = specs.map(eventOf);
    const start: Known = { handled: new Set(), entries: [], stock: sorted(levels) };
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
      const moved = cut.decisions.flatMap(({ changes }) => changes.flatMap(({ movements }) => movements)).filter((one) => one.sku === sku && one.location === location);
      assert.equal(onHand, moved.reduce((sum, one) => sum + one.onHand, first.onHand));
      assert.equal(reserved, moved.reduce((sum, one) => sum + one.reserved, 0));
    }
    for (const orderId of ORDERS) {
      const own = cut.decisions.flatMap(({ changes }) => changes).filter(({ data }) => data.orderId === orderId);
      assert.deepEqual(own.map(({ version }) => version), own.map((_, i) => i + 1));
      assert.match(own.map(({ type }) => type).join(' '), /^(|REJECT|RESERVE( RELEASE| COMMIT( RETURN)?)?)$/);
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
  const { changes, stock, isShort } = decide(events, { handled: new Set(), entries: [], stock: [{ sku: 'A', location: 'EAST', onHand: 1, reserved: 0 }, { sku: 'A', location: 'MAIN', onHand: 5, reserved: 1 }] });
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
