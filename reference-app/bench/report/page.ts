/** The pages docs/performance.md and docs/scaling.md, as far as they are made of the results. */
import { median } from '../../load/statistics.ts';
import type { GateResult } from '../gates.ts';
import { comparisons, type Comparison } from './comparison.ts';
import { fastest, number, perSecond, ratioTo, times, type Results, type RowResult, type VariantResult } from './results.ts';
import type { Machine } from '../measure/machine.ts';
import type { StageCost } from '../measure/stage-costs.ts';
import type { Curve } from '../rows/curves.ts';
import { SHARE, type DesignLatency } from '../rows/latency.ts';
import type { SoakResult } from '../rows/soak.ts';

/** The part of docs/scaling.md between these lines is written by the bench; the rest is written by hand. */
const BEGIN = '<!-- measured: written by npm run bench -- --curves --record -->';
const END = '<!-- /measured -->';

const NOTICE = '<!-- Written by `npm run bench -- --record` of reference-app/bench/results/performance.json. Text: reference-app/bench/report/. -->';

/** The whole of docs/performance.md, with a part that another command has measured. */
export function performancePage(results: Results, compared = ''): string {
  const { rows, soak } = results;
  const parts = [
    NOTICE, '# Performance', rows.latency ? '' : EARLIER, INTRODUCTION,
    '![Six stages: rate of the services and of the naive design](images/performance.svg)',
    comparisonPart(comparisons(results)),
    latencyPart(rows.latency),
    failurePart(rows),
    stagePart(rows.stages),
    compared.trim(),
    variantPart(rows),
    soak ? soakPart(soak) : '',
    '## Machine', machineTable(results),
    METHOD,
  ];
  return `${parts.filter((part) => part !== '').join('\n\n')}\n`;
}

/** The note about stored results without the row about latency, which is as old as bundles are in the bench. */
const EARLIER = `All figures are of the day that the table [Machine](#machine) names. That was before the relay made bundles, and before the present method, with its
quieter slices.`;

const INTRODUCTION = `Three figures describe each stage:

- **Measured**: the rate of the services' own code, as the reference app runs it.
- **Naive**: the rate of a simple design on the same schema, with the same durability, in the same run. It handles one message at a time in a
  transaction of its own, with \`SELECT … FOR UPDATE\` per line. It runs with one worker, and with the number of workers that suits it best,
  which the run finds by trying 2, 4, 8 and so on.
- **Limit**: the highest rate that is possible, and the reason for it.

\`npm run bench -- --only NAME\` measures a row again; the names are in the tables. \`npm run bench -- --cloud --record\` measures all rows and
writes this page.`;

const run = (name: string) => `\`--only ${name}\``;

const microsOf = ({ processorMicros = NaN }: VariantResult) => number(processorMicros);

function comparisonPart(stages: readonly Comparison[]): string {
  const naiveCell = ({ rate, variant }: VariantResult) => `${perSecond(rate)} (${variant.replace(/^naive, /, '')})`;
  const ratioCell = (services: VariantResult, naive: VariantResult) => `${number(ratioTo(services, naive))}×`;
  return [
    '## Measured, naive and limit',
    table(['stage', 'measured', 'naive', 'ratio', 'processor µs: measured', 'naive', 'limit', 'command'],
      stages.map(({ title, unit, services, naive, limit, command }) => [
        unit === 'orders' ? title : `${title} (${unit})`, perSecond(services.rate), naive.map(naiveCell).join('; '),
        naive.map((one) => ratioCell(services, one)).join('; '), microsOf(services), naive.map(microsOf).join('; '),
        limit === undefined ? '–' : `${number(limit)}/s`, run(command),
      ])),
    'Rates are medians, in orders per second where the stage names nothing else, and processor time is that of one order. A ratio is the median of slices side by side, '
    + 'so it can differ from the quotient of two medians. Two ratios, or two times, are those of the two naive rates.',
    '### The reason for each limit',
    stages.map(({ title, limitedBy }) => `- **${title[0]!.toUpperCase()}${title.slice(1)}.** ${limitedBy}`).join('\n'),
  ].join('\n\n');
}

function latencyPart(row: RowResult | undefined): string {
  if (!row) return '';
  const designs = row.raw.latency as DesignLatency[];
  const limit = designs[0]!.saturation;
  return [
    '## Latency',
    `From the intended time of an order to the answer of the intake and to the commit of its confirmation, at ${number(SHARE * 100)} % of the saturation that the same run `
    + `finds for the design (${run('latency')}):`,
    table(['design', 'saturation', 'orders/s', 'accepted: p50', 'p99', 'confirmed: p50', 'p99'], designs.map(({ design, saturation, run: measured }) => [
      design, `${number(saturation)}/s`, number(measured.rate),
      ...[measured.accept, measured.confirmed].flatMap(({ p50, p99 }) => [p50, p99])
        .map((value) => (measured.saturated ? 'saturated' : `${number(value)} ms`)),
    ])),
    `**The limit** is the saturation of the chain, at ${number(limit)} orders/s on this machine. Above it orders queue, and the latency is the time in the queue. `
    + 'The relay lets events gather for up to 40 ms, three times before an order is confirmed; without that, a message has one event.',
  ].join('\n\n');
}

