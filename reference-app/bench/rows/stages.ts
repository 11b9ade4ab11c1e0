import type { Context, Row } from '../context.ts';
import { passGates, type GateResult } from '../gates.ts';
import { assertChain } from './chain.ts';
import { StageCosts, measureNaive, measureServices, type StageCost } from '../stage-costs.ts';

/** As many as the default pool of a service. */
const CONNECTIONS = 8;

export async function measureStages(context: Context, orders: number): Promise<{ costs: StageCost[]; naive: StageCost[]; gates: GateResult[] }> {
  const server = await context.server();
  const meter = context.meter(server);
  const run = async (name: string, connections: number, count: number, measure: typeof measureServices) => {
    const database = await server.database(name);
    try {
      const stages = await StageCosts.create(database, connections, meter);
      try {
        await measure(stages, count, context.random);
      } finally {
        await stages.close();
      }
      await assertChain(database.admin, count);
      return stages.costs;
    } finally {
      await database.drop();
    }
  };
  context.progress(`what an order costs, stage by stage: ${orders} orders, and a tenth of them by naive`);
  // Twice: compiled code is part of what is measured, compiling it is not.
  await run('bench_stages_warm', CONNECTIONS, 2_000, measureServices);
  const costs = await run('bench_stages', CONNECTIONS, orders, measureServices);
  const naive = await run('bench_stages_naive', 1, Math.max(500, Math.round(orders / 10)), measureNaive);
  return { costs, naive, gates: passGates(costs, naive) };
}

export const stagesRow: Row = {
  name: 'stages',
  title: 'What an order costs at each stage',
  async run(context) {
    const { costs, naive, gates } = await measureStages(context, Math.round(50 * context.sliceMs));
    return { figures: [], raw: { costs, naive, gates } };
  },
};
