import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Ledger, type Entry, type Level, type Movement, type Posting } from './ledger.ts';

const ORDERS = ['a', 'b', 'c'];
const SKUS = ['A', 'B', 'nowhere'];

const stockArbitrary = fc.uniqueArray(
  fc.record({ sku: fc.constantFrom('A', 'B'), location: fc.constantFrom('EAST', 'MAIN'), onHand: fc.nat(9), reserved: fc.constant(0) }),
  { selector: ({ sku, location }) => `${sku}/${location}`, maxLength: 4 },
);
const quantities = fc.uniqueArray(fc.record({ sku: fc.constantFrom(...SKUS), requested: fc.integer({ min: 1, max: 6 }) }), { selector: ({ sku }) => sku, minLength: 1, maxLength: 3 });
const stepsArbitrary = fc.array(fc.record({
  order: fc.constantFrom(...ORDERS), kind: fc.constantFrom('reserve', 'reserve', 'reserve', 'deduct', 'deduct', 'release', 'return', 'clear'), wanted: quantities,
  /** From then on with a new ledger, made of what the database would have. */
  restarts: fc.boolean(),
}), { maxLength: 40 });

const sum = (movements: readonly Movement[], read: (movement: Movement) => number) => movements.reduce((total, movement) => total + read(movement), 0);

test('whatever is done in whatever order: never more reserved than on hand, counters that are the sum of what moved, orders that give back what they have', () => {
  fc.assert(fc.property(stockArbitrary, stepsArbitrary, (start, steps) => {
    // A place is used up before the next only in the order given, so that two ledgers of the same stock do the same.
    const sorted = [...start].sort((x, y) => (x.sku + x.location < y.sku + y.location ? -1 : 1));
    const entries: Entry[] = [];
    let base: Level[] = sorted;
    let ledger = new Ledger({ stock: base, entries });

    const levels = () => base.map((level): Level => {
      const change = ledger.changes().find(({ sku, location }) => sku === level.sku && location === level.location);
      return { ...level, onHand: level.onHand + (change?.onHand ?? 0), reserved: level.reserved + (change?.reserved ?? 0) };
    });
    const of = (order: string) => entries.filter(({ orderId, location }) => orderId === order && location !== null);

    for (const { order, kind, wanted, restarts } of steps) {
      if (restarts) {
        base = levels();
        ledger = new Ledger({ stock: base, entries });
      }
      if (!ledger.has(order)) ledger.open(order, `reservation of ${order}`, wanted[0]!.sku);
      const before = { levels: levels(), version: ledger.versionOf(order), amounts: ledger.amounts(order) };
      const target = new Map(wanted.map(({ sku, requested }) => [sku, requested]));
      const answer = kind === 'reserve' ? ledger.reserve(order, wanted)
        : kind === 'deduct' ? ledger.deduct(order)
          : kind === 'release' ? ledger.release(order)
            : kind === 'return' ? ledger.return(order, target) : ledger.clear(order);
      const posting: Posting = 'movements' in answer ? answer : { movements: [], lines: [] };
      const written = ledger.write(order, 'RESERVE', posting.movements);
      assert.equal(written.version, before.version + 1);
      entries.push(...written.movements.map(({ sku, location, onHand, reserved }): Entry => ({
        orderId: order, version: written.version, sku, location, onHand, reserved, eventId: `${order} ${written.version}`,
      })));

      for (const { sku, location, onHand, reserved } of levels()) {
        assert.ok(reserved >= 0 && reserved <= onHand, `I3: ${reserved} of ${onHand} ${sku} at ${location}`);
        const moved = entries.filter((entry) => entry.sku === sku && entry.location === location);
        const first = sorted.find((level) => level.sku === sku && level.location === location)!;
        assert.equal(onHand, moved.reduce((total, entry) => total + entry.onHand, first.onHand), 'I4: on hand');
        assert.equal(reserved, moved.reduce((total, entry) => total + entry.reserved, 0), 'I4: reserved');
        for (const one of ORDERS) {
          const own = of(one).filter((entry) => entry.sku === sku && entry.location === location);
          assert.ok(own.reduce((total, entry) => total + entry.reserved, 0) >= 0 && own.reduce((total, entry) => total - entry.onHand, 0) >= 0, `${one} gives back only what it has`);
        }
      }
      for (const sku of SKUS) {
        const own = levels().filter((level) => level.sku === sku);
        assert.deepEqual(ledger.countersOf(sku), { onHand: own.reduce((n, { onHand }) => n + onHand, 0), reserved: own.reduce((n, { reserved }) => n + reserved, 0) });
      }
      for (const line of posting.lines) {
        const moved = posting.movements.filter(({ sku }) => sku === line.sku);
        assert.deepEqual(
          { deltaOnHand: line.deltaOnHand, deltaReserved: line.deltaReserved, ...ledger.countersOf(line.sku) },
          { deltaOnHand: sum(moved, ({ onHand }) => onHand), deltaReserved: sum(moved, ({ reserved }) => reserved), onHand: line.onHand, reserved: line.reserved });
      }
      assert.equal(new Set(posting.lines.map(({ sku }) => sku)).size, posting.lines.length, 'one line per SKU');

      const has = (sku: string) => ledger.amounts(order).get(sku) ?? 0;
      const had = (sku: string) => before.amounts.get(sku) ?? 0;
      switch (kind) {
        case 'reserve': {
          const free = (sku: string) => before.levels.filter((level) => level.sku === sku).reduce((n, { onHand, reserved }) => n + onHand - reserved, 0);
          const short = wanted.filter(({ sku, requested }) => free(sku) < requested).map(({ sku, requested }) => ({ sku, requested, available: free(sku) }));
          if (short.length > 0) assert.deepEqual(answer, short);
          for (const sku of SKUS) assert.equal(has(sku), had(sku) + (short.length > 0 ? 0 : target.get(sku) ?? 0), 'all or nothing');
          break;
        }
        case 'deduct':
          for (const sku of SKUS) assert.equal(has(sku), had(sku));
          assert.equal(of(order).reduce((n, { reserved }) => n + reserved, 0), 0);
          break;
        case 'release':
          assert.equal(of(order).reduce((n, { reserved }) => n + reserved, 0), 0);
          break;
        case 'return':
          for (const sku of SKUS) assert.ok(has(sku) <= had(sku) && has(sku) >= Math.min(had(sku), target.get(sku) ?? 0));
          break;
        case 'clear':
          for (const sku of SKUS) assert.equal(has(sku), 0);
      }
    }
  }), { numRuns: 500 });
});

test('a version in which nothing moves is written down all the same', () => {
  const ledger = new Ledger({ stock: [], entries: [] });
  ledger.open('a', 'r', 'A');
  assert.deepEqual(ledger.write('a', 'REJECT', [], ['B', 'C']), {
    reservationId: 'r', version: 1, movements: ['B', 'C'].map((sku) => ({ type: 'REJECT', sku, location: null, onHand: 0, reserved: 0 })),
  });
  assert.deepEqual(ledger.write('a', 'RELEASE', []), { reservationId: 'r', version: 2, movements: [{ type: 'RELEASE', sku: 'B', location: null, onHand: 0, reserved: 0 }] });
  assert.throws(() => ledger.deduct('b'), /The order b has no reservation/);
});
