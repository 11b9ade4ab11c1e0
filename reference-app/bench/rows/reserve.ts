import { availableParallelism } from 'node:os';
import type pg from 'pg';
import type { Context, Row } from '../context.ts';
import { assertInvariants } from '../invariants.ts';
import { HOT, PLENTY, stockUp, UNIFORM } from '../load.ts';
import type { Shape } from '../load.ts';
import { atLeast, number, perSecond, times } from '../report.ts';
import type { Figure, RowResult } from '../report.ts';
import { reserveVariant, threadedReserveVariant, type ReserveVariant } from '../reserve-variant.ts';
import { commandPool, warm } from '../server.ts';
import type { BenchServer } from '../server.ts';
import { processorPerOrder, ratesOf, ratios } from '../slices.ts';
import { summarize } from '../statistics.ts';

export const BATCH = 500;
/** Where one transaction per order does best is tried out first. */
const NAIVE_WORKERS = [8, 16, 32];

/** Nothing lost, nothing doubled: as many decisions, ledger entries and events as orders were taken. */
export async function assertReserved(admin: pg.Pool, orders: number): Promise<void> {
  await assertInvariants(admin, { orders: 'none', published: false }, {
    'orders with a decision': { sql: 'SELECT count(*) FROM inventory.ledger WHERE event_id IS NOT NULL AND line = 1', value: orders },
    'orders with an event': { sql: 'SELECT count(DISTINCT aggregate_id) FROM messaging.outbox', value: orders },
    'events': { sql: 'SELECT count(*) FROM messaging.outbox', value: orders },
    'handled messages': { sql: `SELECT count(*) FROM messaging.inbox WHERE consumer = 'inventory-service'`, value: orders },
  });
}

export async function measureReserve(
  context: Context, server: BenchServer, label: string, shape: Shape,
  options: { endpoint?: string; workers: readonly number[]; threads?: readonly { readonly threads: number; readonly workers: number }[]; batch?: number; naiveWorkers?: readonly number[]; rounds?: number },
) {
  const { endpoint, workers, threads = [], batch = BATCH, naiveWorkers = NAIVE_WORKERS } = options;
  const database = await server.database('bench_reserve', endpoint);
  const most = Math.max(...naiveWorkers, ...workers);
  const pool = commandPool(database.target, most);
  const stops: (() => Promise<void>)[] = [];
  try {
    await stockUp(database.admin, shape.skus, PLENTY);
    await warm(pool, most);
    const all: ReserveVariant[] = [];
    const variant = (name: string, how: { batch?: number; workers: number }, latencies?: number[]) => {
      const made = reserveVariant(name, pool, shape, context.random, how, latencies);
      all.push(made);
      return made;
    };
    const serial = variant('naive, serial', { workers: 1 });
    // Which concurrency suits naive best depends on the machine.
    let best: ReserveVariant | undefined;
    let bestRate = 0;
    for (const count of naiveWorkers) {
      const candidate = variant(`naive, ${count} workers`, { workers: count });
      context.progress(`${label}  looking for the best concurrency of naive: ${count}`);
      for (const ms of [context.sliceMs / 2, context.sliceMs]) {
        await candidate.prepare?.(ms);
        const { count: orders, seconds } = await candidate.run(ms);
        if (ms === context.sliceMs && orders / seconds > bestRate) [best, bestRate] = [candidate, orders / seconds];
      }
    }
    const latencies = new Map<string, number[]>();
    const batched = workers.map((count) => {
      const name = `batches of ${batch}, ${count} ${count === 1 ? 'connection' : 'connections'}`;
      latencies.set(name, []);
      return variant(name, { batch, workers: count }, latencies.get(name));
    });
    // One process of Node.js is one core; a deployment has as many pods as it takes.
    for (const { threads: count, workers: connections } of threads) {
      const name = `batches of ${batch}, ${connections} connections in ${count} threads`;
      latencies.set(name, []);
      const threaded = await threadedReserveVariant(name, database.target, shape, context.random, { batch, workers: connections, threads: count }, latencies.get(name));
      stops.push(() => threaded.stop());
      all.push(threaded);
      batched.push(threaded);
    }
    const slices = await context.slices(label, {
      baseline: serial, variants: [best!, ...batched], meter: context.meter(server), ...(options.rounds && { rounds: options.rounds }),
    });
    context.progress(`${label}  checking the invariants`);
    await assertReserved(database.admin, all.reduce((sum, { taken }) => sum + taken(), 0));

    const overSerial = (name: string) => summarize(ratios(slices, name, serial.name));
    const rate = (name: string) => summarize(ratesOf(slices, name));
    // Both stand between the same serial slices, so the quotient of their ratios is paired too.
    const bestMedian = overSerial(best!.name).median;
    return {
      slices, serial: serial.name, best: best!.name, batched: batched.map(({ name }) => name),
      overSerial, rate, bestMedian, processor: (name: string) => processorPerOrder(slices, name),
      variants: [serial, best!, ...batched].map(({ name }) => ({
        row: label, variant: name, rate: rate(name),
        ...(name !== serial.name && { ratio: overSerial(name) }),
        processorMicros: processorPerOrder(slices, name),
        ...(latencies.has(name) && { note: `batch p50 ${number(summarize(latencies.get(name)!).median)} ms` }),
      })),
    };
  } finally {
    await Promise.all(stops.map((stop) => stop()));
    await pool.end();
    await database.drop();
  }
}