function failurePart(rows: Results['rows']): string {
  const figures = ['stall', 'flash-sale']
    .flatMap((command) => (rows[command]?.figures ?? []).map(({ name, measured }) => [name, measured, run(command)]));
  if (figures.length === 0) return '';
  return [
    '## Failures and flash sales',
    table(['', 'measured', 'command'], figures),
    '**The limit** of the first stall is the start of a Node.js process, and that of the second is the recovery of PostgreSQL from its log.',
  ].join('\n\n');
}

/** The columns of the cost table. */
const FIGURES = ['processor', 'roundTrips', 'commits', 'fsyncs', 'walBytes', 'queueCalls'] as const;

function stagePart(row: RowResult | undefined): string {
  if (!row) return '';
  const { costs, naive, gates } = row.raw as unknown as { costs: StageCost[]; naive: StageCost[]; gates: GateResult[] };
  const pair = (cost: StageCost, figure: (typeof FIGURES)[number]) => {
    const base = naive.find(({ stage }) => stage === cost.stage);
    return [cost, ...(base ? [base] : [])].map((one) => number(one[figure] ?? NaN)).join(' / ');
  };
  return [
    '## Cost of one order at each stage',
    `Each cell: the services / naive (${run('stages')}). The consumers run with their default settings, and their queues are full when they start.`,
    table(['stage', 'processor µs', 'round trips', 'commits', 'fsyncs', 'log bytes', 'queue calls'], costs.map((cost) => [
      cost.stage, ...FIGURES.map((figure) => pair(cost, figure)),
    ])),
    'CI allows no order to cost more than a fixed limit per stage (`npm run bench -- --quick`, `reference-app/bench/gates.ts`). '
    + `Of these limits, ${gates.filter(({ ok }) => ok).length} of ${gates.length} held.`,
  ].join('\n\n');
}

function overBest(variant: VariantResult, variants: readonly VariantResult[]): string {
  const best = fastest(variants.filter(({ row }) => row === variant.row), 'naive');
  return variant.design === 'naive' || !best?.ratio ? '' : `${number(ratioTo(variant, best))}×`;
}

function variantPart(rows: Results['rows']): string {
  const variants = Object.entries(rows).flatMap(([name, row]) => (row.variants ?? []).map((variant) => ({ ...variant, name })));
  return [
    '## All variants',
    'Medians, with quartiles in parentheses.',
    table(['row', 'variant', 'rate', 'over the first naive one', 'over the best naive one', 'processor µs per order', '', 'command'], variants.map((variant) => [
      variant.row, variant.variant, `${perSecond(variant.rate)} (${number(variant.rate.q1)}–${number(variant.rate.q3)})`,
      variant.ratio ? times(variant.ratio) : '', overBest(variant, variants), number(variant.processorMicros ?? NaN), variant.note ?? '', run(variant.name),
    ])),
  ].join('\n\n');
}

export function soakTable(soak: SoakResult): string {
  const every = Math.ceil(soak.samples.length / 12);
  const shown = soak.samples.filter((_, i) => i % every === 0 || i === soak.samples.length - 1);
  const head = ['minute', 'orders', 'p50 ms', 'p99 ms', 'Node.js MiB', 'PostgreSQL MiB', 'orders table: dead rows', 'stock_level MiB'];
  return table(head, shown.map(({ minute, orders, confirmed, nodeMemory, databaseMemory, tables }) => {
    const rows = tables['orders.orders'];
    return [
      number(minute), number(orders), number(confirmed.p50), number(confirmed.p99), number(nodeMemory), number(databaseMemory),
      rows ? `${number((100 * rows.dead) / Math.max(1, rows.live + rows.dead))} %` : '', number(tables['inventory.stock_level']?.mebibytes ?? NaN),
    ];
  }));
}

function soakPart(soak: SoakResult & { machine: Machine }): string {
  const percent = (share: number) => `${share >= 0 ? '+' : ''}${number(share * 100)} % per hour`;
  const bloated = Object.entries(soak.bloat).filter(([, value]) => value > 1.1).map(([name, value]) => `${name} ${number(value)}×`);
  return [
    '## Soak',
    `${number(soak.minutes)} minutes at ${number(soak.rate)} orders/s, half of the rate that saturates the chain (${number(soak.saturation)}/s): `
    + `${number(soak.orders)} orders, on ${soak.machine.at.slice(0, 10)} (\`npm run bench -- --minutes ${number(soak.minutes)} --record\`).`,
    `Drift in the second half: p99 ${percent(soak.drift.p99)}, memory of Node.js ${percent(soak.drift.nodeMemory)}, `
    + `memory of PostgreSQL ${percent(soak.drift.databaseMemory)}. `
    + `Size per row at the end, compared with the middle: ${bloated.length === 0 ? 'no table above 1.1×' : bloated.join(', ')}.`,
    '![Latency, memory and dead rows during the soak](images/soak.svg)',
    soakTable(soak),
  ].join('\n\n');
}

