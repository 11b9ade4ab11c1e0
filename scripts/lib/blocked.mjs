// Loaded into each process of the tests. The limit of a test is a timer, and no timer runs while a test computes without an end: then a
// thread ends the process, and its file of tests fails.
import { isMainThread, Worker } from 'node:worker_threads';

const LIMIT_MS = Number(process.env.TEST_BLOCKED_MS ?? 5 * 60_000);

/** Runs in the thread. */
const watch = `
  const { workerData: { beats, limit, file } } = require('node:worker_threads');
  let last = -1;
  let since = Date.now();
  setInterval(() => {
    const now = Atomics.load(beats, 0);
    if (now !== last) { last = now; since = Date.now(); return; }
    if (Date.now() - since < limit) { return; }
    require('node:fs').writeSync(2, 'A test of ' + file + ' has computed for ' + limit / 1000 + ' s without a pause, and is ended.\\n');
    process.kill(process.pid, 'SIGKILL');
  }, Math.min(5_000, limit / 2));`;

if (isMainThread && process.env.NODE_TEST_CONTEXT !== undefined) {
  const beats = new Int32Array(new SharedArrayBuffer(4));
  setInterval(() => { Atomics.add(beats, 0, 1); }, Math.min(1_000, LIMIT_MS / 4)).unref();
  new Worker(watch, { eval: true, execArgv: [], workerData: { beats, limit: LIMIT_MS, file: process.argv[1] } }).unref();
}
