import { acceptOrders } from '../../services/order-service/api-write-service/intake.ts';
import type { Row } from '../context.ts';
import { commandPool, warm, type BenchDatabase } from '../database/server.ts';
import { assertInvariants, InvariantError } from '../measure/assert-invariants.ts';
import type { Variant } from '../measure/slices.ts';
import { BUNDLES, NO_BUNDLES, type Bundles } from '../pipeline/bundles.ts';
import * as naive from '../pipeline/naive.ts';
import { newOrder, PLENTY, randomOrder, stockUp, UNIFORM } from '../pipeline/orders.ts';
import { relayUntil } from '../pipeline/relay-run.ts';
import { compare } from '../report/results.ts';

const rewind = ({ admin }: BenchDatabase) => admin.query('UPDATE messaging.relay_cursor SET xid = \'0\', id = 0, since = \'-infinity\'');

/** Publishes everything from the beginning and compares it with the outbox: all of it once, nothing lost. */
async function assertAllPublished(database: BenchDatabase, backlog: number): Promise<void> {
  await rewind(database);
  const published = new Set<string>();
  let total = 0;
  await relayUntil(database.location, (count) => count >= backlog, {
    seen(detail) {
      for (const { id } of (JSON.parse(detail) as { events: { id: string }[] }).events) {
        published.add(id);
        total++;
      }
    },
  });
  if (published.size !== backlog || total !== backlog) {
    throw new InvariantError(`${published.size} different events of ${backlog} were published, ${total} in all`);
  }
  await assertInvariants(database.admin, { orders: 'pending', published: true });
}

export const relayRow: Row = {
  name: 'relay',
  title: 'Relay out of the outbox, without a broker',
  async run(context) {
    const server = await context.server();
    const database = await server.database('bench_relay');
    const pool = commandPool(database.location, 4);
    const backlog = Math.round(Math.min(300_000, 500 * context.sliceMs));
    try {
      await stockUp(database.admin, UNIFORM.skus, PLENTY);
      await warm(pool, 4);
      for (let made = 0; made < backlog; made += 1_000) {
        if (made % 20_000 === 0) context.progress(`relay  filling the outbox: ${made}`);
        await acceptOrders(Array.from({ length: 1_000 }, () => newOrder(randomOrder(UNIFORM, context.random))), pool);
      }
      await database.admin.query('VACUUM (ANALYZE) messaging.outbox');
      const prepare = async () => { await rewind(database); };
      const baseline: Variant = {
        name: 'naive, one row per transaction',
        prepare,
        async run(ms) {
          const start = performance.now();
          let count = 0;
          while (performance.now() - start < ms) if (await naive.relayOne(pool, () => {})) count++;
          return { count, seconds: (performance.now() - start) / 1000 };
        },
      };
      const relayBy = (name: string, bundles: Bundles): Variant => ({
        name,
        prepare,
        run: (ms) => relayUntil(database.location, (count, elapsed) => elapsed >= ms || count >= backlog, { bundles }),
      });
      const relay = relayBy('relay', BUNDLES);
      const single = relayBy('relay, an entry per event', NO_BUNDLES);
      const slices = await context.slices('relay', { baseline, variants: [relay, single], meter: context.meter(server) });
      context.progress('relay  checking that nothing is lost');
      await assertAllPublished(database, backlog);
      return {
        variants: compare('relay', slices, [
          { name: baseline.name, design: 'naive' }, { name: relay.name, design: 'services' }, { name: single.name, design: 'part' },
        ]),
        raw: { backlog },
        slices,
      };
    } finally {
      await pool.end();
      await database.drop();
    }
  },
};
