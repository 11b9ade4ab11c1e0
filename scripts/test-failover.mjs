#!/usr/bin/env node
// Kills the writer of the reference app's database under 200 orders per second, lets its replica take its place, and checks that nothing is
// lost that must not be, and that the services are back without a restart. Twice: with synchronous replication, which loses nothing, as
// Aurora does, and with asynchronous replication, which may lose what the replica did not have.
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { optionsOf, requireTypeScript } from './lib/options.mjs';
import { root, Steps, withFolder } from './lib/user-project.mjs';

const RATE = 200;
const ORDERS = { synchronous: 3000, asynchronous: 2000 };
/** Requests that were on their way may fail so much later. */
const GRACE_MS = 5_000;

const USAGE = `usage: npm run test:failover [-- <options>]

  --keep          keeps the folder with the data and logs, and prints where it is
  --help          this text`;

const options = optionsOf(USAGE, { keep: { type: 'boolean', default: false } });
requireTypeScript('test-failover');

const steps = new Steps();
const started = Date.now();

/** Runs the reference app with a failover, and returns its exit code, its summary, and what it printed. */
async function start(replication, folder, more) {
  const args = ['--orders', ORDERS[replication], '--rate', RATE, '--failover', replication, '--exit', '--json', '--data', folder, ...more];
  const child = spawn(process.execPath, [join(root, 'reference-app', 'start', 'start.ts'), ...args.map(String)], { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
  const stop = () => child.kill('SIGTERM');
  process.once('exit', stop);
  let json = '';
  let screen = '';
  child.stdout.setEncoding('utf8').on('data', (text) => { json += text; });
  child.stderr.setEncoding('utf8').on('data', (text) => { screen += text; });
  const code = await new Promise((resolve) => child.once('close', resolve));
  process.off('exit', stop);
  if (json.trim() === '') { throw new Error(`the run ended with ${code} and without a summary:\n${screen.trimEnd().split('\n').slice(-30).join('\n')}`); }
  return { code, summary: JSON.parse(json), screen };
}

function expect(actual, wanted, what) {
  if (!wanted(actual)) { throw new Error(`${what}: ${JSON.stringify(actual)}`); }
}

const isZero = (value) => value === 0;
const isTime = (value) => Number.isInteger(value) && value >= 0;

async function failover(replication, folder, more = []) {
  const step = (label, check) => steps.step(`${replication}: ${label}`, check);
  console.log(`\n${replication} replication, ${ORDERS[replication]} orders at ${RATE} per second`);
  const run = await step('the run, and its exit code', async () => {
    const result = await start(replication, folder, more);
    if (result.code !== 0) { console.error(result.screen); }
    expect(result.code, isZero, 'exit code');
    return result;
  });
  if (run === undefined) { return; }
  const { orders, failover: report, invariants, settled } = run.summary;
  await step('every order was accepted in the end', () => {
    expect(orders, ({ accepted, refused, unanswered }) => accepted === ORDERS[replication] && refused + unanswered === 0, 'orders');
  });
  await step('the replica was promoted, and orders came before and after', () => {
    expect(report, ({ lastAcceptedMs, writableMs, firstAcceptedMs }) => isTime(writableMs) && lastAcceptedMs < firstAcceptedMs, 'times');
    return { note: `writable after ${report.writableMs} ms; no order for ${report.outageMs} ms, from ${report.lastAcceptedMs} ms to ${report.firstAcceptedMs} ms` };
  });
  await step('requests failed only while there was no writer', () => {
    // Perhaps none: orders wait for a commit, and a commit that fails is tried again for a moment.
    expect(report, ({ failedRequests, errorSeconds, readyMs }) => failedRequests === 0 || errorSeconds * 1_000 <= readyMs + GRACE_MS, 'failed requests');
    return { note: `${report.failedRequests} over ${report.errorSeconds} s, ${JSON.stringify(report.failuresByKind)}` };
  });
  await step('the services are back by themselves', () => {
    expect(report, ({ notReady, restarts, readyMs }) => notReady.length === 0 && restarts === 0 && isTime(readyMs), 'services');
    return { note: `ready after ${report.readyMs} ms, no restart` };
  });
  await step('a new replica streams', () => {
    expect(report.replicaMs, isTime, 'time of the new replica');
    return { note: `after ${report.replicaMs} ms` };
  });
  await step('no order is lost that the replica had', () => {
    expect(report.acceptedReplicated, (count) => count > 0, 'accepted orders that were on the replica');
    expect(report.lostReplicated, isZero, 'lost');
    return { note: `${report.acceptedReplicated} were there for certain` };
  });
  if (replication === 'asynchronous') {
    console.log(`        orders lost: ${report.lost}; not decided: ${orders.open}; invariants that fail: ${failing(invariants).join(', ') || 'none'}; stock given back of ${report.reconciled} orders`);
    await step('no stock is held for an order that is lost', () => { expect(failing(invariants).includes('I9'), (fails) => !fails, 'I9 fails'); });
    return;
  }
  await step('no accepted order is lost at all', () => { expect(report.lost, isZero, 'lost'); });
  await step('every order has reached its end', () => {
    expect({ settled, open: orders.open }, (state) => state.settled && state.open === 0, 'state');
    return { note: `${orders.confirmed} confirmed, ${orders.rejected} rejected` };
  });
  await step('every invariant holds', () => {
    expect(invariants.length, (count) => count > 0, 'invariants');
    expect(failing(invariants), ({ length }) => length === 0, 'failing');
    return { note: invariants.map(({ id }) => id).join(' ') };
  });
}

const failing = (invariants) => invariants.filter(({ ok }) => !ok).map(({ id }) => id);

await withFolder('failover', options.keep, async (workspace) => {
  const first = join(workspace, 'synchronous');
  await failover('synchronous', first);
  await failover('asynchronous', join(workspace, 'asynchronous'), ['--app', join(first, 'assembly')]);
});
console.log(`\n${((Date.now() - started) / 1000).toFixed(0)} s`);
steps.finish();
