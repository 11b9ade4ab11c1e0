import { barChart, lineCharts } from './chart.ts';
import type { Curve } from './curves.ts';
import type { Machine } from './machine.ts';
import { number, reaches, type Figure, type RowResult, type VariantResult } from './report.ts';
import type { SoakResult } from './soak.ts';
import type { GateResult } from './gates.ts';
import type { StageCost } from './stage-costs.ts';

/** Everything that docs/performance.md shows; each part is replaced by the run that measured it anew. */
export interface Results {
  machine: Machine;
  method: { rounds: number; sliceMs: number; machineLoad?: number };
  rows: Record<string, RowResult>;
  soak?: SoakResult & { machine: Machine };
  curves?: { machine: Machine; curves: Curve[] };
}

/** Between these lines the page belongs to the bench; what stands around them is written by hand and kept. */
const BEGIN = '<!-- measured: written by npm run bench -- --record -->';
const END = '<!-- /measured -->';

export function verdict({ value, must, stretch }: Figure): string {
  if (!must) return '';
  if (stretch && reaches(value, stretch)) return 'stretch';
  return reaches(value, must) ? 'must' : '**missed**';
}

const HEAD = '# Performance\n\n';

export function performancePage(results: Results, before: string | undefined): string {
  const measured = `${BEGIN}\n${measuredPart(results)}\n${END}\n`;
  if (before?.includes(BEGIN) && before.includes(END)) {
    return before.slice(0, before.indexOf(BEGIN)) + measured + before.slice(before.indexOf(END) + END.length + 1);
  }
  return `${HEAD}${measured}`;
}

function measuredPart(results: Results): string {
  const { machine, method, rows } = results;
  const figures = Object.values(rows).flatMap((row) => row.figures);
  const variants = Object.values(rows).flatMap((row) => row.variants ?? []);
  const stages = rows['stages']?.raw as { costs: StageCost[]; naive: StageCost[]; gates: GateResult[] } | undefined;
  const parts = [
    'Orders through the services\' own code, against a naive pipeline of the same schema and durability in the same run.',
    '![Throughput by stage, naive and batched](images/performance.svg)',
    '## Figures',
    table(['figure', 'naive', 'measured: median (quartiles)', 'must', 'stretch', 'reached'],
      figures.map((figure) => [figure.name, figure.naive, figure.text, figure.must?.text ?? '', figure.stretch?.text ?? '', verdict(figure)])),
    notes(figures),
    stages ? stagePart(stages) : '',
    '## All variants',
    table(['row', 'variant', 'rate', 'over naive', 'processor µs per order', ''], variants.map((variant) => [
      variant.row, variant.variant, `${number(variant.rate.median)}/s (${number(variant.rate.q1)}–${number(variant.rate.q3)})`,
      variant.ratio ? `${number(variant.ratio.median)}× (${number(variant.ratio.q1)}–${number(variant.ratio.q3)})` : '',
      variant.processorMicros === undefined ? '' : number(variant.processorMicros), variant.note ?? '',
    ])),
    results.soak ? soakPart(results.soak) : '',
    '## Machine',
    machineTable(machine, method),
    METHOD,
  ];
  return parts.filter((part) => part !== '').join('\n\n');
}

function notes(figures: readonly Figure[]): string {
  return figures.filter(({ note }) => note).map(({ name, note }) => `- ${name}: ${note}`).join('\n');
}

