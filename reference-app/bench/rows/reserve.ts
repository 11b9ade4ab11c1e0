import { median } from '../../load/statistics.ts';
import type { Context, Row } from '../context.ts';
import { commandPool, warm, type BenchServer } from '../database/server.ts';
import { assertReserved } from '../measure/assert-invariants.ts';
import { HOT, PLENTY, stockUp, UNIFORM, type Shape } from '../pipeline/orders.ts';
import { BATCH, reserveVariant, threadedReserveVariant, type ReserveHow, type ReserveVariant } from '../pipeline/reserve-variant.ts';
import { compare, number, plural, type RowResult } from '../report/results.ts';

/** The most connections of the naive design. */
const MOST = 64;

export interface ReserveOptions {
  /** The stage and its conditions. */
  readonly label: string;
  readonly shape: Shape;
  /** Connections of each variant in this thread. */
  readonly workers: readonly number[];
  /** Variants in several threads; `workers` are the connections of all threads together. */
  readonly threads?: readonly { readonly threads: number; readonly workers: number }[];
  /** An address in front of the server. @default - the server's own */
  readonly endpoint?: string;
}

/** Compares the reserve stage of the inventory service with the naive one, serial and at its best concurrency. */
export async function measureReserve(context: Context, server: BenchServer, options: ReserveOptions): Promise<RowResult> {
  const { label, shape, workers, threads = [], endpoint } = options;
  const database = await server.database('bench_reserve', endpoint);
  const pool = commandPool(database.location, MOST);
  const stops: (() => Promise<void>)[] = [];
  try {
    await stockUp(database.admin, shape.skus, PLENTY);
    await warm(pool, MOST);
    const variant = (name: string, how: ReserveHow, times?: number[]) => reserveVariant(name, pool, shape, context.random, how, times);
    const serial = variant('naive, serial', { workers: 1 });
    const { best, tried } = await context.bestNaive(label, (count) => variant(`naive, ${plural(count, 'worker')}`, { workers: count }));
    const batched: { variant: ReserveVariant; times: number[] }[] = workers.map((count) => {
      const times: number[] = [];
      return { variant: variant(`batches of ${BATCH}, ${plural(count, 'connection')}`, { batch: BATCH, workers: count }, times), times };
    });
    // One process of Node.js is one core; a deployment has as many pods as it needs.
    for (const how of threads) {
      const times: number[] = [];
      const name = `batches of ${BATCH}, ${plural(how.workers, 'connection')} in ${plural(how.threads, 'thread')}`;
      const threaded = await threadedReserveVariant(name, database.location, shape, context.random, { batch: BATCH, ...how }, times);
      stops.push(() => threaded.stop());
      batched.push({ variant: threaded, times });
    }
    const services = batched.map((one) => one.variant);
    const slices = await context.slices(label, { baseline: serial, variants: [best, ...services], meter: context.meter(server) });
    context.progress(`${label}  checking the invariants`);
    await assertReserved(database.admin, [serial, ...tried, ...services].reduce((sum, { taken }) => sum + taken(), 0));
    const variants = compare(label, slices, [
      { name: serial.name, design: 'naive' }, { name: best.name, design: 'naive' },
      ...batched.map(({ variant: { name }, times }) => ({ name, design: 'services' as const, note: `batch p50 ${number(median(times))} ms` })),
    ]);
    return { variants, raw: {}, slices };
  } finally {
    await Promise.all(stops.map((stop) => stop()));
    await pool.end();
    await database.drop();
  }
}

export const reserveRow: Row = {
  name: 'reserve',
  title: 'Reserve stage, 1,000 SKUs',
  run: async (context) => measureReserve(context, await context.server(), {
    label: 'reserve, 1,000 SKUs', shape: UNIFORM, workers: [1, 4], threads: [{ threads: 2, workers: 4 }],
  }),
};

export const hotRow: Row = {
  name: 'reserve-hot',
  title: 'Reserve stage, one hot SKU',
  run: async (context) => measureReserve(context, await context.server(), {
    label: 'reserve, one hot SKU', shape: HOT, workers: [1, 4], threads: [{ threads: 2, workers: 4 }],
  }),
};
