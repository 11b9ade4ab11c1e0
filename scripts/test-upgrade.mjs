#!/usr/bin/env node
// Deploys another version of the reference app, with a migration, under load, and then the version before again, as a rollback does. No
// request fails, and nothing is lost. The other version is made of the images of this one: it adds a column, and its read API uses it.
import { cpSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { optionsOf, requireTypeScript } from './lib/options.mjs';
import { readJson, root, Steps, withFolder } from './lib/user-project.mjs';

const RATE = 50;
/** More than are fed: the feed ends with the second deployment. */
const ORDERS = 100_000;
const READS_PER_SECOND = 20;
/** Orders between two deployments. */
const BETWEEN = 100;

const USAGE = `usage: npm run test:upgrade [-- <options>]

  --keep          keeps the folder with the data and logs, and prints where it is
  --help          this text`;

const options = optionsOf(USAGE, { keep: { type: 'boolean', default: false } });
requireTypeScript('test-upgrade');
const { startLocal } = await import('cdk-local-run');
const { synthesize } = await import('cdk-local-run/cli/synthesize');
const { httpClient } = await import('../reference-app/load/http-client.ts');
const { feed } = await import('../reference-app/load/feed.ts');
const { randomOrders } = await import('../reference-app/load/orders.ts');
const { openPipeline } = await import('../reference-app/profiles/order-pipeline/pipeline.ts');

const steps = new Steps();
const started = Date.now();

/** Every file below a folder with this ending. */
const filesBelow = (folder, ending) => readdirSync(folder, { recursive: true }).filter((file) => file.endsWith(ending)).map((file) => join(folder, file));

/** Changes a text in the files that have it. */
function replaceIn(files, before, after) {
  const changed = files.filter((file) => readFileSync(file, 'utf8').includes(before));
  if (changed.length === 0) { throw new Error(`no program has ${JSON.stringify(before)}: change test-upgrade.mjs`); }
  for (const file of changed) { writeFileSync(file, readFileSync(file, 'utf8').replaceAll(before, after)); }
}

/**
 * A copy of an assembly whose images have one more migration: a column that the read API shows, and a release that all programs with
 * orders need. Returns that release.
 */
function makeNextVersion(assembly, folder) {
  cpSync(assembly, folder, { recursive: true });
  const programs = filesBelow(folder, '.js');
  const [grants] = filesBelow(folder, join('migrations', 'orders', 'grants.sql'));
  const schema = dirname(grants);
  const number = String(Math.max(...readdirSync(schema).map((file) => Number.parseInt(file, 10)).filter(Number.isInteger)) + 1).padStart(3, '0');
  writeFileSync(join(schema, `${number}-a-channel.sql`), 'ALTER TABLE orders.orders ADD COLUMN channel text NOT NULL DEFAULT \'web\';\n');
  const { needs, release } = readJson(join(schema, 'schema.json'));
  writeFileSync(join(schema, 'schema.json'), JSON.stringify({ needs, release: release + 1 }));
  const inPrograms = (value) => `needs: [${needs.map((name) => JSON.stringify(name)).join(', ')}], release: ${value}`;
  replaceIn(programs, inPrograms(release), inPrograms(release + 1));
  replaceIn(programs, 'o.requested\nFROM', 'o.requested, o.channel\nFROM');
  return release + 1;
}

/** Reads accepted orders until it is stopped. */
function keepReading({ readUrl: url, token }, newest) {
  const client = httpClient(url, { token });
  const failures = [];
  let reads = 0;
  let stopped = false;
  const ended = (async () => {
    while (!stopped) {
      const id = newest();
      if (id !== undefined) {
        reads++;
        const answer = await client.send('GET', `/orders/${id}`, {}).catch((error) => ({ status: 0, body: error.message }));
        // The replica may not have it yet.
        if (answer.status !== 200 && answer.status !== 404) { failures.push(`${answer.status} ${answer.body.slice(0, 200)}`); }
      }
      await sleep(1_000 / READS_PER_SECOND);
    }
  })();
  return async () => {
    stopped = true;
    await ended;
    client.close();
    return { reads, failures };
  };
}

function expect(actual, wanted, what) {
  if (!wanted(actual)) { throw new Error(`${what}: ${JSON.stringify(actual)}`); }
}

const isEmpty = ({ length }) => length === 0;

async function upgrade(folder) {
  const assemblies = { before: join(folder, 'before'), next: join(folder, 'next') };
  await synthesize(join(root, 'reference-app'), assemblies.before, new AbortController().signal, { profile: 'order-pipeline' });
  const nextRelease = makeNextVersion(assemblies.before, assemblies.next);
  const run = await startLocal({ assemblyDir: assemblies.before, dataDir: join(folder, 'data'), maxReplicas: 1 });
  const pipeline = await openPipeline(run, true);
  const stop = new AbortController();
  let accepted = 0;
  let newest;
  const stopReading = keepReading(pipeline, () => newest);
  const client = httpClient(pipeline.writeUrl, { token: pipeline.token });
  const fed = feed({
    orders: randomOrders(ORDERS, 1), rate: RATE, client, signal: stop.signal, onAccepted: ({ orderId }) => { accepted++; newest = orderId; },
  });
  const more = async () => {
    const until = accepted + BETWEEN;
    while (accepted < until) { await sleep(50); }
  };
  const release = async () => (await pipeline.database.query('SELECT finished FROM migration.release WHERE schema = \'orders\'')).rows[0].finished;
  const logOf = (name) => readFileSync(join(run.logDir, `${name}.log`), 'utf8');

  try {
    await more();
    await steps.step('the next version: its migration, then its programs', async () => {
      const { jobs, workloads } = await run.deploy(assemblies.next);
      expect(jobs, ({ length }) => length === 1, 'jobs');
      expect(workloads, (names) => names.length === run.workloads.length, 'new workloads');
      expect(await release(), (finished) => finished === nextRelease, 'release of the database');
      return { note: `${workloads.length} workloads` };
    });
    await more();
    await steps.step('the version before: its job leaves the newer schema, and says so', async () => {
      const lines = logOf(run.jobs[0]).split('\n').length;
      const { workloads } = await run.deploy(assemblies.before);
      expect(workloads, (names) => names.length === run.workloads.length, 'workloads');
      expect(logOf(run.jobs[0]).split('\n').slice(lines - 1).join('\n'), (log) => log.includes('a later release than this version'), 'log of the job');
      expect(await release(), (finished) => finished === nextRelease, 'release of the database');
    });
    await more();
  } finally {
    stop.abort();
  }
  const result = await fed;
  const { reads, failures } = await stopReading();
  client.close();
  await steps.step('no order failed, not even once', () => {
    expect(result.failures.map(({ status, reason }) => `${status ?? ''} ${reason}`).slice(0, 5), isEmpty, `${result.failures.length} failed attempts`);
    expect([...result.refused, ...result.unanswered], isEmpty, 'orders that are not accepted');
    return { note: `${result.accepted.length} accepted` };
  });
  await steps.step('no read failed', () => {
    expect(failures.slice(0, 5), isEmpty, `${failures.length} failed`);
    return { note: `${reads} reads` };
  });
  await steps.step('every invariant holds, and nothing is dead', async () => {
    const settled = await pipeline.settle();
    const { invariants, orders, deadLetters, restarts } = await pipeline.summarize(result, settled);
    expect({ settled, open: orders.open, deadLetters, restarts }, (state) => state.settled && state.open + state.deadLetters + state.restarts === 0, 'state');
    expect(invariants.filter(({ ok }) => !ok), isEmpty, 'invariants that fail');
    return { note: invariants.map(({ id }) => id).join(' ') };
  });
  await pipeline.close();
  await run.stop();
}

await withFolder('upgrade', options.keep, upgrade);
console.log(`\n${((Date.now() - started) / 1000).toFixed(0)} s`);
steps.finish();
