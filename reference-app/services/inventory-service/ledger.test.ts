import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Ledger, type Entry, type Level, type Posting, type Wanted } from './ledger.ts';

const ORDERS = ['a', 'b', 'c'];
const SKUS = ['A', 'B', 'nowhere'];

const stockArbitrary = fc.uniqueArray(
  fc.record({ sku: fc.constantFrom('A', 'B'), location: fc.constantFrom('EAST', 'MAIN'), onHand: fc.nat(9), reserved: fc.constant(0) }),
  { selector: ({ sku, location }) => `${sku}/${location}`, maxLength: 4 },
);
const quantities = fc.uniqueArray(
  fc.record({ sku: fc.constantFrom(...SKUS), requested: fc.integer({ min: 1, max: 6 }) }),
  { selector: ({ sku }) => sku, minLength: 1, maxLength: 3 },
);
const stepsArbitrary = fc.array(fc.record({
  order: fc.constantFrom(...ORDERS),
  kind: fc.constantFrom<Kind>('reserve', 'reserve', 'reserve', 'deduct', 'deduct', 'release', 'return', 'clear'),
  wanted: quantities,
  /** From then on with a new ledger, made of what the database would have. */
  restarts: fc.boolean(),
}), { maxLength: 40 });

type Kind = 'reserve' | 'deduct' | 'release' | 'return' | 'clear';

function perform(ledger: Ledger, kind: Kind, order: string, wanted: readonly Wanted[]): ReturnType<Ledger['reserve']> {
  switch (kind) {
    case 'reserve': return ledger.reserve(order, wanted);
    case 'deduct': return ledger.deduct(order);
    case 'release': return ledger.release(order);
    case 'return': return ledger.return(order, quantitiesOf(wanted));
    case 'clear': return ledger.clear(order);
  }
}

const quantitiesOf = (wanted: readonly Wanted[]) => new Map(wanted.map(({ sku, requested }) => [sku, requested]));
const total = (ofOne: readonly { onHand: number; reserved: number }[], read: 'onHand' | 'reserved') => ofOne.reduce((sum, one) => sum + one[read], 0);

/** The pieces that an order has after a step; `wanted` is what it is to get on top, or to keep. */
function amountAfter(kind: Kind, { held, taken }: { held: number; taken: number }, wanted: number, fits: boolean): number {
  switch (kind) {
    case 'reserve': return held + taken + (fits ? wanted : 0);
    case 'deduct': return held + taken;
    case 'release': return taken;
    case 'return': return held + taken - Math.min(taken, Math.max(0, held + taken - wanted));
    case 'clear': return 0;
  }
}

/** I3 and I4 at every place, and no order that gave back more than it had. */
function assertBalanced(levels: readonly Level[], start: readonly Level[], entries: readonly Entry[]): void {
  levels.forEach(({ sku, location, onHand, reserved }, i) => {
    assert.ok(reserved >= 0 && reserved <= onHand, `I3: ${reserved} of ${onHand} ${sku} at ${location}`);
    const moved = entries.filter((entry) => entry.sku === sku && entry.location === location);
    assert.equal(onHand, start[i]!.onHand + total(moved, 'onHand'), 'I4: on hand');
    assert.equal(reserved, total(moved, 'reserved'), 'I4: reserved');
    for (const order of ORDERS) {
      const own = moved.filter(({ orderId }) => orderId === order);
      assert.ok(total(own, 'reserved') >= 0 && total(own, 'onHand') <= 0, `${order} gives back only what it has`);
    }
  });
}

/** The lines of a posting say what its movements did, and the counters after it. */
function assertLines({ movements, lines }: Posting, ledger: Ledger): void {
  assert.deepEqual(new Set(lines.map(({ sku }) => sku)), new Set(movements.map(({ sku }) => sku)));
  assert.equal(new Set(lines.map(({ sku }) => sku)).size, lines.length, 'one line per SKU');
  for (const { sku, deltaOnHand, deltaReserved, onHand, reserved } of lines) {
    const moved = movements.filter((movement) => movement.sku === sku);
    assert.deepEqual([deltaOnHand, deltaReserved], [total(moved, 'onHand'), total(moved, 'reserved')]);
    assert.deepEqual({ onHand, reserved }, ledger.countersOf(sku));
  }
}

