#!/usr/bin/env node
// npm run bench: measures the pipeline and a naive design in the same run.
import { writeFileSync } from 'node:fs';
import { screen } from 'cdk-local-run/cli/screen';
import { createContext, type Context, type Row } from './context.ts';
import type { GateResult } from './gates.ts';
import { InvariantError } from './measure/assert-invariants.ts';
import { describeMachine, type Machine } from './measure/machine.ts';
import { machineLoad } from './measure/processor.ts';
import { HELP, readOptions, UsageError, type Options } from './options.ts';
import { soakTable } from './report/page.ts';
import { fastest, number, perSecond, ratioTo, times, type Results, type RowResult, type VariantResult } from './report/results.ts';
import { readResults, writeDocuments, writeResults } from './report/store.ts';
import { chainRow } from './rows/chain.ts';
import { cloudRow } from './rows/cloud.ts';
import { measureCurves } from './rows/curves.ts';
import { flashSaleRow } from './rows/flash-sale.ts';
import { httpRow } from './rows/http.ts';
import { intakeRow } from './rows/intake.ts';
import { latencyRow } from './rows/latency.ts';
import { redriveRow } from './rows/redrive.ts';
import { relayRow } from './rows/relay.ts';
import { hotRow, reserveRow } from './rows/reserve.ts';
import { signaturesRow } from './rows/signatures.ts';
import { soak, type SoakSample } from './rows/soak.ts';
import { measureStages, stagesRow } from './rows/stages.ts';
import { stallRow } from './rows/stall.ts';
import { tokensRow } from './rows/tokens.ts';

const ROWS: readonly Row[] = [
  intakeRow, httpRow, tokensRow, relayRow, reserveRow, hotRow, cloudRow, chainRow, redriveRow, latencyRow, stallRow, flashSaleRow,
  signaturesRow, stagesRow,
];
const QUICK_ORDERS = 10_000;

let interrupted = false;

async function main(): Promise<number> {
  const names = ROWS.map(({ name }) => name);
  const options = readOptions(process.argv.slice(2), names);
  if (!options) {
    process.stdout.write(HELP.replace('ROWS', names.join(', ')));
    return 0;
  }
  if (options.pages) return writePages();
  const out = screen(process.stdout);
  const machine = describeMachine();
  out.line(`processor  ${machine.processor}`);
  out.line(`fsync      ${number(machine.fsyncsPerSecond)}/s`);
  const context = createContext({ rounds: options.rounds, sliceMs: options.sliceMs, seed: options.seed, out, usedLog: !options.quick });
  stopOnSignals(context);
  try {
    machine.postgres = (await context.server()).version;
    return await measure(context, options, machine);
  } catch (error) {
    // An error while everything is being closed is only a consequence.
    if (interrupted) await new Promise(() => {});
    throw error;
  } finally {
    out.status([]);
    await context.stop();
  }
}

function measure(context: Context, options: Options, machine: Machine): Promise<number> {
  if (options.quick) return checkGates(context);
  if (options.minutes !== undefined) return runSoak(context, options, options.minutes, machine);
  if (options.curves) return runCurves(context, options, machine);
  return runRows(context, options, machine);
}

function stopOnSignals(context: Context): void {
  for (const name of ['SIGINT', 'SIGTERM'] as const) {
    process.once(name, () => {
      interrupted = true;
      // Connections break under the work that is going on.
      process.on('uncaughtException', () => undefined);
      context.out.status([]);
      void context.stop().finally(() => process.exit(130));
    });
  }
}

function writePages(): number {
  const results = readResults();
  if (!results) throw new UsageError('--pages needs stored results; measure them with --record.');
  writeDocuments(results);
  return 0;
}

async function checkGates(context: Context): Promise<number> {
  const { out } = context;
  const { gates } = await measureStages(context, QUICK_ORDERS);
  out.line();
  for (const gate of gates) out.line(gateLine(gate));
  const exceeded = gates.filter(({ ok }) => !ok).length;
  out.line(exceeded === 0
    ? `\nAll ${gates.length} limits hold.`
    : `\n${exceeded} of ${gates.length} limits are exceeded: an order costs more than it may (limits and reasons: reference-app/bench/gates.ts).`);
  return exceeded === 0 ? 0 : 1;
}

function gateLine({ stage, figure, value, limit, ok, reason }: GateResult): string {
  const shown = Number.isFinite(value) ? value.toPrecision(3) : 'not measured';
  return `${ok ? 'ok  ' : 'FAIL'}  ${stage.padEnd(28)} ${figure.padEnd(14)} ${shown.padStart(12)}  at most ${limit}${ok ? '' : `  (${reason})`}`;
}

