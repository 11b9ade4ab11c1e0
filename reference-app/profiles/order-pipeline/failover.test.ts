import assert from 'node:assert/strict';
import { test } from 'node:test';
import { outageOf, replicatedOf } from './failover.ts';

const at = (ms: number) => new Date(1_000_000 + ms);

test('orders before the position of the promotion were replicated, the others may not have been', () => {
  const samples = [{ accepted: 0, position: '0/FFFFFF0' }, { accepted: 7, position: '0/FFFFFFF0' }, { accepted: 9, position: '1/10' }];
  // Positions are numbers, not texts.
  assert.deepEqual(['0/FFFFFEF', '0/FFFFFF0', '0/FFFFFFF0', '1/0', '1/10', 'A/0'].map((position) => replicatedOf(samples, position)), [0, 0, 7, 7, 9, 9]);
  assert.equal(replicatedOf([], '0/1'), 0);
});

test('the outage is the longest time without an accepted order that ends after the kill', () => {
  // The pause of 5000 ms before the kill is another one.
  const times = [-9000, -4000, -20, 10, 900, 905, 1500].map(at);
  assert.deepEqual(outageOf(times, at(0)), { lastAcceptedMs: 10, firstAcceptedMs: 900, outageMs: 890 });
  assert.deepEqual(outageOf([...times].reverse(), at(0)), { lastAcceptedMs: 10, firstAcceptedMs: 900, outageMs: 890 });
  assert.deepEqual(outageOf([-5, -1].map(at), at(0)), {});
});
