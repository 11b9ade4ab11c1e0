#!/usr/bin/env node
// Plants mistakes in the code, one at a time, and runs the tests that should find each. A mistake that no test finds is a gap in the tests,
// and fails. The mistakes are in scripts/mutations/. All of it happens in copies of the repository.
import { availableParallelism } from 'node:os';
import { libraryMutations } from './mutations/library.mjs';
import { localRunMutations } from './mutations/local-run.mjs';
import { serviceMutations } from './mutations/services.mjs';
import { Copies, isStale, runTests } from './lib/mutation-runs.mjs';
import { optionsOf, requireTypeScript } from './lib/options.mjs';

const USAGE = `usage: npm run test:mutations [-- <options>]

  --list         prints the mistakes, with the tests that should find them, and ends
  --only <text>  only mistakes with this text in their name, or at the beginning of their file; may be repeated
  --jobs <n>     runs at once; default: the number of processors (${availableParallelism()})
  --help         this text`;

requireTypeScript('test-mutations');
const options = optionsOf(USAGE, {
  list: { type: 'boolean', default: false }, only: { type: 'string', multiple: true, default: [] }, jobs: { type: 'string', default: String(availableParallelism()) },
}, ({ jobs }) => {
  if (!/^[1-9]\d?$/.test(jobs)) { throw new Error(`--jobs is a number from 1, not ${jobs}`); }
});

const all = [...libraryMutations, ...serviceMutations, ...localRunMutations];
const chosen = all.filter(({ name, file }) => options.only.length === 0 || options.only.some((text) => name.includes(text) || file.startsWith(text)));
if (options.list) {
  for (const { name, file, test, filter } of chosen) { console.log(`${name}\n    in ${file}\n    found by ${test}${filter === undefined ? '' : `, tests with "${filter}"`}`); }
  console.log(`\n${chosen.length} mistakes`);
  process.exit(0);
}
const twice = all.filter(({ name }, i) => all.findIndex((other) => other.name === name) < i).map(({ name }) => `two mistakes have the name "${name}"`);
const problems = [...twice, ...chosen.flatMap((mutation) => isStale(mutation) ?? [])];
if (chosen.length === 0) { problems.push('no mistake has such a name'); }
if (problems.length > 0) {
  console.error(`${problems.join('\n')}\n\nA changed line needs its entry in scripts/mutations/ changed, too.`);
  process.exit(1);
}

/** Without a mistake, once for each file of tests, and only the tests that are asked for later. */
const baselines = [...Map.groupBy(chosen, ({ test }) => test)].map(([test, group]) => {
  const filters = group.map(({ filter }) => filter);
  return { name: 'without a mistake', test, ...filters.every((filter) => filter !== undefined) && { filter: [...new Set(filters)].join('|') } };
});

const copies = new Copies(Math.min(Number(options.jobs), chosen.length));
const started = Date.now();
const failures = [];
const short = (text, length) => (text.length > length ? `${text.slice(0, length - 1)}…` : text);

/** Does the work of all entries, each in a copy that is free, and prints a line for each. */
async function each(entries, judge) {
  const waiting = [...entries];
  await Promise.all(copies.all.map(async (copy) => {
    for (let entry; (entry = waiting.shift()) !== undefined;) {
      const since = Date.now();
      const result = await copy.with(entry, () => runTests(copy.folder, entry));
      const { mark, note, failure } = judge(entry, result);
      console.log(`  ${mark.padEnd(8)} ${short(entry.name, 72).padEnd(72)} ${((Date.now() - since) / 1000).toFixed(1).padStart(5)} s  ${short(note, 110)}`);
      if (failure !== undefined) { failures.push({ entry, failure }); }
    }
  }));
}

try {
  console.log(`${chosen.length} mistakes in ${baselines.length} files of tests, ${copies.all.length} at a time\n`);
  const broken = new Set();
  await each(baselines, ({ test }, { ok, ran, ended, output }) => {
    if (ok && ran > 0) { return { mark: 'ok', note: `${ran} tests of ${test}` }; }
    broken.add(test);
    return { mark: 'FAIL', note: test, failure: `${ran === 0 && ended ? 'No test ran: the filters of its mistakes name none.' : 'Its tests fail without a mistake, too.'}\n${output}` };
  });
  await each(chosen.filter(({ test }) => !broken.has(test)), ({ file }, { ok, found, ended, output }) => {
    if (found.length > 0) { return { mark: 'found', note: `${found[0]}${found.length > 1 ? ` (and ${found.length - 1} more)` : ''}` }; }
    if (!ended) { return { mark: 'HANGS', note: file, failure: `The tests did not end, and none failed.\n${output}` }; }
    if (ok) { return { mark: 'SURVIVES', note: file, failure: 'No test fails. Write one that does, or name the file of the one that is there.' }; }
    return { mark: 'BROKEN', note: file, failure: `The tests can't run at all: plant a mistake that does something wrong instead.\n${output}` };
  });
} finally {
  copies.remove();
}

for (const { entry: { name, file, test }, failure } of failures) { console.error(`\nFAIL ${name} (${[file, test].filter(Boolean).join(', ')})\n${failure.replace(/^/gm, '  ')}`); }
console.log(`\n${chosen.length} mistakes, ${failures.length} failures, after ${Math.round((Date.now() - started) / 1000)} s`);
if (failures.length > 0) { process.exitCode = 1; }
