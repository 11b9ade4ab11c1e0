import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { MemoryWorld } from './memory-world.ts';
import { MODES, play, Reached, stepsArbitrary, type Plant } from './world.ts';

const RUNS = Number(process.env.MODEL_RUNS ?? 3_000);

const property = (plant: Plant, reached = new Reached()) =>
  fc.asyncProperty(fc.constantFrom(...MODES), stepsArbitrary, (mode, steps) => play(steps, new MemoryWorld(plant, reached, mode)));

test(`${RUNS} random histories, delivered in any order, twice, late, unacknowledged: the invariants hold`, async () => {
  const reached = new Reached();
  await fc.assert(property({}, reached), { numRuns: RUNS });
  reached.check();
});

for (const what of ['gate', 'inbox', 'guard'] as const) {
  test(`without the ${what}, the same test fails`, async () => {
    const { failed, counterexample, numRuns } = await fc.check(property({ [what]: false }), { numRuns: RUNS, endOnFailure: true });
    assert.ok(failed, `it passed ${numRuns} times`);
    assert.ok(counterexample);
  });
}
