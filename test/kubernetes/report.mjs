// Checks in groups, some at a time, with a line for each group, and its failures below.

/** The number of checks at a time. They mostly wait for the cluster. */
const AT_A_TIME = 8;

/** Errors whose place in the code says nothing. */
const EXPECTED = new Set(['Error', 'ApiError', 'DeploymentFailed']);

export class Report {
  #waiting = [];
  #running = 0;
  #groups = [];

  constructor({ only = [] }) {
    this.only = only;
  }

  /** Whether a group is wanted. */
  wants(name) {
    return this.only.length === 0 || this.only.includes(name);
  }

  /**
   * Adds a group of checks. Each is a name and a function that returns the problems that it found. A function without a name makes several
   * checks, and calls `record` with the name and the problems of each.
   */
  group(name, checks) {
    if (!this.wants(name)) { return; }
    const started = Date.now();
    const group = { name, passed: 0, failures: [] };
    this.#groups.push(group);
    const record = (label, problems) => {
      if (problems.length === 0) { group.passed++; } else { group.failures.push({ label, problems }); }
    };
    group.done = Promise.all(checks.map((check) => this.#slot(async () => {
      if (typeof check === 'function') { await check(record); return; }
      const [label, run] = check;
      record(label, await run().catch((error) => [EXPECTED.has(error.constructor.name) ? error.message : error.stack]));
    }))).then(() => { group.seconds = (Date.now() - started) / 1000; });
  }

  /** Prints each group when it and those before it are complete, and returns the numbers of checks. */
  async finish() {
    for (const group of this.#groups) {
      await group.done;
      const total = group.passed + group.failures.length;
      console.log(`  ${group.failures.length === 0 ? 'ok  ' : 'FAIL'}  ${group.name.padEnd(12)} ${String(group.passed).padStart(4)} of ${String(total).padEnd(4)} ${group.seconds.toFixed(1).padStart(6)} s`);
      for (const { label, problems } of group.failures) { console.log(`        FAIL ${label}\n${problems.join('\n').replace(/^/gm, '          ')}`); }
    }
    const sum = (count) => this.#groups.reduce((total, group) => total + count(group), 0);
    return { passed: sum(({ passed }) => passed), failed: sum(({ failures }) => failures.length) };
  }

  async #slot(check) {
    if (this.#running >= AT_A_TIME) { await new Promise((resolve) => { this.#waiting.push(resolve); }); }
    this.#running++;
    try {
      await check();
    } finally {
      this.#running--;
      this.#waiting.shift()?.();
    }
  }
}