test('whatever is done in whatever order: never more reserved than on hand, counters are the sum of what moved, orders give back what they have', () => {
  fc.assert(fc.property(stockArbitrary, stepsArbitrary, (stock, steps) => {
    // In one order, so that a ledger that goes on with the same stock does the same.
    const start = [...stock].sort((x, y) => (x.sku + x.location < y.sku + y.location ? -1 : 1));
    const entries: Entry[] = [];
    let base: Level[] = start;
    let ledger = new Ledger({ stock: base, entries });
    const levels = () => base.map((level): Level => {
      const change = ledger.changes().find(({ sku, location }) => sku === level.sku && location === level.location);
      return { ...level, onHand: level.onHand + (change?.onHand ?? 0), reserved: level.reserved + (change?.reserved ?? 0) };
    });

    for (const { order, kind, wanted, restarts } of steps) {
      if (restarts) {
        base = levels();
        ledger = new Ledger({ stock: base, entries });
      }
      if (!ledger.has(order)) ledger.open(order, `reservation of ${order}`, wanted[0]!.sku);
      const before = { levels: levels(), version: ledger.versionOf(order), entries: entries.filter(({ orderId }) => orderId === order) };
      const answer = perform(ledger, kind, order, wanted);
      const posting: Posting = 'movements' in answer ? answer : { movements: [], lines: [] };
      const { version, movements } = ledger.write(order, 'RESERVE', posting.movements);
      assert.equal(version, before.version + 1);
      entries.push(...movements.map(({ sku, location, onHand, reserved }) => ({
        orderId: order, version, sku, location, onHand, reserved, eventId: `${order} ${version}`,
      })));

      assertBalanced(levels(), start, entries);
      assertLines(posting, ledger);
      for (const sku of SKUS) {
        const own = levels().filter((level) => level.sku === sku);
        assert.deepEqual(ledger.countersOf(sku), { onHand: total(own, 'onHand'), reserved: total(own, 'reserved') });
      }
      const free = (sku: string) => {
        const own = before.levels.filter((level) => level.sku === sku);
        return total(own, 'onHand') - total(own, 'reserved');
      };
      const missing = kind !== 'reserve' ? [] : wanted.filter(({ sku, requested }) => free(sku) < requested);
      if (!('movements' in answer)) assert.deepEqual(answer, missing.map(({ sku, requested }) => ({ sku, requested, available: free(sku) })));
      for (const sku of SKUS) {
        const own = before.entries.filter((entry) => entry.sku === sku);
        const had = { held: total(own, 'reserved'), taken: 0 - total(own, 'onHand') };
        const expected = amountAfter(kind, had, quantitiesOf(wanted).get(sku) ?? 0, missing.length === 0);
        assert.equal(ledger.amounts(order).get(sku) ?? 0, expected, `${kind} ${sku}`);
      }
    }
  }), { numRuns: 500 });
});

test('a version in which nothing moves is still written down', () => {
  const ledger = new Ledger({ stock: [], entries: [] });
  ledger.open('a', 'r', 'A');
  assert.deepEqual(ledger.write('a', 'REJECT', [], ['B', 'C']), {
    reservationId: 'r', version: 1, movements: ['B', 'C'].map((sku) => ({ type: 'REJECT', sku, location: null, onHand: 0, reserved: 0 })),
  });
  assert.deepEqual(ledger.write('a', 'RELEASE', []), { reservationId: 'r', version: 2, movements: [{ type: 'RELEASE', sku: 'B', location: null, onHand: 0, reserved: 0 }] });
  assert.throws(() => ledger.deduct('b'), /The order b has no reservation/);
});
