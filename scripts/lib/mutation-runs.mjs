// Copies of the repository in which tests run with a mistake in the code. See scripts/test-mutations.mjs.
import { spawn } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { root } from './user-project.mjs';

/** The longest that one test may take, and that all tests of a run may take. */
const TEST_MS = 30_000;
const RUN_MS = 180_000;
const NODE_PACKAGES = ['packages/local-run', 'reference-app'];
/** The processes of tests that run. Each leads a group of its own, so Ctrl-C does not reach it. */
const running = new Set();
const NOT_COPIED = new Set(['node_modules', '.git', '.local', 'cdk.out', 'coverage']);

/** The reason why an entry of the list does not fit the code any more. */
export function isStale({ name, file, replace, test }) {
  if (![file, test].every((path) => existsSync(join(root, path)))) { return `"${name}": ${file} or ${test} is not there`; }
  const count = readFileSync(join(root, file), 'utf8').split(replace).length - 1;
  return count === 1 ? undefined : `"${name}": ${file} has its text ${count} times, not once`;
}

class Copy {
  constructor(folder) {
    this.folder = folder;
    const filter = (path) => !NOT_COPIED.has(basename(path));
    for (const name of readdirSync(root).filter(filter)) { cpSync(join(root, name), join(folder, name), { recursive: true, verbatimSymlinks: true, filter }); }
    // Packages are found in the folders above; those of the repository itself have to be those of the copy.
    mkdirSync(join(folder, 'node_modules'), { recursive: true });
    symlinkSync('..', join(folder, 'node_modules/cdk-order-pipeline'), 'junction');
    symlinkSync('../packages/local-run', join(folder, 'node_modules/cdk-local-run'), 'junction');
    for (const path of NODE_PACKAGES.map((name) => join(name, 'node_modules'))) {
      if (existsSync(join(root, path))) { symlinkSync(join(root, path), join(folder, path), 'junction'); }
    }
  }

  /** Calls `use` with the mistake in the code, if the entry has one. */
  async with({ file, replace, by }, use) {
    if (file === undefined) { return use(); }
    const path = join(this.folder, file);
    const text = readFileSync(path, 'utf8');
    writeFileSync(path, text.replace(replace, () => by));
    try {
      return await use();
    } finally {
      writeFileSync(path, text);
    }
  }
}

/** Copies of the repository inside of it, always in the same place, where Jest knows the compiled files from the last time. */
export class Copies {
  #folder = join(root, '.local/mutations');

  /** @throws Error while another run uses the place */
  constructor(number) {
    const owner = join(this.#folder, 'pid');
    if (existsSync(owner) && isAlive(Number(readFileSync(owner, 'utf8')))) { throw new Error(`another run of this script uses ${this.#folder}`); }
    this.remove();
    mkdirSync(this.#folder, { recursive: true });
    writeFileSync(owner, String(process.pid));
    this.all = Array.from({ length: number }, (_, i) => new Copy(join(this.#folder, String(i + 1))));
    for (const [signal, code] of [['SIGINT', 130], ['SIGTERM', 143]]) {
      process.once(signal, () => {
        for (const child of running) { killAll(child); }
        this.remove();
        process.exit(code);
      });
    }
  }

  remove() {
    rmSync(this.#folder, { recursive: true, force: true, maxRetries: 3 });
  }
}

function isAlive(pid) {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

/**
 * Runs a file of tests. `ran` is the number of tests, `found` are the names of those that failed, `ended` is false if the run had to be
 * ended, and `ok` says that it ended well.
 */
export async function runTests(folder, { test, filter }) {
  const temp = mkdtempSync(join(tmpdir(), 'mutation-'));
  const report = join(temp, 'report.json');
  try {
    const home = NODE_PACKAGES.find((path) => test.startsWith(`${path}/`));
    const [cwd, args, read] = home === undefined
      ? [folder, jestArguments(test, filter, report), jestResults]
      : [join(folder, home), nodeArguments(folder, test.slice(home.length + 1), filter, report), nodeResults];
    const { code, ended, output } = await run(args, cwd);
    return { ok: code === 0, ended, output, ...existsSync(report) ? read(readFileSync(report, 'utf8')) : { ran: 0, found: [] } };
  } finally {
    rmSync(temp, { recursive: true, force: true, maxRetries: 3 });
  }
}

function jestArguments(test, filter, report) {
  return [
    join(root, 'node_modules/jest/bin/jest.js'), '--ci', '--runInBand', `--testTimeout=${TEST_MS}`, '--json', `--outputFile=${report}`,
    ...filter === undefined ? [] : [`--testNamePattern=${filter}`], '--runTestsByPath', test,
  ];
}

function jestResults(report) {
  const { numPassedTests, numFailedTests, testResults } = JSON.parse(report);
  const failed = testResults.flatMap(({ assertionResults }) => assertionResults).filter(({ status }) => status === 'failed');
  return { ran: numPassedTests + numFailedTests, found: failed.map(({ title, failureMessages }) => noteOf(title, failureMessages.some((text) => text.includes('Exceeded timeout')))) };
}

function nodeArguments(folder, test, filter, report) {
  return [
    join(folder, 'scripts/node-test.mjs'), `--test-timeout=${TEST_MS}`,
    `--test-reporter=${join(folder, 'scripts/lib/results-reporter.mjs')}`, `--test-reporter-destination=${report}`,
    '--test-reporter=spec', '--test-reporter-destination=stdout',
    ...filter === undefined ? [] : [`--test-name-pattern=${filter}`], test,
  ];
}

function nodeResults(report) {
  const tests = report.split('\n').filter((line) => line !== '').map((line) => JSON.parse(line));
  return { ran: tests.length, found: tests.filter(({ passed }) => !passed).map(({ name, timedOut }) => noteOf(name, timedOut)) };
}

/** A slow machine may be the reason for a time-out, and not the mistake. */
function noteOf(name, timedOut) {
  return timedOut ? `timed out: ${name}` : name;
}

/** Kills a process and all that it has started. */
function killAll({ pid }) {
  try { process.kill(process.platform === 'win32' ? pid : -pid, 'SIGKILL'); } catch { /* It has just ended. */ }
}

/** Runs Node.js, and ends all that it has started if it takes too long. */
function run(args, cwd) {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, args, {
      cwd, stdio: ['ignore', 'pipe', 'pipe'], detached: process.platform !== 'win32', env: { ...process.env, FORCE_COLOR: '0' },
    });
    running.add(child);
    let output = '';
    let ended = true;
    for (const stream of [child.stdout, child.stderr]) { stream.setEncoding('utf8').on('data', (text) => { output = (output + text).slice(-4_000); }); }
    const timer = setTimeout(() => {
      ended = false;
      killAll(child);
    }, RUN_MS);
    child.on('close', (code) => { running.delete(child); clearTimeout(timer); resolve({ code, ended, output }); });
  });
}