export const reserveRow: Row = {
  name: 'reserve',
  title: 'Reserve stage, 1,000 SKUs',
  async run(context): Promise<RowResult> {
    const server = await context.server();
    const result = await measureReserve(context, server, 'reserve, 1,000 SKUs', UNIFORM, { workers: [1, 4], threads: [{ threads: 2, workers: 4 }, { threads: 2, workers: 8 }] });
    const name = fastest(result);
    const ratio = result.overSerial(name);
    const serial = result.rate(result.serial);
    const best = result.rate(result.best);
    const micros = result.processor(name);
    const naiveMicros = result.processor(result.serial);
    const cores = availableParallelism();
    const figures: Figure[] = [
      {
        id: 'reserve-serial', name: 'reserve stage, 1,000 SKUs, vs serial naive', naive: perSecond(serial),
        value: ratio.median, text: `${times(ratio)}, ${perSecond(result.rate(name))}`, must: atLeast(75), stretch: atLeast(120),
      },
      {
        id: 'reserve-best', name: 'reserve stage, 1,000 SKUs, vs best-concurrency naive', naive: `${perSecond(best)} (${result.best})`,
        value: ratio.median / result.bestMedian, text: `${number(ratio.median / result.bestMedian)}×`, must: atLeast(20), stretch: atLeast(30),
      },
    ];
    if (micros !== undefined && naiveMicros !== undefined) {
      const limit = cores / (micros / 1e6);
      const share = (rate: number) => (100 * rate) / limit;
      figures.push({
        id: 'processor', name: 'processor time per order, reserve stage', naive: `${number(naiveMicros)} µs`, value: micros,
        text: `${number(micros)} µs`, must: { at: 30, better: 'less', text: '≤ 30 µs' }, stretch: { at: 20, better: 'less', text: '≤ 20 µs' },
      }, {
        id: 'limit', name: 'processor limit of the machine reached by the reserve stage', naive: `${number(share(best.median))} %`,
        value: share(result.rate(name).median), text: `${number(share(result.rate(name).median))} % of ${number(limit)}/s`,
        must: atLeast(45, ' %'), stretch: atLeast(70, ' %'),
      });
    }
    return { figures, raw: {}, slices: result.slices, variants: result.variants };
  },
};

export const hotRow: Row = {
  name: 'reserve-hot',
  title: 'Reserve stage, one hot SKU',
  async run(context): Promise<RowResult> {
    const server = await context.server();
    const result = await measureReserve(context, server, 'reserve, one hot SKU', HOT, { workers: [1, 4], threads: [{ threads: 2, workers: 4 }] });
    const name = fastest(result);
    const ratio = result.overSerial(name);
    return {
      figures: [{
        id: 'reserve-hot', name: 'reserve stage, one hot SKU', naive: `${perSecond(result.rate(result.serial))}; at best ${perSecond(result.rate(result.best))} (${result.best})`,
        value: ratio.median, text: `${times(ratio)}, ${perSecond(result.rate(name))}`, must: atLeast(150), stretch: atLeast(200),
      }],
      raw: {}, slices: result.slices, variants: result.variants,
    };
  },
};

function fastest(result: Awaited<ReturnType<typeof measureReserve>>): string {
  return [...result.batched].sort((a, b) => result.rate(b).median - result.rate(a).median)[0]!;
}
