import type { Row } from '../context.ts';
import { inventoryHandler } from '../../services/inventory-service/handler.ts';
import { batches, PLENTY, randomOrder, stockUp, UNIFORM, validatedEvent } from '../load.ts';
import * as naive from '../naive.ts';
import { atLeast, perSecond, times } from '../report.ts';
import { commandPool, warm } from '../server.ts';
import { processorPerOrder, ratesOf, ratios, type Variant } from '../slices.ts';
import { handleBatch, work } from '../stages.ts';
import { summarize } from '../statistics.ts';
import { assertReserved, BATCH } from './reserve.ts';

const ORDERS = 50_000;

export const redriveRow: Row = {
  name: 'redrive',
  title: 'Redrive of things already done',
  async run(context) {
    const server = await context.server();
    const database = await server.database('bench_redrive');
    const pool = commandPool(database.target, 4);
    try {
      await stockUp(database.admin, UNIFORM.skus, PLENTY);
      await warm(pool, 4);
      context.progress('redrive  reserving what will be redriven');
      const events = Array.from({ length: ORDERS }, () => validatedEvent(randomOrder(UNIFORM, context.random)));
      const pieces = batches(events, BATCH);
      for (const batch of pieces) await handleBatch(inventoryHandler, batch, pool);
      await database.admin.query('VACUUM (ANALYZE) messaging.inbox');
      let offset = 0;
      const baseline: Variant = {
        name: 'naive, serial',
        async run(ms) {
          const done = await work(events.slice(offset, offset + 10_000), { workers: 1, ms }, async (event) => {
            if ((await naive.reserve(pool, event)).length > 0) throw new Error('a redriven message took effect');
            return 1;
          });
          offset = (offset + done.count) % (ORDERS - 10_000);
          return { count: done.count, seconds: done.seconds };
        },
      };
      const batched = [1, 4].map((workers): Variant => ({
        name: `batches of ${BATCH}, ${workers} ${workers === 1 ? 'connection' : 'connections'}`,
        async run(ms) {
          const endless = Array.from({ length: 10 }, () => pieces).flat();
          const done = await work(endless, { workers, ms }, async (batch) => {
            if (await handleBatch(inventoryHandler, batch, pool) > 0) throw new Error('a redriven message took effect');
            return batch.length;
          });
          return { count: done.count, seconds: done.seconds };
        },
      }));
      const slices = await context.slices('redrive', { baseline, variants: batched, meter: context.meter(server) });
      await assertReserved(database.admin, ORDERS);
      const best = [...batched].sort((a, b) => summarize(ratesOf(slices, b.name)).median - summarize(ratesOf(slices, a.name)).median)[0]!;
      const rate = summarize(ratesOf(slices, best.name));
      return {
        figures: [{
          id: 'redrive', name: 'redrive of things already done', naive: perSecond(summarize(ratesOf(slices, baseline.name))), value: rate.median,
          text: `${perSecond(rate)}, ${times(summarize(ratios(slices, best.name, baseline.name)))}`, must: atLeast(100_000, '/s'), stretch: atLeast(200_000, '/s'),
        }],
        raw: {}, slices,
        variants: [baseline, ...batched].map(({ name }) => ({
          row: 'redrive', variant: name, rate: summarize(ratesOf(slices, name)),
          ...(name !== baseline.name && { ratio: summarize(ratios(slices, name, baseline.name)) }), processorMicros: processorPerOrder(slices, name),
        })),
      };
    } finally {
      await pool.end();
      await database.drop();
    }
  },
};
