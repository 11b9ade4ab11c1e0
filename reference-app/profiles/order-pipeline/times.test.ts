import assert from 'node:assert/strict';
import { test } from 'node:test';
import { timesOf, warmTimesOf } from './times.ts';

/** The first 500 orders take a second each, all later ones 20 ms. They come in no order, as a database gives them. */
const ORDERS = Array.from({ length: 1_000 }, (_, index) => {
  const ms = index < 500 ? 1_000 : 20;
  return { acceptedMs: index * 5, decidedMs: index * 5 + ms, latencyMs: ms / 10 };
}).reverse();

test('the times of warm processes leave out the first 500 orders by their acceptance', () => {
  assert.deepEqual(timesOf(ORDERS), { endToEndMs: { p50: 510, p99: 1_000 }, acceptMs: { p50: 51, p99: 100 } });
  assert.deepEqual(warmTimesOf(ORDERS), { endToEndMs: { p50: 20, p99: 20 }, acceptMs: { p50: 2, p99: 2 } });
});

test('with fewer than twice as many orders there are none, and an order that was not decided has no time', () => {
  assert.equal(warmTimesOf(ORDERS.slice(1)), undefined);
  const times = timesOf([{ acceptedMs: 0, decidedMs: null, latencyMs: 3 }]);
  assert.deepEqual(times, { endToEndMs: { p50: undefined, p99: undefined }, acceptMs: { p50: 3, p99: 3 } });
});
