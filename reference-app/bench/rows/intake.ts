import type pg from 'pg';
import { latencies } from '../../load/statistics.ts';
import type { Pool } from '../../services/shared/database.ts';
import type { Row } from '../context.ts';
import { commandPool, warm } from '../database/server.ts';
import { assertInvariants } from '../measure/assert-invariants.ts';
import type { Variant } from '../measure/slices.ts';
import { work } from '../measure/work.ts';
import { acceptBy, type Accept } from '../pipeline/accept.ts';
import * as naive from '../pipeline/naive.ts';
import { newOrder, PLENTY, randomOrder, stockUp, UNIFORM } from '../pipeline/orders.ts';
import { compare, number, plural, type ComparedVariant } from '../report/results.ts';

const CLIENTS = 256;

/** Clients that each hand in the next order when the last one is stored. Adds the accepted orders and their milliseconds to the lists. */
function clientsOf(name: string, random: () => number, accept: Accept, accepted: string[], milliseconds: number[]): Variant {
  let perMs = 10;
  let orders: ReturnType<typeof newOrder>[] = [];
  return {
    name,
    async prepare(ms) {
      while (orders.length < perMs * ms + CLIENTS) orders.push(newOrder(randomOrder(UNIFORM, random)));
    },
    async run(ms) {
      const done = await work(orders, { workers: CLIENTS, ms, times: milliseconds }, async (order) => {
        await accept(order);
        accepted.push(order.orderId);
        return 1;
      });
      perMs = Math.max(perMs, (1.5 * done.count) / (done.seconds * 1000));
      orders = orders.slice(done.taken);
      return { count: done.count, seconds: done.seconds };
    },
  };
}

/** Every order that was answered is there, once, with its event; and no other. */
async function assertStored(admin: pg.Pool, orderIds: readonly string[]): Promise<void> {
  await assertInvariants(admin, { orders: 'pending', published: false }, {
    orders: { sql: 'SELECT count(*) FROM orders.orders', value: orderIds.length },
    events: { sql: 'SELECT count(*) FROM messaging.outbox', value: orderIds.length },
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
      const made = commandPool(database.location, size);
      pools.push(made);
      await warm(made, size);
      return made;
    };
    try {
      await stockUp(database.admin, UNIFORM.skus, PLENTY);
      const accepted: string[] = [];
      const milliseconds: Record<string, number[]> = {};
      const variant = (name: string, accept: Accept) => clientsOf(name, context.random, accept, accepted, (milliseconds[name] = []));
      const naively = async (connections: number) => {
        const own = await pool(connections);
        return variant(`naive, ${plural(connections, 'connection')}`, (order) => naive.takeOrder(own, order));
      };
      const baseline = await naively(1);
      const { best } = await context.bestNaive('intake', naively);
      // Those of the search were too few to be a latency.
      milliseconds[best.name]!.length = 0;
      const services = [];
      for (const size of [1, 4]) {
        services.push(variant(`intake of the write API, ${plural(size, 'connection')}`, acceptBy(await pool(size), size)));
      }
      const slices = await context.slices(`intake, ${CLIENTS} clients`, { baseline, variants: [best, ...services], meter: context.meter(server) });
      context.progress('intake  checking the invariants');
      await assertStored(database.admin, accepted);
      const compared = [baseline, best, ...services].map(({ name }, i): ComparedVariant => {
        const { p50, p99 } = latencies(milliseconds[name]!);
        return { name, design: i < 2 ? 'naive' : 'services', note: `p50 ${number(p50)} ms, p99 ${number(p99)} ms` };
      });
      return { variants: compare('intake in process', slices, compared), raw: {}, slices };
    } finally {
      await Promise.all(pools.map((one) => one.end()));
      await database.drop();
    }
  },
};
