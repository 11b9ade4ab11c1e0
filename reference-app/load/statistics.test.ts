import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { latencies, median, percentile, slope, sorted, summarize } from './statistics.ts';

const values = fc.array(fc.integer({ min: -1_000_000, max: 1_000_000 }), { minLength: 1, maxLength: 200 });
const share = fc.double({ min: 0, max: 1, noNaN: true });
const near = (a: number, b: number) => assert.ok(Math.abs(a - b) <= 1e-6 * Math.max(1, Math.abs(a), Math.abs(b)), `${a} is not ${b}`);

describe('percentile', () => {
  test('is interpolated as R and NumPy do by default', () => {
    assert.equal(percentile([1, 2, 3, 4], 0.5), 2.5);
    assert.equal(percentile([1, 2, 3, 4], 0.25), 1.75);
    assert.equal(percentile([7], 0.9), 7);
    near(percentile(Array.from({ length: 100 }, (_, i) => i + 1), 0.99)!, 99.01);
    assert.equal(percentile([], 0.5), undefined);
  });

  test('lies between the smallest and the largest value, and both are its ends', () => {
    fc.assert(fc.property(values, share, (list, at) => {
      const ascending = sorted(list);
      const value = percentile(ascending, at)!;
      assert.ok(ascending[0]! <= value && value <= ascending.at(-1)!);
      assert.equal(percentile(ascending, 0), ascending[0]);
      assert.equal(percentile(ascending, 1), ascending.at(-1));
    }));
  });

  test('grows with the share', () => {
    fc.assert(fc.property(values, share, share, (list, a, b) => {
      const ascending = sorted(list);
      assert.ok(percentile(ascending, Math.min(a, b))! <= percentile(ascending, Math.max(a, b))!);
    }));
  });

  test('meets every value at its own share', () => {
    fc.assert(fc.property(values, (list) => {
      const ascending = sorted(list);
      ascending.forEach((value, i) => near(percentile(ascending, ascending.length === 1 ? 0 : i / (ascending.length - 1))!, value));
    }));
  });

  test('is never further from the nearest-rank percentile than the next value', () => {
    fc.assert(fc.property(values, share, (list, at) => {
      const ascending = sorted(list);
      const rank = Math.max(0, Math.ceil(ascending.length * at) - 1);
      const value = percentile(ascending, at)!;
      assert.ok(ascending[Math.max(0, rank - 1)]! <= value && value <= ascending[Math.min(rank + 1, ascending.length - 1)]!);
    }));
  });

  test('follows a change of unit, and is mirrored by the opposite sign', () => {
    fc.assert(fc.property(values, share, fc.integer({ min: 1, max: 1000 }), fc.integer(), (list, at, factor, offset) => {
      const ascending = sorted(list);
      near(percentile(ascending.map((value) => value * factor + offset), at)!, percentile(ascending, at)! * factor + offset);
      near(percentile(sorted(list.map((value) => -value)), at)!, -percentile(ascending, 1 - at)!);
    }));
  });
});

test('summaries sort a copy and are NaN without values', () => {
  const list = [3, 1, 2];
  assert.deepEqual(summarize(list), { n: 3, median: 2, q1: 1.5, q3: 2.5, min: 1, max: 3 });
  assert.deepEqual(latencies(list), { p50: 2, p90: 2.8, p99: 2.98, max: 3 });
  assert.deepEqual(list, [3, 1, 2]);
  assert.equal(median([4, 1]), 2.5);
  assert.deepEqual(summarize([]), { n: 0, median: NaN, q1: NaN, q3: NaN, min: NaN, max: NaN });
});

test('numbers are sorted as numbers', () => {
  fc.assert(fc.property(fc.array(fc.integer()), (list) => {
    const ascending = sorted(list);
    ascending.slice(1).forEach((value, i) => assert.ok(ascending[i]! <= value));
    assert.deepEqual(new Set(ascending), new Set(list));
    assert.equal(ascending.length, list.length);
  }));
});

test('the slope of a line is found', () => {
  assert.ok(Math.abs(slope([[0, 1], [1, 3], [2, 5]]) - 2) < 1e-12);
  assert.equal(slope([[1, 4], [1, 9]]), 0);
});
