#!/usr/bin/env node
// npm run bench:compare: what an order costs before and after a change, measured in turns.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { checkOut, lastRelease, workingTree } from './compare/checkout.ts';
import type { Checkout } from './compare/checkout.ts';
import { COMPARE_HELP, readCompareOptions } from './compare/options.ts';
import type { CompareOptions } from './compare/options.ts';
import { run } from './compare/run.ts';
import type { Figures } from './compare/run.ts';
import { comparisonTable, keepsUp, saturationOf } from './compare/table.ts';
import { describeMachine } from './measure/machine.ts';
import { UsageError } from './options.ts';
import { WARM_UP_ORDERS } from '../profiles/profile.ts';

const RESULTS = join(import.meta.dirname, 'results/compare.json');
/** The step from one rate to the next on the way to saturation, and the length of the load. */
const STEP = 1.25;
const SATURATION_SECONDS = 10;

interface Sides {
  readonly before: Checkout;
  readonly after: Checkout;
}

async function main(args: readonly string[]): Promise<number> {
  const options = readCompareOptions(args);
  if (!options) {
    process.stdout.write(COMPARE_HELP);
    return 0;
  }
  const ref = options.before ?? lastRelease();
  if (ref === undefined) throw new UsageError('There is no release yet: --before REF names the commit to compare with.');
  const data = mkdtempSync(join(tmpdir(), 'bench-compare-data-'));
  const checkouts: Checkout[] = [];
  try {
    say(`Making ${ref} ready`);
    checkouts.push(await checkOut(ref, '--before'));
    checkouts.push(options.after === undefined ? await workingTree() : await checkOut(options.after, '--after'));
    const [before, after] = checkouts as [Checkout, Checkout];
    if (options.saturation) await compareSaturation({ before, after }, data, options);
    else await compareCosts({ before, after }, data, options);
    return 0;
  } finally {
    for (const checkout of checkouts) checkout.remove();
    rmSync(data, { recursive: true, force: true });
  }
}

/** A B, B A, A B …: a machine that gets slower or faster meanwhile does so for both. */
async function compareCosts(sides: Sides, data: string, { after, orders, rate, rounds, record }: CompareOptions): Promise<void> {
  const runs: Record<keyof Sides, Figures[]> = { before: [], after: [] };
  for (let round = 0; round < rounds; round++) {
    for (const side of round % 2 === 0 ? ['before', 'after'] as const : ['after', 'before'] as const) {
      const figures = await run(sides[side], { orders, rate }, data);
      runs[side].push(figures);
      const all = Object.values(figures.micros).reduce((sum, value) => sum + value, 0);
      say(`round ${round + 1} of ${rounds}, ${side} (${sides[side].name}): ${all} µs per order, p50 ${figures.endToEndMs.p50} ms${figures.ok ? '' : ', a check failed'}`);
    }
  }
  const table = comparisonTable({ name: `before (${sides.before.name})`, runs: runs.before }, { name: `after (${sides.after.name})`, runs: runs.after });
  const states = `--before ${sides.before.name}${after === undefined ? '' : ` --after ${sides.after.name}`}`;
  const command = `npm run bench:compare -- ${states} --orders ${orders} --rate ${rate} --rounds ${rounds}`;
  const text = `${table}\n\nMedians of ${rounds} runs, ${orders} orders at ${rate}/s, without the first ${WARM_UP_ORDERS} orders unless said otherwise: \`${command}\``;
  process.stdout.write(`${text}\n`);
  if (record) {
    const { name: before } = sides.before;
    writeFileSync(RESULTS, `${JSON.stringify({ machine: describeMachine(), before, runs, markdown: text }, undefined, 2)}\n`);
    say('Stored. npm run bench -- --pages writes the table into docs/performance.md.');
  }
  if ([...runs.before, ...runs.after].some(({ ok }) => !ok)) throw new Error('A run had a check that failed: its figures count for nothing.');
}

async function compareSaturation(sides: Sides, data: string, { rate: first }: CompareOptions): Promise<void> {
  const highest: string[] = [];
  for (const side of ['before', 'after'] as const) {
    const runs: Figures[] = [];
    for (let rate = first; ; rate = Math.round(rate * STEP)) {
      const figures = await run(sides[side], { orders: Math.max(2 * WARM_UP_ORDERS, rate * SATURATION_SECONDS), rate }, data);
      runs.push(figures);
      say(`${side} (${sides[side].name}) at ${rate}/s: ${figures.ordersPerSecond} decided per second, p50 ${(figures.warmEndToEndMs ?? figures.endToEndMs).p50} ms`);
      if (!keepsUp(figures)) break;
    }
    highest.push(`| ${side} (${sides[side].name}) | ${saturationOf(runs).toFixed(0)} |`);
  }
  process.stdout.write(`| | orders per second at saturation |\n|---|---|\n${highest.join('\n')}\n`);
}

function say(sentence: string): void {
  process.stderr.write(`${sentence}\n`);
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  say((error as Error).message);
  process.exitCode = error instanceof UsageError ? 2 : 1;
}
