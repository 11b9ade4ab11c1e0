import { summarize } from '../../load/statistics.ts';
import type { Row } from '../context.ts';
import { processorPerOrder, ratios } from '../measure/slices.ts';
import { Chains, IN_FLIGHT } from '../pipeline/chains.ts';
import { startChain } from '../pipeline/start-services.ts';
import { number, times } from '../report/results.ts';

/** Handlers believe what an event says. */
const UNASKED = `
  CREATE OR REPLACE FUNCTION orders.unfounded(p_order_ids uuid[], p_versions bigint[], p_event_ids uuid[], p_statuses text[], p_items text, OUT events int[], OUT causes text[])
    LANGUAGE sql AS $$ SELECT NULL::int[], NULL::text[] $$;
  CREATE OR REPLACE FUNCTION inventory.unfounded(p_event_ids uuid[], p_order_ids uuid[], p_versions bigint[], p_types text[]) RETURNS uuid[]
    LANGUAGE sql AS $$ SELECT '{}'::uuid[] $$;`;

/**
 * The same chain in pairs: one that believes every event, one that verifies signatures, and one whose handlers ask, too. The one that
 * believes is there twice: the first has more slices than the others and is warmer, so they are compared with the second.
 */
export const signaturesRow: Row = {
  name: 'signatures',
  title: 'The cost of distrust between services',
  async run(context) {
    const chains = new Chains(context, 'signatures');
    const start = (name: string, signed: boolean, asked: boolean) => chains.start(name, IN_FLIGHT, async ({ admin, location }) => {
      if (!asked) await admin.query(UNASKED);
      return startChain(location, { signed });
    });
    try {
      const baseline = await start('every event is believed', false, false);
      const believing = await start('every event is believed, again', false, false);
      const verifying = await start('signatures', true, false);
      const asking = await start('signatures and questions', true, true);
      for (const one of [baseline, believing, verifying, asking]) await one.run(500);
      const slices = await context.slices('distrust', {
        baseline, variants: [believing, verifying, asking], sliceMs: context.sliceMs * 2, meter: context.meter(await context.server()),
      });
      await chains.assertDeducted();
      const figures = [verifying, asking].map(({ name }) => {
        const [before, after] = [processorPerOrder(slices, believing.name), processorPerOrder(slices, name)];
        const more = before && after
          ? `; ${number(after.all)} µs of processor time for an order, ${number(before.all)} without `
            + `(PostgreSQL ${number(after.all - after.node)} and ${number(before.all - before.node)})`
          : '';
        return { name, measured: `${times(summarize(ratios(slices, name, believing.name)))} of the throughput without${more}` };
      });
      return { figures, raw: {}, slices };
    } finally {
      await chains.close();
    }
  },
};
