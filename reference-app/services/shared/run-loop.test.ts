import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as tick } from 'node:timers/promises';
import fc from 'fast-check';
import { backOffOf, pause, runLoop } from './run-loop.ts';
import { eventually } from './testing.ts';

const MINUTE = 60_000;

test('rounds follow each other, with the rest that each asks for, until one is the last', async () => {
  const rests = [0, 1, 2, 'end'] as const;
  let rounds = 0;
  await runLoop({ round: async () => rests[rounds++]! }).ended;
  assert.equal(rounds, 4);
});

test('a stop ends a rest and a wait after an error at once, and never a round', async () => {
  for (const rest of [MINUTE, Infinity]) {
    const resting = runLoop({ round: async () => rest });
    await tick();
    await resting.stop();
  }
  const failing = runLoop({ round: async () => { throw new Error('away'); }, failed: () => {}, backOff: () => MINUTE });
  await tick();
  await failing.stop();

  let finish = () => {};
  let finished = false;
  const working = runLoop({
    round: async () => {
      await new Promise<void>((resolve) => { finish = resolve; });
      finished = true;
      return 0;
    },
  });
  const stopped = working.stop();
  await tick();
  assert.equal(finished, false);
  finish();
  await stopped;
  assert.equal(finished, true);
});

test('the signal of its owner ends a loop too, also one that had ended it before it began', async () => {
  const owner = new AbortController();
  let rounds = 0;
  const loop = runLoop({ signal: owner.signal, round: async () => { rounds++; return Infinity; } });
  await tick();
  owner.abort();
  await loop.ended;
  await runLoop({ signal: owner.signal, round: async () => { rounds++; return Infinity; } }).ended;
  assert.equal(rounds, 1);
});

test('an error ends a loop that nobody looks after', async () => {
  await assert.rejects(runLoop({ round: async () => { throw new Error('broken'); } }).ended, /broken/);
});

test('after errors it waits longer and longer, hears nobody who wakes it, and says when all is well again', async () => {
  const said: string[] = [];
  let rounds = 0;
  const loop = runLoop({
    round: async ({ succeeded }) => {
      rounds++;
      // It worked for a while, so the failure after it is a first one again.
      if (rounds === 4) succeeded();
      if (rounds !== 5) throw new Error(`${rounds}`);
      return 'end';
    },
    failed: (error, failures) => {
      said.push(`${(error as Error).message} failed, ${failures}`);
      loop.wake();
    },
    recovered: () => said.push('well'),
    backOff: (failures) => {
      said.push(`wait ${failures}`);
      return 1;
    },
  });
  await loop.ended;
  assert.deepEqual(said, ['1 failed, 1', 'wait 1', '2 failed, 2', 'wait 2', '3 failed, 3', 'wait 3', 'well', '4 failed, 1', 'wait 1', 'well']);

  let attempts = 0;
  const waiting = runLoop({ round: async () => { attempts++; throw new Error('away'); }, failed: () => {}, backOff: () => MINUTE });
  await tick();
  waiting.wake();
  await tick();
  assert.equal(attempts, 1);
  await waiting.stop();
});

test('the waits after errors double up to the longest', () => {
  fc.assert(fc.property(fc.integer({ min: 1, max: 60 }), (failures) => {
    const ms = backOffOf({ firstMs: 50, maxMs: 1_000 })(failures);
    const full = Math.min(50 * 2 ** (failures - 1), 1_000);
    assert.ok(ms > full / 2 && ms <= full, `${failures}: ${ms}`);
  }));
});

test('work that is put down before the loop is woken gets done, whatever the loop does at that moment', async () => {
  // The rest is forever, so that one wake-up that gets lost leaves work behind.
  const ticks = fc.array(fc.nat(3), { maxLength: 60 });
  await fc.assert(fc.asyncProperty(ticks, ticks, async (pauses, durations) => {
    let put = 0;
    let done = 0;
    let rounds = 0;
    const loop = runLoop({
      round: async () => {
        const seen = put;
        for (let n = durations[rounds++] ?? 0; n > 0; n--) await tick();
        done = seen;
        return Infinity;
      },
    });
    for (const wait of pauses) {
      put++;
      loop.wake();
      for (let n = wait; n > 0; n--) await tick();
    }
    await eventually(() => done, (n) => n === put, 5_000);
    assert.ok(rounds <= put + 1, 'no round without a reason');
    await loop.stop();
  }), { numRuns: 200 });
});

test('a pause ends with its signal', async () => {
  const stopping = new AbortController();
  const paused = pause(MINUTE, stopping.signal);
  stopping.abort();
  await paused;
  await pause(MINUTE, stopping.signal);
});
