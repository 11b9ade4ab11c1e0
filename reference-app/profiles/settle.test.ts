import assert from 'node:assert/strict';
import { test } from 'node:test';
import { settle } from './settle.ts';
import type { Look } from './settle.ts';

/** A system that looks like this, one look after the other; the last one stays. */
function system(...looks: (string | undefined)[]) {
  let count = 0;
  const look = async (): Promise<Look<number>> => {
    const quiet = looks[Math.min(count, looks.length - 1)];
    return { progress: ++count, quiet, moving: Math.min(count, looks.length) };
  };
  return { look, looks: () => count };
}

test('a system has settled when two looks in a row find it quiet, with nothing between them', async () => {
  const { look, looks } = system(undefined, 'event 1', 'event 2', undefined, 'event 3', 'event 3');
  const seen: number[] = [];
  assert.equal(await settle(look, { onProgress: (progress) => seen.push(progress) }), true);
  assert.equal(looks(), 6);
  assert.deepEqual(seen, [1, 2, 3, 4, 5, 6]);
});

test('a system in which nothing moves for a while, and which is not quiet, has not settled', async () => {
  const { look, looks } = system(undefined, undefined);
  assert.equal(await settle(look, { stallMs: 300 }), false);
  assert.ok(looks() > 2);
});

test('an aborted wait ends as not settled', async () => {
  const stop = new AbortController();
  const { look } = system(undefined);
  assert.equal(await settle(look, { signal: stop.signal, onProgress: () => stop.abort() }), false);
});