async function runRows(context: Context, options: Options, machine: Machine): Promise<number> {
  const { out } = context;
  const chosen = ROWS.filter(({ name, cloud }) => (options.only.length > 0 ? options.only.includes(name) : !cloud || options.cloud));
  const load = machineLoad();
  const measured: Results['rows'] = {};
  let failures = 0;
  for (const row of chosen) {
    const began = performance.now();
    try {
      const result = await row.run(context);
      measured[row.name] = { ...result, measured: { at: machine.at, cores: machine.cores } };
      out.line(`\n${row.title}  (${number((performance.now() - began) / 1000)} s)`);
      for (const line of rowLines(result)) out.line(`  ${line}`);
    } catch (error) {
      failures++;
      out.line(`\n${row.title}: no figures: ${error instanceof InvariantError ? error.message : (error as Error).stack}`);
    }
  }
  const share = load();
  const method = { ...methodOf(options), ...(share !== undefined && { machineLoad: share }) };
  save(options, (before) => ({ ...before, machine, method, rows: inOrder({ ...before?.rows, ...measured }) }));
  return failures === 0 ? 0 : 1;
}

function rowLines({ variants = [], figures = [], raw }: RowResult): string[] {
  return [
    ...variants.map((one) => [
      `${one.row}: ${one.variant}: ${perSecond(one.rate)}`, one.ratio && times(one.ratio), ...bestNaiveRatio(one, variants),
      one.processorMicros !== undefined && `${number(one.processorMicros)} µs`, one.note,
    ].filter(Boolean).join(', ')),
    ...figures.map(({ name, measured }) => `${name}: ${measured}`),
    ...((raw.gates ?? []) as GateResult[]).filter(({ ok }) => !ok).map(gateLine),
  ];
}

/** The rate as a multiple of the naive design's at its best concurrency, beside that of the serial one. */
function bestNaiveRatio(one: VariantResult, variants: readonly VariantResult[]): string[] {
  const best = fastest(variants.filter(({ row }) => row === one.row), 'naive');
  return one.design === 'naive' || !best?.ratio ? [] : [`${number(ratioTo(one, best))}× ${best.variant}`];
}

function inOrder(rows: Results['rows']): Results['rows'] {
  return Object.fromEntries(ROWS.flatMap(({ name }) => (rows[name] ? [[name, rows[name]]] : [])));
}

async function runSoak(context: Context, options: Options, minutes: number, machine: Machine): Promise<number> {
  const { out } = context;
  const onSample = ({ minute, orders, confirmed, nodeMemory }: SoakSample) => {
    const text = `soak  minute ${number(minute)} of ${minutes}: ${number(orders)} orders, `
      + `p50 ${number(confirmed.p50)} ms, p99 ${number(confirmed.p99)} ms, Node.js ${number(nodeMemory)} MiB`;
    if (out.live) context.progress(text);
    else out.line(text);
  };
  const result = await soak(context, { minutes, rate: options.rate, onSample });
  out.line(`\nSoak at ${result.rate}/s, saturation ${number(result.saturation)}/s`);
  out.line(soakTable(result));
  out.line(`drift per hour: ${JSON.stringify(result.drift)}`);
  save(options, (before) => ({ ...partsOf(before, options, machine), soak: { ...result, machine } }));
  return 0;
}

async function runCurves(context: Context, options: Options, machine: Machine): Promise<number> {
  const curves = await measureCurves(context, (curve, { x, rate, processorMicros }) => {
    const processor = processorMicros === undefined ? '' : `, ${number(processorMicros)} µs`;
    context.out.line(`${curve}: ${number(x)} → ${perSecond(rate)}${processor}`);
  });
  save(options, (before) => ({ ...partsOf(before, options, machine), curves: { machine, curves } }));
  return 0;
}

const methodOf = ({ rounds, sliceMs }: Options) => ({ rounds, sliceMs });

/** The stored results, or empty ones of this machine. */
function partsOf(before: Results | undefined, options: Options, machine: Machine): Results {
  return before ?? { machine, method: methodOf(options), rows: {} };
}

/** There is one stored file: a run replaces the parts that it has measured and keeps the rest. */
function save(options: Options, change: (before: Results | undefined) => Results): void {
  if (options.json) writeFileSync(options.json, `${JSON.stringify(change(undefined), undefined, 1)}\n`);
  if (!options.record) return;
  writeResults(change(readResults()));
  // As they were stored: rounded.
  writeDocuments(readResults()!);
}

try {
  process.exitCode = await main();
} catch (error) {
  if (!(error instanceof UsageError)) throw error;
  console.error(`bench: ${error.message} See --help.`);
  process.exitCode = 2;
}
