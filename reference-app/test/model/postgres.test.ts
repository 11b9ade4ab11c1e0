import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import fc from 'fast-check';
import { checkAll, hashes, plantIn, PostgresWorld, replay, stockUp } from './postgres-world.ts';
import { play, Reached, stepsArbitrary, type Plant } from './world.ts';
import { seeded } from '../../load/random.ts';
import { startTestServer, type TestDatabase, type TestServer } from '../../services/shared/testing.ts';

/** `npm run test:model` runs four times as many, in a minute. */
const RUNS = Number(process.env.MODEL_RUNS ?? 250);
const AT_ONCE = 4;

let server: TestServer;
before(async () => {
  server = await startTestServer();
  await server.pool({ database: 'postgres', max: 1 }).query('ALTER SYSTEM SET synchronous_commit = off');
  await server.pool({ database: 'postgres', max: 1 }).query('SELECT pg_reload_conf()');
});
after(() => server.stop());

function property(db: TestDatabase, app: ReturnType<typeof PostgresWorld.api>, plant: Plant, reached: Reached) {
  return fc.asyncProperty(stepsArbitrary, (steps) => play(steps, new PostgresWorld(db, app, plant, reached)));
}

test(`${RUNS} random histories on the services and PostgreSQL, ${AT_ONCE} at a time: the invariants hold, and a replay of all of it changes no row`, async () => {
  const db = await server.database();
  await stockUp(db);
  const app = PostgresWorld.api(db);
  const reached = new Reached();
  try {
    // They share stock, so none can be played again by itself with the same outcome: shrinking would mislead.
    const options = { numRuns: Math.ceil(RUNS / AT_ONCE), endOnFailure: true };
    await Promise.all(Array.from({ length: AT_ONCE }, () => fc.assert(property(db, app, {}, reached), options)));
    await checkAll(db);
    if (RUNS >= 200) reached.check();
    const before = await hashes(db);
    const events = await replay(db, seeded(1));
    assert.ok(events >= RUNS, `${events} events`);
    assert.deepEqual(await hashes(db), before, 'I12');
  } finally {
    await app.close();
    await db.drop();
  }
});

for (const what of ['gate', 'inbox', 'guard'] as const) {
  test(`without the ${what}, the same test fails`, async () => {
    const db = await server.database();
    await stockUp(db);
    const plant = { [what]: false };
    await plantIn(db, plant);
    const app = PostgresWorld.api(db);
    const one = property(db, app, plant, new Reached());
    try {
      let failure: string | null = null;
      for (let runs = 0; failure === null && runs < 60; runs += 5) {
        const { failed, errorInstance } = await fc.check(one, { numRuns: 5, endOnFailure: true });
        failure = failed ? String(errorInstance) : await checkAll(db).then(() => null, String);
      }
      assert.match(failure ?? 'it passed', /AssertionError/);
    } finally {
      await app.close();
      await db.drop();
    }
  });
}