function stagePart({ costs, naive, gates }: { costs: StageCost[]; naive: StageCost[]; gates: GateResult[] }): string {
  const cell = (cost: StageCost | undefined, read: (cost: StageCost) => number | undefined) => (cost && read(cost) !== undefined ? number(read(cost)!) : '–');
  const pair = (cost: StageCost, read: (cost: StageCost) => number | undefined) => {
    const base = naive.find(({ stage }) => stage === cost.stage);
    return base ? `${cell(cost, read)} / ${cell(base, read)}` : cell(cost, read);
  };
  return [
    '## What one order costs at each stage',
    'Each cell: the services / naive. The consumers run with their default settings on a queue that is full when they start, parsing, deleting and all.',
    table(['stage', 'processor µs', 'round trips', 'commits', 'fsyncs', 'log bytes', 'queue calls'], costs.map((cost) => [
      cost.stage, pair(cost, ({ processor }) => processor), pair(cost, ({ roundTrips }) => roundTrips), pair(cost, ({ commits }) => commits),
      pair(cost, ({ fsyncs }) => fsyncs), pair(cost, ({ walBytes }) => walBytes), pair(cost, ({ queueCalls }) => queueCalls),
    ])),
    `${gates.filter(({ ok }) => ok).length} of ${gates.length} gates of \`npm run bench -- --quick\` passed (\`reference-app/bench/gates.ts\`).`,
  ].join('\n\n');
}

export function soakTable(soak: SoakResult): string {
  const shown = soak.samples.filter((_, i) => i % Math.ceil(soak.samples.length / 12) === 0 || i === soak.samples.length - 1);
  return table(['minute', 'orders', 'p50 ms', 'p99 ms', 'Node MiB', 'PostgreSQL MiB', 'orders table: dead rows', 'stock_level MiB'], shown.map((sample) => {
    const orders = sample.tables['orders.orders'];
    return [
      number(sample.minute), number(sample.orders), number(sample.confirmed.p50), number(sample.confirmed.p99), number(sample.nodeMemory), number(sample.databaseMemory),
      orders ? `${number((100 * orders.dead) / Math.max(1, orders.live + orders.dead))} %` : '', number(sample.tables['inventory.stock_level']?.mebibytes ?? NaN),
    ];
  }));
}

function soakPart(soak: SoakResult & { machine: Machine }): string {
  const percent = (share: number) => `${share >= 0 ? '+' : ''}${number(share * 100)} % per hour`;
  const bloated = Object.entries(soak.bloat).filter(([, value]) => value > 1.1).map(([name, value]) => `${name} ${number(value)}×`);
  return [
    '## Soak',
    `${number(soak.minutes)} minutes at ${number(soak.rate)} orders/s (saturation: ${number(soak.saturation)}/s), ${number(soak.orders)} orders, on ${soak.machine.at.slice(0, 10)}. `
    + `Drift in the second half: p99 ${percent(soak.drift.p99)}, memory of Node ${percent(soak.drift.nodeMemory)}, of PostgreSQL ${percent(soak.drift.databaseMemory)}. `
    + `Size per row in the end against the middle: ${bloated.length === 0 ? 'no table above 1.1×' : bloated.join(', ')}.`,
    '![Latency, memory and dead rows during the soak](images/soak.svg)',
    soakTable(soak),
  ].join('\n\n');
}

function machineTable(machine: Machine, method: Results['method']): string {
  return table(['', ''], [
    ['measured', machine.at], ['processor', machine.processor], ['memory', machine.memory], ['system', machine.system],
    ['PostgreSQL', `${machine.postgres ?? ''}, fsync and synchronous_commit on, shared_buffers 1 GB, max_wal_size 12 GB`], ['Node.js', machine.node],
    ['fsync', `${number(machine.fsyncsPerSecond)}/s (8 KiB, fdatasync, one after the other)`],
    ['rounds', `${method.rounds} of slices of ${method.sliceMs} ms${method.machineLoad === undefined ? '' : `; the machine was ${number(100 * method.machineLoad)} % busy over the run, the bench included`}`],
  ]);
}

