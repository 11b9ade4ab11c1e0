import type { Context, Row } from '../context.ts';
import { passGates, type GateResult } from '../gates.ts';
import { assertDeducted } from '../measure/assert-invariants.ts';
import { measureNaive, measureServices, StageCosts, type StageCost } from '../measure/stage-costs.ts';

/** The default pool size of a service. */
const CONNECTIONS = 8;

export interface StageResults {
  readonly costs: StageCost[];
  readonly naive: StageCost[];
  readonly gates: GateResult[];
}

export async function measureStages(context: Context, orders: number): Promise<StageResults> {
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
      await assertDeducted(database.admin, count);
      return stages.costs;
    } finally {
      await database.drop();
    }
  };
  context.progress(`the cost of an order, stage by stage: ${orders} orders, and a tenth of them by the naive design`);
  // Twice, since compiled code is part of the measured cost and its compilation is not.
  await run('bench_stages_warm', CONNECTIONS, 2_000, measureServices);
  const costs = await run('bench_stages', CONNECTIONS, orders, measureServices);
  const naive = await run('bench_stages_naive', 1, Math.max(500, Math.round(orders / 10)), measureNaive);
  return { costs, naive, gates: passGates(costs, naive) };
}

export const stagesRow: Row = {
  name: 'stages',
  title: 'The cost of one order at each stage',
  async run(context) {
    const { costs, naive, gates } = await measureStages(context, Math.round(50 * context.sliceMs));
    const figures = costs.flatMap(({ stage, processor }) => {
      if (processor === undefined) return [];
      const base = naive.find((cost) => cost.stage === stage)?.processor;
      return { name: stage, measured: `${processor.toFixed(1)} µs of processor time${base === undefined ? '' : `, naive ${base.toFixed(0)} µs`}` };
    });
    return { figures, raw: { costs, naive, gates } };
  },
};
