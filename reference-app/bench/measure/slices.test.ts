import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { bestConcurrency } from './best-concurrency.ts';
import { parseStat } from './processor.ts';
import { pairedSlices, processorPerOrder, ratios, shuffled, type Slice, type Variant } from './slices.ts';
import { work } from './work.ts';
import { seeded } from '../../load/random.ts';
import { summarize } from '../../load/statistics.ts';

/** Variants of a machine whose speed changes: every slice takes the factor of its moment. */
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
  test('each slice of a variant stands beside one of the baseline, and every round draws its own order', async () => {
    const { variant, order } = drifting({ a: 1, b: 2, c: 3 }, () => 1);
    const slices = await pairedSlices({
      baseline: variant('a'), variants: [variant('b'), variant('c')], rounds: 20, sliceMs: 1, random: seeded(3),
    });
    const measured = slices.map((slice) => slice.variant);
    assert.equal(order.length, measured.length + 3, 'the warm-up is run and not counted');
    assert.equal(measured.length, 20 * 3 + 1);
    measured.forEach((name, i) => assert.equal(name === 'a', i % 3 === 0));
    assert.equal(new Set(Array.from({ length: 20 }, (_, round) => measured[round * 3 + 1])).size, 2, 'b is not always first');
  });

  test('a phase in which the machine is slow does not move the ratio', async () => {
    let slice = 0;
    const { variant } = drifting({ a: 100, b: 700 }, () => (slice++ > 12 ? 0.25 : 1));
    const slices = await pairedSlices({ baseline: variant('a'), variants: [variant('b')], rounds: 20, sliceMs: 1, random: seeded(1) });
    const { median, q1, q3 } = summarize(ratios(slices, 'b', 'a'));
    assert.deepEqual([median, q1, q3], [7, 7, 7]);
  });

  test('a slice in which others use the machine is measured again and the quieter one counts, but not forever', async () => {
    const busy = [0, 0.5, 0, 0.9, 0.8, 0.9];
    let at = 0;
    const machine = { busy: 0, all: 0 };
    const meter = { read: () => ({ database: 0, node: 0, machine: { ...machine } }) };
    const run = async () => {
      machine.busy += busy[at++]!;
      machine.all++;
      return { count: at, seconds: 1 };
    };
    const slices = await pairedSlices({ baseline: { name: 'a', run }, variants: [], rounds: 0, sliceMs: 1, random: seeded(1), meter });
    // The first run warms up; one repetition is allowed for so few slices.
    assert.deepEqual(slices.map(({ count }) => count), [3]);
    assert.ok(slices[0]!.others! < 0.1);
    at = 3;
    const [worse] = await pairedSlices({ baseline: { name: 'a', run }, variants: [], rounds: 0, sliceMs: 1, random: seeded(1), meter });
    assert.deepEqual([worse!.count, at], [5, 6]);
  });

  test('a ratio is over the mean of the neighbours', () => {
    const slice = (variant: string, rate: number): Slice => ({ round: 0, variant, count: rate, seconds: 1, rate });
    assert.deepEqual(ratios([slice('a', 10), slice('b', 60), slice('a', 30), slice('b', 60), slice('a', 90)], 'b', 'a'), [3, 1]);
  });

  test('processor time is pooled over slices before it is divided', () => {
    const slice = (count: number, database: number, node: number): Slice => (
      { round: 0, variant: 'a', count, seconds: 1, rate: count, database, node });
    assert.deepEqual(processorPerOrder([slice(1, 0.5, 0.5), slice(999_999, 4, 5)], 'a'), { all: 10, node: 5.5 });
    const steady = Array.from({ length: 6 }, () => slice(1_000, 0.005, 0.005));
    const { all } = processorPerOrder([slice(1_000, 9, 9), ...steady, slice(1_000, 0, 0.001)], 'a')!;
    assert.ok(Math.abs(all - 10) < 1e-9, 'the cheapest and the dearest quarter do not count');
    assert.equal(processorPerOrder([], 'a'), undefined);
  });

  test('shuffling loses nothing', () => {
    fc.assert(fc.property(fc.array(fc.integer()), fc.nat(), (items, seed) => {
      assert.deepEqual([...shuffled(items, seeded(seed))].sort(), [...items].sort());
    }));
  });
});

describe('the best concurrency of the naive design', () => {
  const search = async (rateOf: (workers: number) => number) => {
    const { best, tried } = await bestConcurrency({
      sliceMs: 1, make: (workers) => ({ name: String(workers), run: async () => ({ count: rateOf(workers), seconds: 1 }) }),
    });
    return [best.name, tried.map(({ name }) => name).join()];
  };

  test('is found by doubling the workers, past one number that brings nothing', async () => {
    assert.deepEqual(await search((workers) => 100 - Math.abs(workers - 4)), ['4', '2,4,8,16']);
    assert.deepEqual(await search((workers) => (workers === 8 ? 1 : workers)), ['64', '2,4,8,16,32,64']);
    assert.deepEqual(await search((workers) => 1 / workers), ['2', '2,4,8']);
  });

  test('there is none of a design that does nothing', async () => {
    await assert.rejects(search(() => 0), /did nothing/);
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