const METHOD = `## Method

- A naive slice, a slice of a variant, a naive slice again: a ratio compares a slice with its two neighbours, so that a phase in which the
  machine is slower hits both. The order of the variants is drawn anew in each round. Shown are median and quartiles.
- Naive (\`reference-app/bench/naive.ts\`) handles one message at a time with one transaction per order, \`SELECT … FOR UPDATE\` per line, prepared
  statements and sorted locks; once with a single worker and once with as many as suit it best.
- Batched is the services' own code: the handlers through the inbox host, the consumer with its batcher, the relay, the intake of the write API.
- PostgreSQL starts with 4 GB of log files to use again, as one has that ran for a while: a new one stops all commits for each 16 MB of new
  log to fill a file with zeros, which says nothing about the hours after and hits what writes fastest most.
- Every row ends with the checks of the invariants; if one fails, there is no number.
- Processor time is that of PostgreSQL's processes (without autovacuum and checkpointer) and of Node.js with all its threads, so the load
  generator is in it.
- Latency is measured open loop from the intended time of each order.

Not simulated: the commit of a replica, TLS, request signing, real EventBridge and SQS (bus and queues are in memory, with SQS's ten messages
per receive), and a network between the services. Through the local queue endpoint of \`npm start\` the chain is bound by that endpoint, at
about 4,000 events/s.`;

export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(head), `|${head.map(() => '---').join('|')}|`, ...rows.map(line)].join('\n');
}

export function performancePicture(rows: Readonly<Record<string, RowResult>>): string {
  const variants: VariantResult[] = Object.values(rows).flatMap((row) => [...(row.variants ?? [])]);
  return barChart('Orders (relay: events) per second', 'median and quartiles', variants.map((variant) => ({
    label: `${variant.row}: ${variant.variant}`, value: variant.rate.median, low: variant.rate.q1, high: variant.rate.q3,
    text: `${number(variant.rate.median)}${variant.ratio ? ` (${number(variant.ratio.median)}×)` : ''}`, kind: variant.variant.startsWith('naive') ? 'b' : 'a',
  })));
}

export function soakPicture({ samples }: SoakResult): string {
  const line = (name: string, read: (sample: SoakResult['samples'][number]) => number) => ({ name, points: samples.map((sample) => [sample.minute, read(sample)] as const) });
  const dead = (table: string) => line(table.split('.')[1]!, ({ tables }) => (100 * (tables[table]?.dead ?? 0)) / Math.max(1, (tables[table]?.live ?? 0) + (tables[table]?.dead ?? 0)));
  return lineCharts([
    { title: 'Latency accept → confirmed', x: 'minutes', y: 'ms', series: [line('p50', ({ confirmed }) => confirmed.p50), line('p99', ({ confirmed }) => confirmed.p99)] },
    { title: 'Memory', x: 'minutes', y: 'MiB', series: [line('Node.js', ({ nodeMemory }) => nodeMemory), line('PostgreSQL', ({ databaseMemory }) => databaseMemory)] },
    { title: 'Dead rows', x: 'minutes', y: '%', series: [dead('orders.orders'), dead('inventory.ledger'), dead('messaging.inbox')] },
  ]);
}

export function curvesPicture(curves: readonly Curve[]): string {
  return lineCharts(curves.map(({ title, x, points }) => ({
    title: `Reserve stage ${title}`, x, y: 'orders/s', logX: points.every((point) => point.x > 0) && points.at(-1)!.x / points[0]!.x > 50,
    series: [{ name: 'orders/s', points: points.map((point) => [point.x, Math.round(point.rate.median)] as const) }],
  })));
}

/** For docs/scaling.md, which is written by hand around it. */
export function curvesTables({ curves, machine }: { curves: readonly Curve[]; machine: Machine }): string {
  const intro = `Measured on ${machine.at.slice(0, 10)}: ${machine.processor}, ${number(machine.fsyncsPerSecond)} fsyncs/s. Unless the row says otherwise: batches of 500, two connections, 1,000 products, two lines.`;
  return [intro, ...curves.map(({ title, x, points }) => `### Reserve stage ${title}\n\n${table([x, 'orders/s: median (quartiles)', 'processor µs per order'], points.map((point) => [
    number(point.x), `${number(point.rate.median)} (${number(point.rate.q1)}–${number(point.rate.q3)})`, point.processorMicros === undefined ? '' : number(point.processorMicros),
  ]))}`)].join('\n\n');
}

export { BEGIN, END };
