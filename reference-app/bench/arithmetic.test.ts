import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { niceMaximum } from './chart.ts';
import { parseStat } from './processor.ts';
import { atLeast, reaches } from './report.ts';
import { pairedSlices, processorPerOrder, ratios, shuffled, type Slice, type Variant } from './slices.ts';
import { judge, type SoakSample } from './soak.ts';
import { quantile, slope, summarize } from './statistics.ts';
import { work } from './stages.ts';
import { seeded } from '../load/random.ts';

describe('statistics', () => {
  test('quantiles are interpolated as R and NumPy do by default', () => {
    assert.equal(quantile([1, 2, 3, 4], 0.5), 2.5);
    assert.equal(quantile([1, 2, 3, 4], 0.25), 1.75);
    assert.equal(quantile([5], 0.9), 5);
    assert.ok(Number.isNaN(quantile([], 0.5)));
    assert.deepEqual(summarize([3, 1, 2]), { n: 3, median: 2, q1: 1.5, q3: 2.5, min: 1, max: 3 });
  });

  test('a quantile lies between its neighbours and grows with its share', () => {
    fc.assert(fc.property(fc.array(fc.integer(), { minLength: 1 }), fc.double({ min: 0, max: 1, noNaN: true }), fc.double({ min: 0, max: 1, noNaN: true }), (values, a, b) => {
      const sorted = [...values].sort((x, y) => x - y);
      const [low, high] = [quantile(sorted, Math.min(a, b)), quantile(sorted, Math.max(a, b))];
      assert.ok(sorted[0]! <= low && low <= high && high <= sorted.at(-1)!);
    }));
  });

  test('the slope of a line is its own', () => {
    assert.ok(Math.abs(slope([[0, 1], [1, 3], [2, 5]]) - 2) < 1e-12);
    assert.equal(slope([[1, 4], [1, 9]]), 0);
  });
});

/** A machine that becomes slower in the middle: every slice takes the rate of its moment. */
function drifting(rates: { [name: string]: number }, factor: () => number) {
  const order: string[] = [];
  const variant = (name: string): Variant => ({
    name,
    async run() {
      order.push(name);
      return { count: rates[name]! * factor(), seconds: 1 };
    },
  });
  return { variant, order };
}

describe('paired slices', () => {
  test('each slice of a variant stands between two of the baseline, and every round draws its own order', async () => {
    const { variant, order } = drifting({ a: 1, b: 2, c: 3 }, () => 1);
    const slices = await pairedSlices({ baseline: variant('a'), variants: [variant('b'), variant('c')], rounds: 20, sliceMs: 1, random: seeded(3) });
    const measured = slices.map((slice) => slice.variant);
    assert.equal(order.length, measured.length + 3, 'the warm-up is run and not counted');
    assert.equal(measured.length, 20 * 4 + 1);
    measured.forEach((name, i) => assert.equal(name === 'a', i % 2 === 0));
    assert.equal(new Set(Array.from({ length: 20 }, (_, round) => measured[round * 4 + 1])).size, 2, 'b is not always first');
  });

  test('a phase in which the machine is slow does not move the ratio', async () => {
    let slice = 0;
    const { variant } = drifting({ a: 100, b: 700 }, () => (slice++ > 12 ? 0.25 : 1));
    const slices = await pairedSlices({ baseline: variant('a'), variants: [variant('b')], rounds: 20, sliceMs: 1, random: seeded(1) });
    const { median, q1, q3 } = summarize(ratios(slices, 'b', 'a'));
    assert.deepEqual([median, q1, q3], [7, 7, 7]);
    // Means of all slices would be thrown off by nothing here, but not be paired: the test above proves the order.
  });

  test('a ratio is over the mean of the neighbours', () => {
    const slice = (variant: string, rate: number): Slice => ({ round: 0, variant, count: rate, seconds: 1, rate });
    assert.deepEqual(ratios([slice('a', 10), slice('b', 60), slice('a', 30), slice('b', 60), slice('a', 90)], 'b', 'a'), [3, 1]);
  });

  test('processor time is pooled over slices before it is divided', () => {
    const slice = (count: number, database: number, node: number): Slice => ({ round: 0, variant: 'a', count, seconds: 1, rate: count, database, node });
    assert.equal(processorPerOrder([slice(1, 0.5, 0.5), slice(999_999, 4, 5)], 'a'), 10);
    assert.equal(processorPerOrder([], 'a'), undefined);
  });

  test('shuffling loses nothing', () => {
    fc.assert(fc.property(fc.array(fc.integer()), fc.nat(), (items, seed) => {
      assert.deepEqual([...shuffled(items, seeded(seed))].sort(), [...items].sort());
    }));
  });
});

test('workers that overlap lose no count', async () => {
  const { count, taken } = await work(Array.from({ length: 500 }, (_, i) => i), { workers: 16 }, async () => {
    await new Promise((resolve) => setImmediate(resolve));
    return 1;
  });
  assert.deepEqual([count, taken], [500, 500]);
});

test('the process table is read whatever the name of a process', () => {
  const fields = (name: string) => `42 (${name}) S 7 42 42 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 1 0 100 0 0`;
  assert.deepEqual(parseStat(fields('postgres')), { parent: 7, seconds: 3 });
  assert.deepEqual(parseStat(fields('a (b) c) S 1')), { parent: 7, seconds: 3 });
});

test('a target says which direction is better', () => {
  assert.ok(reaches(80, atLeast(75)));
  assert.ok(!reaches(70, atLeast(75)));
  assert.ok(!reaches(31, { at: 30, better: 'less', text: '' }));
});

test('axes end at round numbers', () => {
  assert.deepEqual([0, 1, 1.1, 3, 7, 10, 12_000].map(niceMaximum), [1, 1, 2, 5, 10, 10, 20_000]);
});

test('a soak that creeps is seen: latency, memory, and a table that grows faster than its rows', () => {
  const sample = (minute: number, creep: number): SoakSample => {
    const quantiles = { p50: 5, p90: 8, p99: 20 * (1 + creep * minute), max: 50 };
    return {
      minute, orders: minute * 1000, confirmed: quantiles, nodeMemory: 200 * (1 + creep * minute), databaseMemory: 100,
      tables: { 'orders.orders': { live: 1000 * (minute + 1), dead: 0, mebibytes: (minute + 1) * (1 + creep * minute) } },
    };
  };
  const of = (creep: number) => judge(Array.from({ length: 61 }, (_, minute) => sample(minute, creep)));
  const flat = of(0);
  assert.ok(Math.abs(flat.drift.p99) < 1e-9 && Math.abs(flat.drift.nodeMemory) < 1e-9 && Math.abs(flat.bloat['orders.orders']! - 1) < 1e-9);
  const creeping = of(0.05);
  assert.ok(creeping.drift.p99 > 0.5 && creeping.drift.nodeMemory > 0.5 && creeping.drift.databaseMemory === 0);
  assert.ok(creeping.bloat['orders.orders']! > 1.3);
});
