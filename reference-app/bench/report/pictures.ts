import { lineCharts, pairChart, type Series } from './chart.ts';
import { comparisons } from './comparison.ts';
import { number, ratioTo, type Results, type VariantResult } from './results.ts';
import type { Curve } from '../rows/curves.ts';
import type { SoakResult, SoakSample } from '../rows/soak.ts';

/** The naive variant of the stage that is the hardest to beat. */
const bestNaive = (naive: readonly VariantResult[]) => [...naive].sort((a, b) => b.rate.median - a.rate.median)[0]!;

/** Measured and naive rates of six stages. */
export function performancePicture(results: Results): string {
  return pairChart({
    title: 'Orders per second: the services and the naive design at its best concurrency',
    note: 'Medians, ratios of slices side by side, and processor time. The axis is logarithmic: equal distances are equal ratios.',
    pairs: comparisons(results).flatMap(({ label, services, naive }) => {
      if (label === undefined) return [];
      const best = bestNaive(naive);
      const micros = services.processorMicros === undefined ? {} : { cost: `${number(services.processorMicros)} µs` };
      return { label, naive: best.rate.median, measured: services.rate.median, ratio: `${number(ratioTo(services, best))}×`, ...micros };
    }),
  });
}

export function soakPicture({ samples }: SoakResult): string {
  const line = (name: string, read: (sample: SoakSample) => number): Series => (
    { name, points: samples.map((sample) => [sample.minute, read(sample)] as const) });
  const dead = (table: string) => line(table.split('.')[1]!, ({ tables }) => {
    const { live = 0, dead: gone = 0 } = tables[table] ?? {};
    return (100 * gone) / Math.max(1, live + gone);
  });
  return lineCharts([
    {
      title: 'Latency from accepted to confirmed',
      x: 'minutes',
      y: 'ms',
      series: [line('p50', ({ confirmed }) => confirmed.p50), line('p99', ({ confirmed }) => confirmed.p99)],
    },
    {
      title: 'Memory',
      x: 'minutes',
      y: 'MiB',
      series: [line('Node.js', ({ nodeMemory }) => nodeMemory), line('PostgreSQL', ({ databaseMemory }) => databaseMemory)],
    },
    { title: 'Dead rows', x: 'minutes', y: '%', series: [dead('orders.orders'), dead('inventory.ledger'), dead('messaging.inbox')] },
  ]);
}

export function curvesPicture(curves: readonly Curve[]): string {
  return lineCharts(curves.map(({ title, x, points }) => ({
    title: `Reserve stage ${title}`,
    x,
    y: 'orders/s',
    logX: points.every((point) => point.x > 0) && points.at(-1)!.x / points[0]!.x > 50,
    series: [{ name: 'orders/s', points: points.map((point) => [point.x, Math.round(point.rate.median)] as const) }],
  })));
}
