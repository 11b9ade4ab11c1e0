import { atRest, closedLoop, type ChainVariant } from './closed-loop.ts';
import { PLENTY, stockUp, UNIFORM } from './orders.ts';
import { startNaiveChain } from './start-naive.ts';
import type { Chain } from './start-services.ts';
import type { Context } from '../context.ts';
import type { BenchDatabase } from '../database/server.ts';
import { assertDeducted } from '../measure/assert-invariants.ts';
import { plural } from '../report/results.ts';

/** Orders on their way: enough to fill batches of all stages. */
export const IN_FLIGHT = 2_000;

/** A chain that runs, and a closed loop of orders through it. */
export interface RunningChain extends ChainVariant {
  readonly chain: Chain;
}

interface Running {
  readonly database: BenchDatabase;
  readonly chain: Chain;
  readonly accepted: () => number;
}

/** A naive worker per stage is a connection per stage, and all chains together have those of one server. */
const MOST_WORKERS = 16;

/** Chains in databases of their own, so that the relay of one does not read the outbox of another. */
export class Chains {
  readonly #context: Context;
  readonly #name: string;
  readonly #running = new Map<RunningChain, Running>();
  #databases = 0;

  constructor(context: Context, name: string) {
    this.#context = context;
    this.#name = name;
  }

  async start(name: string, inFlight: number, start: (database: BenchDatabase) => Promise<Chain>): Promise<RunningChain> {
    const database = await (await this.#context.server()).database(`bench_${this.#name}_${this.#databases++}`);
    let started: Chain;
    try {
      await stockUp(database.admin, UNIFORM.skus, PLENTY);
      started = await start(database);
    } catch (error) {
      await database.drop();
      throw error;
    }
    let accepted = 0;
    const chain: Chain = {
      ...started,
      async accept(order) {
        await started.accept(order);
        accepted++;
      },
    };
    const running = { ...closedLoop(name, chain, inFlight, this.#context.random), chain };
    this.#running.set(running, { database, chain, accepted: () => accepted });
    return running;
  }

  startNaive(workers: number): Promise<RunningChain> {
    const name = workers === 1 ? 'naive, a serial worker per stage' : `naive, ${plural(workers, 'worker')} per stage`;
    return this.start(name, 32 * workers, ({ location }) => startNaiveChain(location, workers));
  }

  /** The naive chain at its best concurrency; those that were only tried are stopped. */
  async bestNaive(): Promise<RunningChain> {
    const { best, tried } = await this.#context.bestNaive(this.#name, (workers) => this.startNaive(workers), MOST_WORKERS);
    for (const one of tried) if (one !== best) await this.#finish(one);
    return best;
  }

  /** Waits until every chain is at rest, and checks that every accepted order is deducted, once. */
  async assertDeducted(): Promise<void> {
    for (const one of [...this.#running.keys()]) await this.#finish(one);
  }

  async close(): Promise<void> {
    for (const { database, chain } of this.#running.values()) {
      await chain.stop();
      await database.drop();
    }
    this.#running.clear();
  }

  async #finish(one: RunningChain): Promise<void> {
    const { database, chain, accepted } = this.#running.get(one)!;
    await atRest(database.admin, accepted());
    this.#running.delete(one);
    try {
      await chain.stop();
      await assertDeducted(database.admin, accepted());
    } finally {
      await database.drop();
    }
  }
}
