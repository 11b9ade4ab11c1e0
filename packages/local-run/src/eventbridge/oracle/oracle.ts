/**
 * Compares pattern.ts with event-ruler. `node oracle.ts` compares fresh random cases, `node oracle.ts --write` makes vectors.json anew.
 * Needs Java and Maven; README.md says more.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import fc from 'fast-check';
import { parseJson } from '../json.ts';
import { compilePattern, matchesPattern } from '../pattern.ts';
import { cases } from './cases.ts';
import type { Case } from './cases.ts';

type Answer = { matches: boolean[]; error?: undefined } | { error: string };

const { values } = parseArgs({
  options: { write: { type: 'boolean', default: false }, count: { type: 'string' }, seed: { type: 'string' } },
});
const count = Number(values.count ?? (values.write ? 850 : 20_000));
const seed = Number(values.seed ?? (values.write ? 1 : Date.now() % 1e9));

const sample = fc.sample(cases, { numRuns: count, seed });
const answers = askOracle(sample);
let differences = 0;
let hits = 0;
let refused = 0;
sample.forEach((each, i) => {
  const theirs = answers[i]!;
  const ours = ask(each);
  if (theirs.error !== undefined) refused++;
  else hits += theirs.matches.filter(Boolean).length;
  if (theirs.error === undefined ? JSON.stringify(theirs) === JSON.stringify(ours) : ours.error !== undefined) return;
  if (++differences > 10) return;
  console.log(`pattern ${JSON.stringify(each.pattern)}`);
  if (theirs.error !== undefined || ours.error !== undefined) {
    console.log(`  event-ruler: ${theirs.error ?? 'accepts'}\n  ours: ${ours.error ?? 'accepts'}`);
  } else {
    each.events.forEach((event, j) => {
      if (theirs.matches[j] !== ours.matches[j]) {console.log(`  event ${JSON.stringify(event)}: event-ruler ${theirs.matches[j]}, ours ${ours.matches[j]}`);}
    });
  }
});
const events = sample.reduce((sum, each) => sum + each.events.length, 0);
console.log(
  `seed ${seed}: ${count} patterns (${refused} refused), ${events} events, ${hits} matches, ${differences} patterns judged differently`,
);

if (values.write && differences === 0) {
  const vectors = sample.map((each, i) => {
    const answer = answers[i]!;
    return answer.error !== undefined ? [each.pattern] : [each.pattern, each.events.map((event, j) => [event, answer.matches[j]])];
  });
  const file = join(import.meta.dirname, 'vectors.json');
  writeFileSync(file, `[\n${vectors.map(vector => JSON.stringify(vector)).join(',\n')}\n]\n`);
  console.log(`wrote ${file}`);
}
process.exitCode = differences === 0 ? 0 : 1;

function ask({ pattern, events: given }: Case): Answer {
  try {
    const compiled = compilePattern(pattern);
    return { matches: given.map(event => matchesPattern(compiled, parseJson(JSON.stringify(event)) as object)) };
  } catch (error) {
    return { error: (error as Error).message };
  }
}

function askOracle(questions: readonly Case[]): Answer[] {
  const jars = join(tmpdir(), 'event-pattern-oracle');
  if (!existsSync(jars)) {
    run('mvn', ['-q', '-B', '-f', join(import.meta.dirname, 'pom.xml'), 'dependency:copy-dependencies', `-DoutputDirectory=${jars}`]);
  }
  const input = questions
    .map(({ pattern, events: given }) =>
      JSON.stringify({ pattern: JSON.stringify(pattern), events: given.map(event => JSON.stringify(event)) }),
    )
    .join('\n');
  const output = run('java', ['-cp', join(jars, '*'), join(import.meta.dirname, 'Oracle.java')], input);
  return output
    .trimEnd()
    .split('\n')
    .map(line => JSON.parse(line) as Answer);
}

function run(command: string, args: string[], input = ''): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, { input, encoding: 'utf8', maxBuffer: 2 ** 30 });
  if (error !== undefined) throw new Error(`${command} does not start: ${error.message}`);
  if (status !== 0) throw new Error(`${command} ended with ${status}\n${stderr}${stdout}`);
  return stdout;
}
