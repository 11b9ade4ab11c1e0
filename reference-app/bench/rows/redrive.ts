import { inventoryHandler } from '../../services/inventory-service/handler.ts';
import type { Row } from '../context.ts';
import { commandPool, warm } from '../database/server.ts';
import { assertReserved } from '../measure/assert-invariants.ts';
import type { Variant } from '../measure/slices.ts';
import { handleBatch, work } from '../measure/work.ts';
import * as naive from '../pipeline/naive.ts';
import { batches, PLENTY, randomOrder, stockUp, storeOrders, UNIFORM, validatedEvent } from '../pipeline/orders.ts';
import { BATCH } from '../pipeline/reserve-variant.ts';
import { compare, plural } from '../report/results.ts';

const ORDERS = 50_000;
/** The most connections of the naive design. */
const MOST = 64;

export const redriveRow: Row = {
  name: 'redrive',
  title: 'Redrive of messages that were handled already',
  async run(context) {
    const server = await context.server();
    const database = await server.database('bench_redrive');
    const pool = commandPool(database.location, MOST);
    try {
      await stockUp(database.admin, UNIFORM.skus, PLENTY);
      await warm(pool, MOST);
      context.progress('redrive  reserving the orders that are redriven later');
      const events = Array.from({ length: ORDERS }, () => validatedEvent(randomOrder(UNIFORM, context.random)));
      await storeOrders(pool, events);
      const pieces = batches(events, BATCH);
      for (const batch of pieces) await handleBatch(inventoryHandler, batch, pool);
      await database.admin.query('VACUUM (ANALYZE) messaging.inbox');
      let offset = 0;
      const serially = (name: string, workers: number): Variant => ({
        name,
        async run(ms) {
          const done = await work(events.slice(offset, offset + 10_000), { workers, ms }, async (event) => {
            if ((await naive.reserve(pool, event)).length > 0) throw new Error('a redriven message took effect');
            return 1;
          });
          offset = (offset + done.count) % (ORDERS - 10_000);
          return { count: done.count, seconds: done.seconds };
        },
      });
      const baseline = serially('naive, serial', 1);
      const { best } = await context.bestNaive('redrive', (workers) => serially(`naive, ${plural(workers, 'worker')}`, workers));
      const batched = [1, 4].map((workers): Variant => ({
        name: `batches of ${BATCH}, ${plural(workers, 'connection')}`,
        async run(ms) {
          const endless = Array.from({ length: 10 }, () => pieces).flat();
          const done = await work(endless, { workers, ms }, async (batch) => {
            if (await handleBatch(inventoryHandler, batch, pool) > 0) throw new Error('a redriven message took effect');
            return batch.length;
          });
          return { count: done.count, seconds: done.seconds };
        },
      }));
      const slices = await context.slices('redrive', { baseline, variants: [best, ...batched], meter: context.meter(server) });
      await assertReserved(database.admin, ORDERS);
      return {
        variants: compare('redrive', slices, [
          { name: baseline.name, design: 'naive' },
          { name: best.name, design: 'naive' },
          ...batched.map(({ name }) => ({ name, design: 'services' as const })),
        ]),
        raw: {},
        slices,
      };
    } finally {
      await pool.end();
      await database.drop();
    }
  },
};
