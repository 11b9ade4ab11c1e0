import { openLoop } from '../../load/open-loop.ts';
import { latencies, median, type Latencies } from '../../load/statistics.ts';
import type { Context, Row } from '../context.ts';
import { InvariantError } from '../measure/assert-invariants.ts';
import { NO_BUNDLES } from '../pipeline/bundles.ts';
import { Chains, IN_FLIGHT, type RunningChain } from '../pipeline/chains.ts';
import { DRAIN_DEADLINE_MS } from '../pipeline/closed-loop.ts';
import { newOrder, randomOrder, UNIFORM } from '../pipeline/orders.ts';
import { clock } from '../pipeline/service-host.ts';
import { startChain, type Chain } from '../pipeline/start-services.ts';
import { number, type Figure } from '../report/results.ts';

interface LatencyRun {
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

/** The share of its saturation at which the latency of a design is measured; above it, queues grow by chance. */
export const SHARE = 0.7;
const RUNS = 3;
/** Slices for the saturation. */
const SLICES = 3;

/** The latency of one design. */
export interface DesignLatency {
  readonly design: string;
  /** Orders per second when the next order never waits. */
  readonly saturation: number;
  /** The run with the middle latency: a hiccup of the machine is not the latency of the design. */
  readonly run: LatencyRun;
}

/** Finds the saturation of a chain, and its latency at a share of it. */
async function latencyOf(context: Context, design: RunningChain): Promise<DesignLatency> {
  const { chain, name } = design;
  context.progress(`latency  ${name}: saturation`);
  const ms = context.sliceMs * 2;
  await design.run(ms);
  const rates: number[] = [];
  for (let i = 0; i < SLICES; i++) {
    const { count, seconds } = await design.run(ms);
    rates.push(count / seconds);
  }
  const saturation = median(rates);
  const rate = Math.max(1, Math.round(saturation * SHARE));
  const seconds = Math.max(1, (context.sliceMs * context.rounds) / 1000 / 2);
  const runs: LatencyRun[] = [];
  for (let i = 1; i <= RUNS; i++) {
    context.progress(`latency  ${name}: ${number(rate)}/s, run ${i} of ${RUNS}`);
    runs.push(await measureLatency(chain, rate, seconds, context.random));
  }
  runs.sort((a, b) => a.confirmed.p50 - b.confirmed.p50);
  return { design: name, saturation, run: runs[Math.floor(RUNS / 2)]! };
}

function figureOf({ design, saturation, run: { rate, saturated, confirmed } }: DesignLatency): Figure {
  const measured = saturated ? 'saturated' : `p50 ${number(confirmed.p50)} ms, p99 ${number(confirmed.p99)} ms`;
  return { name: `accepted to confirmed, ${design}, at ${number(rate)} of ${number(saturation)} orders/s`, measured };
}

export const latencyRow: Row = {
  name: 'latency',
  title: `Latency from accepted to confirmed in process, open loop, at ${SHARE * 100} % of saturation`,
  async run(context) {
    const chains = new Chains(context, 'latency');
    try {
      const latency: DesignLatency[] = [];
      const services = await chains.start('the services', IN_FLIGHT, ({ location }) => startChain(location));
      latency.push(await latencyOf(context, services));
      const single = await chains.start('the services, a message per event', IN_FLIGHT, ({ location }) => startChain(location, { bundles: NO_BUNDLES }));
      latency.push(await latencyOf(context, single));
      latency.push(await latencyOf(context, await chains.bestNaive()));
      context.progress('latency  checking the invariants');
      await chains.assertDeducted();
      return { figures: latency.map(figureOf), raw: { latency } };
    } finally {
      await chains.close();
    }
  },
};
