#!/usr/bin/env node
// npm run bench: what the pipeline does, against a naive one in the same run.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { screen } from 'cdk-local-run/cli/screen';
import { createContext, type Context, type Row } from './context.ts';
import { measureCurves } from './curves.ts';
import { BEGIN, curvesPicture, curvesTables, END, performancePage, performancePicture, soakPicture, soakTable, verdict, type Results } from './document.ts';
import type { GateResult } from './gates.ts';
import { InvariantError } from './invariants.ts';
import { describeMachine, type Machine } from './machine.ts';
import { HELP, readOptions, UsageError, type Options } from './options.ts';
import { machineLoad } from './processor.ts';
import { number } from './report.ts';
import { chainRow, latencyRow } from './rows/chain.ts';
import { cloudRow } from './rows/cloud.ts';
import { flashSaleRow } from './rows/flash-sale.ts';
import { httpRow } from './rows/http.ts';
import { intakeRow } from './rows/intake.ts';
import { redriveRow } from './rows/redrive.ts';
import { relayRow } from './rows/relay.ts';
import { hotRow, reserveRow } from './rows/reserve.ts';
import { measureStages, stagesRow } from './rows/stages.ts';
import { stallRow } from './rows/stall.ts';
import { soak } from './soak.ts';

const ROWS: readonly Row[] = [
  reserveRow, hotRow, cloudRow, stagesRow, intakeRow, httpRow, relayRow, chainRow, latencyRow, redriveRow, stallRow, flashSaleRow,
];
const ROOT = join(import.meta.dirname, '../..');
const RESULTS = join(import.meta.dirname, 'results/performance.json');
const PAGE = join(ROOT, 'docs/performance.md');
const SCALING = join(ROOT, 'docs/scaling.md');
const picture = (name: string) => join(ROOT, 'docs/images', `${name}.svg`);

const QUICK_ORDERS = 10_000;
let interrupted = false;

async function main(): Promise<number> {
  const names = ROWS.map(({ name }) => name);
  const options = readOptions(process.argv.slice(2), names);
  if (!options) {
    process.stdout.write(HELP.replace('ROWS', names.join(', ')));
    return 0;
  }
  const out = screen(process.stdout);
  const machine = describeMachine();
  out.line(`processor  ${machine.processor}`);
  out.line(`fsync      ${number(machine.fsyncsPerSecond)}/s`);
  const context = createContext({ rounds: options.rounds, sliceMs: options.sliceMs, seed: options.seed, out, usedLog: !options.quick });
  for (const name of ['SIGINT', 'SIGTERM'] as const) {
    process.once(name, () => {
      interrupted = true;
      // Connections break under the work that is going on.
      process.on('uncaughtException', () => undefined);
      out.status([]);
      void context.stop().finally(() => process.exit(130));
    });
  }
  try {
    machine.postgres = (await context.server()).version;
    if (options.quick) return await quick(context);
    if (options.minutes !== undefined) return await runSoak(context, options, machine);
    if (options.curves) return await runCurves(context, options, machine);
    return await runRows(context, options, machine);
  } catch (error) {
    // What fails while everything is being closed is not worth a word.
    if (interrupted) await new Promise(() => {});
    throw error;
  } finally {
    out.status([]);
    await context.stop();
  }
}

async function quick(context: Context): Promise<number> {
  const { out } = context;
  const { gates } = await measureStages(context, QUICK_ORDERS);
  out.line();
  for (const gate of gates) out.line(gateLine(gate));
  const failed = gates.filter(({ ok }) => !ok);
  out.line(failed.length === 0 ? `\nAll ${gates.length} gates passed.` : `\n${failed.length} of ${gates.length} gates failed: an order costs more than it should (limits and reasons: reference-app/bench/gates.ts).`);
  return failed.length === 0 ? 0 : 1;
}

function gateLine({ stage, figure, value, limit, ok, reason }: GateResult): string {
  const shown = (n: number) => (Number.isFinite(n) ? n.toPrecision(3) : 'not measured');
  return `${ok ? 'ok  ' : 'FAIL'}  ${stage.padEnd(28)} ${figure.padEnd(14)} ${shown(value).padStart(12)}  at most ${limit}${ok ? '' : `  (${reason})`}`;
}

