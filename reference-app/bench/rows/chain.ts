import type { Row } from '../context.ts';
import { NO_BUNDLES } from '../pipeline/bundles.ts';
import { Chains, IN_FLIGHT } from '../pipeline/chains.ts';
import { startChain } from '../pipeline/start-services.ts';
import { compare, type RowResult } from '../report/results.ts';

export const chainRow: Row = {
  name: 'chain',
  title: 'Whole chain of stages in process',
  async run(context): Promise<RowResult> {
    const chains = new Chains(context, 'chain');
    try {
      const baseline = await chains.startNaive(1);
      const best = await chains.bestNaive();
      const services = await chains.start('the services', IN_FLIGHT, ({ location }) => startChain(location));
      const single = await chains.start('the services, a message per event', IN_FLIGHT, ({ location }) => startChain(location, { bundles: NO_BUNDLES }));
      // The first orders are slow because of the process: modules, just-in-time compilation.
      await services.run(500);
      await single.run(500);
      const slices = await context.slices('whole chain', {
        baseline, variants: [best, services, single], sliceMs: context.sliceMs * 2, meter: context.meter(await context.server()),
      });
      context.progress('chain  checking the invariants');
      await chains.assertDeducted();
      return {
        variants: compare('whole chain', slices, [
          { name: baseline.name, design: 'naive' }, { name: best.name, design: 'naive' },
          { name: services.name, design: 'services' }, { name: single.name, design: 'part' },
        ]),
        raw: {},
        slices,
      };
    } finally {
      await chains.close();
    }
  },
};
