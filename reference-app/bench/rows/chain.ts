import type { Context, Row } from '../context.ts';
import type { BenchDatabase } from '../database/server.ts';
import { assertDeducted } from '../measure/assert-invariants.ts';
import { atRest, closedLoop, type ChainVariant } from '../pipeline/closed-loop.ts';
import { PLENTY, stockUp, UNIFORM } from '../pipeline/orders.ts';
import { startNaiveChain } from '../pipeline/start-naive.ts';
import { startChain, type Chain } from '../pipeline/start-services.ts';
import { compare, type RowResult } from '../report/results.ts';

/** Orders on their way: enough to fill batches of all stages. */
const IN_FLIGHT = 2_000;

interface Running {
  readonly database: BenchDatabase;
  readonly chain: Chain;
  readonly variant: ChainVariant;
}

/** Chains in databases of their own, so that the relay of one does not read the outbox of another. */
class Chains {
  readonly #context: Context;
  readonly #databases: BenchDatabase[] = [];
  readonly #running: Running[] = [];
  #stopped = false;

  constructor(context: Context) {
    this.#context = context;
  }

  async start(name: string, inFlight: number, start: (database: BenchDatabase) => Promise<Chain>): Promise<ChainVariant> {
    const database = await (await this.#context.server()).database(`bench_chain_${this.#databases.length}`);
    this.#databases.push(database);
    await stockUp(database.admin, UNIFORM.skus, PLENTY);
    const chain = await start(database);
    const variant = closedLoop(name, chain, inFlight, this.#context.random);
    this.#running.push({ database, chain, variant });
    return variant;
  }

  async assertDeducted(): Promise<void> {
    await Promise.all(this.#running.map(({ database, variant }) => atRest(database.admin, variant.accepted())));
    await this.#stop();
    for (const { database, variant } of this.#running) await assertDeducted(database.admin, variant.accepted());
  }

  async #stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    for (const { chain } of this.#running) await chain.stop();
  }

  async close(): Promise<void> {
    await this.#stop();
    for (const database of this.#databases) await database.drop();
  }
}

export const chainRow: Row = {
  name: 'chain',
  title: 'Whole chain of stages in process',
  async run(context): Promise<RowResult> {
    const chains = new Chains(context);
    try {
      const baseline = await chains.start('naive, a serial worker per stage', 32, ({ location }) => startNaiveChain(location, 1));
      const parallel = await chains.start('naive, 8 workers per stage', 128, ({ location }) => startNaiveChain(location, 8));
      const services = await chains.start('the services', IN_FLIGHT, ({ location }) => startChain(location));
      // The first orders are slow because of the process: modules, just-in-time compilation.
      await services.run(500);
      const slices = await context.slices('whole chain', {
        baseline, variants: [parallel, services], sliceMs: context.sliceMs * 2, meter: context.meter(await context.server()),
      });
      context.progress('chain  checking the invariants');
      await chains.assertDeducted();
      return {
        variants: compare('whole chain', slices, [
          { name: baseline.name, design: 'naive' }, { name: parallel.name, design: 'naive' }, { name: services.name, design: 'services' },
        ]),
        raw: {},
        slices,
      };
    } finally {
      await chains.close();
    }
  },
};