function machineTable({ machine, method, rows }: Results): string {
  const earlier = Object.entries(rows).filter(([, { measured }]) => measured && measured.at !== machine.at)
    .map(([name, { measured }]) => `${name} on ${measured!.at.slice(0, 10)} with ${measured!.cores} cores`);
  const others = Object.values(rows).flatMap(({ slices = [] }) => slices.flatMap(({ others: share }) => share ?? []));
  const quiet = others.length === 0 ? '' : `; anything else used ${number(100 * median(others))} % of it in the middle slice`;
  const busy = method.machineLoad === undefined ? '' : `; the machine was ${number(100 * method.machineLoad)} % busy during the run, the bench included`;
  return table(['', ''], [
    ['measured', [machine.at, ...earlier].join('; ')], ['processor', machine.processor], ['memory', machine.memory], ['system', machine.system],
    ['PostgreSQL', `${machine.postgres ?? ''}, fsync and synchronous_commit on, shared_buffers 1 GB, max_wal_size 12 GB`], ['Node.js', machine.node],
    ['fsync', `${number(machine.fsyncsPerSecond)}/s (8 KiB, fdatasync, one after the other)`],
    ['rounds', `${method.rounds} of slices of ${method.sliceMs} ms${busy}${quiet}`],
  ]);
}

const METHOD = `## Method

- A slice of the naive design, slices of two variants, a slice of the naive design again: a ratio compares a slice with the naive ones before and
  after it, so that a phase in which the machine is slower changes both. The order of the variants is random in each round. Shown are medians and
  quartiles.
- A slice in which anything else used more than 10 % of the machine is measured again, and the quieter one counts. At most a quarter of the slices is.
- Before a slice, the garbage collector clears the young generation, so that no slice pays for the one before or for its own input. A design that is
  not measured asks the database nothing.
- The naive design (\`reference-app/bench/pipeline/naive.ts\`) has prepared statements and sorted locks, so it is no straw man.
- The measured side is the services' own code: the handlers behind their inbox, the consumer with its batches, the relay, and the intake of the
  write API.
- A limit of the processor assumes that nothing else runs. Slices of the naive design leave the processor's caches cold for the next slice.
- PostgreSQL starts with 4 GB of log files that it can use again, like one that has run for a while. A new one stops all commits for each 16 MB
  of new log to fill a file with zeros; that slows the fastest variant most and says nothing about later hours.
- Every row ends with the checks of the invariants. If one fails, there are no figures.
- Processor time is that of PostgreSQL's processes (without autovacuum and checkpointer) and of Node.js with all its threads, so the load
  generator is in it. The cheapest and the dearest quarter of the slices do not count.
- Latency is measured with an open loop, from the intended time of each order. Percentiles are interpolated between the two nearest values.

Not simulated: the commit of a replica, TLS, request signing, the real EventBridge and SQS (bus and queues are in memory, with SQS's ten
messages per receive), and a network between the services. In the local run of \`npm start\`, queues and bus run on the same processors,
so the chain is slower there.`;

export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(head), `|${head.map(() => '---').join('|')}|`, ...rows.map(line)].join('\n');
}

/** Puts the curves into docs/scaling.md, which is written by hand around them. */
export function scalingPage(before: string, { curves, machine }: { curves: readonly Curve[]; machine: Machine }): string {
  const [begin, end] = [before.indexOf(BEGIN), before.indexOf(END)];
  if (begin < 0 || end < begin) throw new Error(`docs/scaling.md needs the lines ${BEGIN} and ${END}.`);
  const introduction = `Measured on ${machine.at.slice(0, 10)}: ${machine.processor}, ${number(machine.fsyncsPerSecond)} fsyncs/s. `
    + 'Unless the row says otherwise: batches of 500, two connections, 1,000 products, two lines.';
  const parts = curves.map(({ title, x, points }) => `### Reserve stage ${title}\n\n${curveTable(x, points)}`);
  return `${before.slice(0, begin)}${BEGIN}\n${[introduction, ...parts].join('\n\n')}\n${before.slice(end)}`;
}

function curveTable(x: string, points: Curve['points']): string {
  return table([x, 'orders/s: median (quartiles)', 'processor µs per order'], points.map((point) => [
    number(point.x), `${number(point.rate.median)} (${number(point.rate.q1)}–${number(point.rate.q3)})`, number(point.processorMicros ?? NaN),
  ]));
}
