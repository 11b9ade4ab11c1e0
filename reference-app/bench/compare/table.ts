import type { Figures } from './run.ts';
import { median } from '../../load/statistics.ts';

/** The runs of one state of the repository. */
export interface Side {
  readonly name: string;
  readonly runs: readonly Figures[];
}

/** The comparison as a Markdown table: medians over the runs. */
export function comparisonTable(before: Side, after: Side): string {
  const sides = [before, after];
  const names = [...new Set(sides.flatMap(({ runs }) => runs.flatMap(({ micros }) => Object.keys(micros))))];
  const costs = names.map((name) => ({ name, cells: sides.map(({ runs }) => medianOf(runs.map(({ micros }) => micros[name]))) }))
    .sort((a, b) => (b.cells[0] ?? 0) - (a.cells[0] ?? 0));
  const all = sides.map(({ runs }) => median(runs.map(({ micros }) => Object.values(micros).reduce((sum, value) => sum + value, 0))));
  const percentile = (side: Side, at: 'p50' | 'p99', warm: boolean) => {
    const values = side.runs.flatMap((figures) => (warm ? figures.warmEndToEndMs : figures.endToEndMs)?.[at] ?? []);
    return values.length === 0 ? '–' : `${median(values).toFixed(0)} ms`;
  };
  const times = ([['p50', false], ['p99', false], ['p50', true], ['p99', true]] as const).map(([at, warm]) =>
    row(`accept → decided ${at}${warm ? '' : ', all orders'}`, sides.map((side) => percentile(side, at, warm))));
  return [
    row('per order', sides.map(({ name }) => name)),
    '|---|---|---|',
    ...costs.map(({ name, cells }) => row(name, cells.map(cell))),
    row('**all**', all.map((value) => `**${cell(value)}**`)),
    ...times,
    row('orders per second', sides.map(({ runs }) => median(runs.map(({ ordersPerSecond }) => ordersPerSecond)).toFixed(0))),
  ].join('\n');
}

/** Undefined if no run has the program, as several may share a process. */
function medianOf(values: readonly (number | undefined)[]): number | undefined {
  return values.every((value) => value === undefined) ? undefined : median(values.map((value) => value ?? 0));
}

function cell(value: number | undefined): string {
  return value === undefined ? '–' : `${Math.round(value)} µs`;
}

function row(name: string, cells: readonly string[]): string {
  return `| ${[name, ...cells].join(' | ')} |`;
}

/** The highest number of orders per second of a series of rising rates. */
export function saturationOf(runs: readonly Figures[]): number {
  return Math.max(...runs.map(({ ordersPerSecond }) => ordersPerSecond));
}

/** Orders are decided as fast as they come: what waits at the end of the load is a small part of it. */
export function keepsUp({ ok, ordersPerSecond, load }: Figures): boolean {
  return ok && ordersPerSecond > 0.9 * load.rate;
}
