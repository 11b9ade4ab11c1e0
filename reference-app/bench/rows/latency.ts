import { openLoop } from '../../load/open-loop.ts';
import { latencies, type Latencies } from '../../load/statistics.ts';
import type { Row } from '../context.ts';
import { assertDeducted, InvariantError } from '../measure/assert-invariants.ts';
import { atRest, DRAIN_DEADLINE_MS } from '../pipeline/closed-loop.ts';
import { newOrder, PLENTY, randomOrder, stockUp, UNIFORM } from '../pipeline/orders.ts';
import { clock } from '../pipeline/service-host.ts';
import { startChain, type Chain } from '../pipeline/start-services.ts';
import { number, type Figure } from '../report/results.ts';

export interface LatencyRun {
  /** Orders per second. */
  readonly rate: number;
  readonly orders: number;
  /** From the intended time of an order to the answer of the intake. */
  readonly accept: Latencies;
  /** From the intended time of an order to the commit of its confirmation. */
  readonly confirmed: Latencies;
  readonly seconds: number;
  /** The chain was too slow for the rate, so that the run was cut short. */
  readonly saturated: boolean;
}

/** Calls back with the milliseconds from the intended time of each order to its confirmation. */
export class Confirmations {
  readonly #intendedAt = new Map<string, number>();
  /** The clock of the chain's threads, less that of this one. */
  readonly #offset = clock() - performance.now();

  constructor(chain: Chain, onConfirmed: (milliseconds: number) => void) {
    chain.onDone((step, orderIds, at) => {
      if (step !== 'settled') return;
      for (const orderId of orderIds) {
        const since = this.#intendedAt.get(orderId);
        if (since === undefined) continue;
        this.#intendedAt.delete(orderId);
        onConfirmed(at - since);
      }
    });
  }

  /** @param intended on the clock of `performance.now()` */
  expect(orderId: string, intended: number): void {
    this.#intendedAt.set(orderId, intended + this.#offset);
  }
}

/** Each order is sent at its time, however long the earlier ones take; latency counts from the intended time. */
async function measureLatency(chain: Chain, rate: number, seconds: number, random: () => number): Promise<LatencyRun> {
  const confirmed: number[] = [];
  const accepted: number[] = [];
  let orders = 0;
  let answered = 0;
  let fed = false;
  const all = Promise.withResolvers<void>();
  const confirmations = new Confirmations(chain, (milliseconds) => {
    confirmed.push(milliseconds);
    if (fed && confirmed.length === orders) all.resolve();
  });
  // The chain is too slow when the orders of half a second wait for their answers; the rest would only make a longer queue.
  const saturated = new AbortController();
  const deadline = setTimeout(() => {
    all.reject(new InvariantError(`${orders - confirmed.length} of ${orders} accepted orders were not confirmed`));
  }, seconds * 1000 + DRAIN_DEADLINE_MS);
  const start = performance.now();
  await openLoop(Array.from({ length: Math.round(rate * seconds) }), rate, async (_, intended) => {
    if (++orders - answered > rate / 2) saturated.abort();
    const order = newOrder(randomOrder(UNIFORM, random));
    confirmations.expect(order.orderId, intended);
    // An intake that gives up has been saturated for seconds.
    await chain.accept(order).catch((error: unknown) => saturated.abort(error));
    answered++;
    accepted.push(performance.now() - intended);
  }, saturated.signal);
  fed = true;
  if (confirmed.length < orders) await all.promise;
  clearTimeout(deadline);
  return {
    rate,
    orders,
    accept: latencies(accepted),
    confirmed: latencies(confirmed),
    seconds: (performance.now() - start) / 1000,
    saturated: saturated.signal.aborted,
  };
}

const RATES = [1_000, 5_000, 10_000];
const RUNS_PER_RATE = 3;

/** The run with the middle latency of each rate: a hiccup of the machine is not the latency of the system. */
export function middleRuns(runs: readonly LatencyRun[]): LatencyRun[] {
  return [...new Set(runs.map(({ rate }) => rate))].map((rate) => {
    const same = runs.filter((run) => run.rate === rate).sort((a, b) => a.confirmed.p50 - b.confirmed.p50);
    return same[Math.floor(same.length / 2)]!;
  });
}

function figureOf({ rate, saturated, confirmed }: LatencyRun): Figure {
  const measured = saturated ? 'saturated' : `p50 ${number(confirmed.p50)} ms, p99 ${number(confirmed.p99)} ms`;
  return { name: `accepted to confirmed at ${number(rate)} orders/s`, measured };
}

export const latencyRow: Row = {
  name: 'latency',
  title: 'Latency from accepted to confirmed in process, open loop',
  async run(context) {
    const database = await (await context.server()).database('bench_latency');
    const runs: LatencyRun[] = [];
    try {
      await stockUp(database.admin, UNIFORM.skus, PLENTY);
      const chain = await startChain(database.location);
      let orders = 0;
      try {
        orders += (await measureLatency(chain, 1_000, 1, context.random)).orders;
        const seconds = Math.max(1, (context.sliceMs * context.rounds) / 1000 / 2);
        for (const rate of RATES) {
          for (let i = 1; i <= RUNS_PER_RATE; i++) {
            context.progress(`latency at ${rate}/s, run ${i} of ${RUNS_PER_RATE}`);
            const run = await measureLatency(chain, rate, seconds, context.random);
            orders += run.orders;
            runs.push(run);
          }
        }
        await atRest(database.admin, orders);
      } finally {
        await chain.stop();
      }
      await assertDeducted(database.admin, orders);
    } finally {
      await database.drop();
    }
    return { figures: middleRuns(runs).map(figureOf), raw: { latency: runs } };
  },
};