async function runRows(context: Context, options: Options, machine: Machine): Promise<number> {
  const { out } = context;
  const wanted = ROWS.filter(({ name, cloud }) => (options.only.length > 0 ? options.only.includes(name) : !cloud || options.cloud));
  const load = machineLoad();
  const measured: Results['rows'] = {};
  let failures = 0;
  for (const row of wanted) {
    const began = performance.now();
    try {
      const result = await row.run(context);
      measured[row.name] = result;
      out.line(`\n${row.title}  (${number((performance.now() - began) / 1000)} s)`);
      for (const figure of result.figures) {
        out.line(`  ${figure.name}: ${figure.text}   naive ${figure.naive}${figure.must ? `   [${verdict(figure).replaceAll('*', '')}; must ${figure.must.text}]` : ''}`);
        if (figure.note) out.line(`    ${figure.note}`);
      }
      for (const gate of (result.raw['gates'] ?? []) as GateResult[]) if (!gate.ok) out.line(`  ${gateLine(gate)}`);
    } catch (error) {
      failures++;
      out.line(`\n${row.title}: no figures: ${error instanceof InvariantError ? error.message : (error as Error).stack}`);
    }
  }
  const share = load();
  const method = { rounds: options.rounds, sliceMs: options.sliceMs, ...(share !== undefined && { machineLoad: share }) };
  save(options, (before) => ({ ...before, machine, method, rows: inOrder({ ...before?.rows, ...measured }) }));
  return failures === 0 ? 0 : 1;
}

function inOrder(rows: Results['rows']): Results['rows'] {
  return Object.fromEntries(ROWS.flatMap(({ name }) => (rows[name] ? [[name, rows[name]]] : [])));
}

async function runSoak(context: Context, options: Options, machine: Machine): Promise<number> {
  const { out } = context;
  const result = await soak(context, options.minutes!, options.rate, ({ minute, orders, confirmed, nodeMemory }) => {
    const text = `soak  minute ${number(minute)} of ${options.minutes}: ${number(orders)} orders, p50 ${number(confirmed.p50)} ms, p99 ${number(confirmed.p99)} ms, Node ${number(nodeMemory)} MiB`;
    if (out.live) context.progress(text);
    else out.line(text);
  });
  context.out.line(`\nSoak at ${result.rate}/s, saturation ${number(result.saturation)}/s`);
  context.out.line(soakTable(result));
  context.out.line(`drift per hour: ${JSON.stringify(result.drift)}`);
  save(options, (before) => ({ ...before, machine: before?.machine ?? machine, method: before?.method ?? method(options), rows: before?.rows ?? {}, soak: { ...result, machine } }));
  return 0;
}

async function runCurves(context: Context, options: Options, machine: Machine): Promise<number> {
  const curves = await measureCurves(context, (curve, { x, rate, processorMicros }) => context.out.line(
    `${curve}: ${number(x)} → ${number(rate.median)}/s${processorMicros === undefined ? '' : `, ${number(processorMicros)} µs`}`));
  save(options, (before) => ({ ...before, machine: before?.machine ?? machine, method: before?.method ?? method(options), rows: before?.rows ?? {}, curves: { machine, curves } }));
  return 0;
}

const method = ({ rounds, sliceMs }: Options) => ({ rounds, sliceMs });

/** One file of record: a run replaces what it has measured and keeps the rest. */
function save(options: Options, change: (before: Results | undefined) => Results): void {
  if (options.json) writeFileSync(options.json, `${JSON.stringify(change(undefined), undefined, 1)}\n`);
  if (!options.record) return;
  const before = existsSync(RESULTS) ? JSON.parse(readFileSync(RESULTS, 'utf8')) as Results : undefined;
  const results = change(before);
  mkdirSync(join(RESULTS, '..'), { recursive: true });
  mkdirSync(join(ROOT, 'docs/images'), { recursive: true });
  writeFileSync(RESULTS, compact(results));
  if (Object.keys(results.rows).length > 0) {
    writeFileSync(PAGE, performancePage(results, existsSync(PAGE) ? readFileSync(PAGE, 'utf8') : undefined));
    writeFileSync(picture('performance'), performancePicture(results.rows));
  }
  if (results.soak) writeFileSync(picture('soak'), soakPicture(results.soak));
  if (results.curves) {
    writeFileSync(picture('scaling'), curvesPicture(results.curves.curves));
    const page = existsSync(SCALING) ? readFileSync(SCALING, 'utf8') : `# Scaling\n\n${BEGIN}\n${END}\n`;
    writeFileSync(SCALING, page.slice(0, page.indexOf(BEGIN) + BEGIN.length) + `\n${curvesTables(results.curves)}\n` + page.slice(page.indexOf(END)));
  }
}

/** A line per slice and sample, with the digits that mean something. */
function compact(results: Results): string {
  const rounded = JSON.parse(JSON.stringify(results, (_, value: unknown) => (typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(6)) : value))) as unknown;
  return `${JSON.stringify(rounded, undefined, 1).replace(/\{\n\s+"round"[^}]*\}/g, (slice) => slice.replace(/\n\s*/g, ' '))}\n`;
}

try {
  process.exitCode = await main();
} catch (error) {
  if (!(error instanceof UsageError)) throw error;
  console.error(`bench: ${error.message} See --help.`);
  process.exitCode = 2;
}
