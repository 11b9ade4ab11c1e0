import type pg from 'pg';
import type { Pool } from '../../services/shared/database.ts';
import type { Row } from '../context.ts';
import { intakeOf, type Accept } from '../intake.ts';
import { assertInvariants } from '../invariants.ts';
import { newOrder, PLENTY, randomOrder, stockUp, UNIFORM } from '../load.ts';
import * as naive from '../naive.ts';
import { atLeast, number, perSecond, times } from '../report.ts';
import { commandPool, warm } from '../server.ts';
import { processorPerOrder, ratesOf, ratios, type Variant } from '../slices.ts';
import { work } from '../stages.ts';
import { quantile, summarize } from '../statistics.ts';

const CLIENTS = 256;
/** As DB_POOL_SIZE of a deployment, and what suited naive in the study. */
const NAIVE_CONNECTIONS = 10;

export function intakeVariant(name: string, clients: number, random: () => number, accept: Accept, taken: string[], latencies?: number[]): Variant {
  let perMs = 10;
  let orders: ReturnType<typeof newOrder>[] = [];
  return {
    name,
    async prepare(ms) {
      while (orders.length < perMs * ms + clients) orders.push(newOrder(randomOrder(UNIFORM, random)));
    },
    async run(ms) {
      const done = await work(orders, { workers: clients, ms, ...(latencies && { times: latencies }) }, async (order) => {
        await accept(order);
        taken.push(order.orderId);
        return 1;
      });
      perMs = Math.max(perMs, (1.5 * done.count) / (done.seconds * 1000));
      orders = orders.slice(done.taken);
      return { count: done.count, seconds: done.seconds };
    },
  };
}

/** Every order that was answered is there, once, with its event; and no other. */
export async function assertTaken(admin: pg.Pool, orderIds: readonly string[]): Promise<void> {
  await assertInvariants(admin, { orders: 'pending', published: false }, {
    'orders': { sql: 'SELECT count(*) FROM orders.orders', value: orderIds.length },
    'events': { sql: 'SELECT count(*) FROM messaging.outbox', value: orderIds.length },
  });
  const { rows: [row] } = await admin.query<{ missing: number }>(
    'SELECT count(*)::int AS missing FROM unnest($1::uuid[]) AS a (order_id) WHERE NOT EXISTS (SELECT FROM orders.orders o WHERE o.order_id = a.order_id)', [orderIds]);
  if (row!.missing > 0) throw new Error(`${row!.missing} orders were accepted and are not there`);
}

export const intakeRow: Row = {
  name: 'intake',
  title: `Intake in process at ${CLIENTS} clients`,
  async run(context) {
    const server = await context.server();
    const database = await server.database('bench_intake');
    const pools: Pool[] = [];
    const pool = async (size: number) => {
      const made = commandPool(database.target, size);
      pools.push(made);
      await warm(made, size);
      return made;
    };
    try {
      await stockUp(database.admin, UNIFORM.skus, PLENTY);
      const taken: string[] = [];
      const naivePool = await pool(NAIVE_CONNECTIONS);
      const latencies: Record<string, number[]> = {};
      const variant = (name: string, accept: Accept) => intakeVariant(name, CLIENTS, context.random, accept, taken, (latencies[name] = []));
      const baseline = variant(`naive, ${NAIVE_CONNECTIONS} connections`, (order) => naive.takeOrder(naivePool, order));
      const variants = [];
      for (const size of [1, 2, 4]) variants.push(variant(`intake of the write API, ${size} ${size === 1 ? 'connection' : 'connections'}`, intakeOf(await pool(size), size)));
      const slices = await context.slices('intake, 256 clients', { baseline, variants, meter: context.meter(server) });
      context.progress('intake  checking the invariants');
      await assertTaken(database.admin, taken);
      const results = [baseline, ...variants].map(({ name }) => {
        const sorted = latencies[name]!.sort((a, b) => a - b);
        return {
          row: 'intake in process', variant: name, rate: summarize(ratesOf(slices, name)),
          ...(name !== baseline.name && { ratio: summarize(ratios(slices, name, baseline.name)) }),
          processorMicros: processorPerOrder(slices, name),
          note: `p50 ${number(quantile(sorted, 0.5))} ms, p99 ${number(quantile(sorted, 0.99))} ms`,
        };
      });
      const best = results.slice(1).sort((a, b) => b.ratio!.median - a.ratio!.median)[0]!;
      return {
        figures: [{
          id: 'intake', name: `intake in process at ${CLIENTS} clients`, naive: perSecond(results[0]!.rate), value: best.ratio!.median,
          text: `${times(best.ratio!)}, ${perSecond(best.rate)}, ${best.note}`, must: atLeast(10), stretch: atLeast(20),
        }],
        raw: {}, slices, variants: results,
      };
    } finally {
      await Promise.all(pools.map((one) => one.end()));
      await database.drop();
    }
  },
};
