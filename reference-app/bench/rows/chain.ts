import type pg from 'pg';
import type { Row } from '../context.ts';
import { startChain, startNaiveChain, type Chain, type ChainOptions } from '../chain.ts';
import { assertInvariants, InvariantError } from '../invariants.ts';
import { newOrder, PLENTY, randomOrder, stockUp, UNIFORM } from '../load.ts';
import { atLeast, number, perSecond, times } from '../report.ts';
import type { BenchDatabase } from '../server.ts';
import { processorPerOrder, ratesOf, ratios, type Variant } from '../slices.ts';
import { summarize } from '../statistics.ts';
import { openLoop, percentile } from '../../load/open-loop.ts';
import { clock } from '../stage-host.ts';
import type { Context } from '../context.ts';

const DRAIN_DEADLINE_MS = 60_000;

/** Keeps so many orders on their way from intake to deduction; counts those that came through. */
export function chainVariant(name: string, chain: Chain, inFlight: number, random: () => number): Variant & { accepted: () => number } {
  let accepted = 0;
  let deducted = 0;
  let progressed: () => void = () => {};
  let last = 0;
  chain.onDone((what, orderIds) => {
    if (what !== 'deducted') return;
    deducted += orderIds.length;
    last = performance.now();
    progressed();
  });
  return {
    name,
    accepted: () => accepted,
    async run(ms) {
      const start = performance.now();
      const before = deducted;
      let taking = 0;
      let failure: unknown;
      const done = Promise.withResolvers<void>();
      const feed = () => {
        if (failure !== undefined) return done.reject(failure as Error);
        if (performance.now() - start >= ms) {
          if (taking === 0 && deducted === accepted) done.resolve();
          return;
        }
        while (accepted - deducted + taking < inFlight) {
          taking++;
          chain.accept(newOrder(randomOrder(UNIFORM, random))).then(() => {
            accepted++;
          }, (error: unknown) => {
            failure = error;
          }).finally(() => {
            taking--;
            feed();
          });
        }
      };
      progressed = feed;
      const deadline = setTimeout(() => done.reject(new InvariantError(`${accepted - deducted} accepted orders were not deducted after a minute`)), ms + DRAIN_DEADLINE_MS);
      const tick = setInterval(feed, 5);
      feed();
      try {
        await done.promise;
      } finally {
        clearTimeout(deadline);
        clearInterval(tick);
        progressed = () => {};
      }
      // Filling and draining the stages is part of it, for all variants alike.
      return { count: deducted - before, seconds: (last - start) / 1000 };
    },
  };
}

/** The whole set of invariants, with every order confirmed and deducted; without those about events that have been forgotten. */
export async function assertChain(admin: pg.Pool, orders: number, forgotten = false): Promise<void> {
  await assertInvariants(admin, { orders: 'decided', published: true, forgotten }, {
    'orders': { sql: 'SELECT count(*) FROM orders.orders', value: orders },
    'confirmed orders': { sql: `SELECT count(*) FROM orders.orders WHERE status = 'CONFIRMED'`, value: orders },
    'deducted reservations': { sql: `SELECT count(*) FROM inventory.ledger WHERE type = 'COMMIT' AND line = 1`, value: orders },
    ...(!forgotten && { events: { sql: 'SELECT count(*) FROM messaging.outbox', value: orders * 5 } }),
  });
}

/** Waits until every order is deducted and everything is published: then the chain may be stopped and looked at. */
export async function atRest(admin: pg.Pool, orders: number): Promise<void> {
  const deadline = Date.now() + DRAIN_DEADLINE_MS;
  for (;;) {
    const { rows: [row] } = await admin.query<{ waiting: boolean }>(`
      SELECT EXISTS (SELECT FROM messaging.outbox o JOIN messaging.relay_cursor c ON c.shard = 0 WHERE (o.xid, o.id) > (c.xid, c.id))
          OR (SELECT count(*) FROM inventory.ledger WHERE type = 'COMMIT' AND line = 1) < $1 AS waiting`, [orders]);
    if (!row!.waiting) return;
    if (Date.now() > deadline) throw new InvariantError('not every order was deducted and published within a minute');
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function withStock<T>(context: Context, name: string, use: (database: BenchDatabase) => Promise<T>): Promise<T> {
  const database = await (await context.server()).database(name);
  try {
    await stockUp(database.admin, UNIFORM.skus, PLENTY);
    return await use(database);
  } finally {
    await database.drop();
  }
}

/** Orders on their way: enough to fill batches of all stages. */
const IN_FLIGHT = 2_000;

export const chainRow: Row = {
  name: 'chain',
  title: 'Whole chain of stages in process',
  // Chains of their own databases, so that one's relay does not read the other's outbox.
  run: (context) => withStock(context, 'bench_chain', (fast) => withStock(context, 'bench_chain_naive', (serial) => withStock(context, 'bench_chain_ways', async (ways) => {
    const chains: Chain[] = [];
    const start = async (chain: Promise<Chain>) => {
      chains.push(await chain);
      return chains.at(-1)!;
    };
    const stopAll = async () => {
      for (const chain of chains.splice(0)) await chain.stop();
    };
    try {
      const baseline = chainVariant('naive, a serial worker per stage', await start(startNaiveChain(serial.target, 1)), 32, context.random);
      const best = chainVariant('naive, 8 workers per stage', await start(startNaiveChain(ways.target, 8)), 128, context.random);
      const chain = chainVariant('the services', await start(startChain(fast.target)), IN_FLIGHT, context.random);
      // The first orders are slow for reasons of the process: modules, just-in-time compilation.
      await chain.run(500);
      const slices = await context.slices('whole chain', {
        baseline, variants: [best, chain], sliceMs: context.sliceMs * 2, meter: context.meter(await context.server()),
      });
      await Promise.all([atRest(fast.admin, chain.accepted()), atRest(serial.admin, baseline.accepted()), atRest(ways.admin, best.accepted())]);
      await stopAll();
      context.progress('chain  checking the invariants');
      await assertChain(fast.admin, chain.accepted());
      await assertChain(serial.admin, baseline.accepted());
      await assertChain(ways.admin, best.accepted());
      const over = summarize(ratios(slices, chain.name, baseline.name));
      const bestOver = summarize(ratios(slices, best.name, baseline.name));
      const rate = (name: string) => summarize(ratesOf(slices, name));
      const micros = processorPerOrder(slices, chain.name);
      return {
        figures: [{
          id: 'chain', name: 'whole chain of stages in process', naive: `${perSecond(rate(baseline.name))}; 8-way ${perSecond(rate(best.name))}`, value: over.median,
          text: `${times(over)}, ${perSecond(rate(chain.name))}; ${number(over.median / bestOver.median)}× the 8-way`, must: atLeast(60), stretch: atLeast(100),
          note: micros === undefined ? '' : `${number(micros)} µs of processor time per order for intake, 5 relayed events and 4 handlers, with the load`,
        }],
        raw: {}, slices,
        variants: [baseline, best, chain].map(({ name }) => ({
          row: 'whole chain', variant: name, rate: rate(name), ...(name !== baseline.name && { ratio: summarize(ratios(slices, name, baseline.name)) }),
          processorMicros: processorPerOrder(slices, name),
        })),
      };
    } finally {
      await stopAll();
    }
  }))),
};

export interface LatencyRun { readonly rate: number; readonly orders: number; readonly accept: Quantiles; readonly confirmed: Quantiles; readonly seconds: number; readonly saturated: boolean }
export interface Quantiles { readonly p50: number; readonly p90: number; readonly p99: number; readonly max: number }

export function quantiles(values: number[]): Quantiles {
  values.sort((a, b) => a - b);
  const at = (share: number) => percentile(values, share) ?? NaN;
  return { p50: at(0.5), p90: at(0.9), p99: at(0.99), max: at(1) };
}

/** Open loop: each order at its time whatever the earlier ones take, and latency from the intended time. */
export async function measureLatency(chain: Chain, rate: number, seconds: number, random: () => number): Promise<LatencyRun> {
  const intendedAt = new Map<string, number>();
  const confirmed: number[] = [];
  const accepted: number[] = [];
  const offered = Math.round(rate * seconds);
  let orders = 0;
  let answered = 0;
  let fed = false;
  const all = Promise.withResolvers<void>();
  let active = true;
  // Half a second's orders waiting for their answer: it can't keep up, and the rest would only make a longer line.
  const saturated = new AbortController();
  chain.onDone((what, orderIds, at) => {
    if (what !== 'settled' || !active) return;
    for (const orderId of orderIds) {
      const since = intendedAt.get(orderId);
      if (since === undefined) continue;
      intendedAt.delete(orderId);
      confirmed.push(at - since);
    }
    if (fed && confirmed.length === orders) all.resolve();
  });
  const offset = clock() - performance.now();
  const deadline = setTimeout(() => all.reject(new InvariantError(`${orders - confirmed.length} of ${orders} accepted orders were not confirmed`)), seconds * 1000 + DRAIN_DEADLINE_MS);
  const start = performance.now();
  await openLoop(range(offered), rate, async (_, intended) => {
    if (++orders - answered > rate / 2) saturated.abort();
    const order = newOrder(randomOrder(UNIFORM, random));
    intendedAt.set(order.orderId, intended + offset);
    // An intake that gives up has been saturated for seconds.
    await chain.accept(order).catch((error: unknown) => saturated.abort(error));
    answered++;
    accepted.push(performance.now() - intended);
  }, saturated.signal);
  fed = true;
  if (confirmed.length < orders) await all.promise;
  clearTimeout(deadline);
  active = false;
  return { rate, orders, accept: quantiles(accepted), confirmed: quantiles(confirmed), seconds: (performance.now() - start) / 1000, saturated: saturated.signal.aborted };
}

function* range(count: number): Generator<number> {
  for (let i = 0; i < count; i++) yield i;
}

const LATENCY_RATES = [1_000, 5_000, 10_000];

export const latencyRow: Row = {
  name: 'latency',
  title: 'Latency accept → confirmed in process, open loop',
  run: (context) => withStock(context, 'bench_latency', async (database) => {
    const chain = await startChain(database.target);
    const runs: LatencyRun[] = [];
    let orders = 0;
    try {
      orders += (await measureLatency(chain, 1_000, 1, context.random)).orders;
      const seconds = Math.max(1, (context.sliceMs * context.rounds) / 1000 / 2);
      for (const rate of LATENCY_RATES) {
        // Three in a row and the one in the middle: a hiccup of the machine is not the system's latency.
        for (let i = 0; i < 3; i++) {
          context.progress(`latency at ${rate}/s, run ${i + 1} of 3`);
          const run = await measureLatency(chain, rate, seconds, context.random);
          orders += run.orders;
          runs.push(run);
        }
      }
      await atRest(database.admin, orders);
    } finally {
      await chain.stop();
    }
    await assertChain(database.admin, orders);
    const middle = LATENCY_RATES.map((rate) => runs.filter((run) => run.rate === rate).sort((a, b) => a.confirmed.p50 - b.confirmed.p50)[1]!);
    const { confirmed, saturated } = middle.at(-1)!;
    const ms = (value: number) => `${number(value)} ms`;
    const said = (value: number) => (saturated ? 'saturated' : ms(value));
    return {
      figures: [{
        id: 'latency-p50', name: 'latency accept → confirmed, in process, 10,000/s, p50', naive: 'saturated', value: saturated ? Infinity : confirmed.p50, text: said(confirmed.p50),
        must: { at: 10, better: 'less', text: '≤ 10 ms' }, stretch: { at: 5, better: 'less', text: '≤ 5 ms' },
      }, {
        id: 'latency-p99', name: 'latency accept → confirmed, in process, 10,000/s, p99', naive: 'saturated', value: saturated ? Infinity : confirmed.p99, text: said(confirmed.p99),
        must: { at: 40, better: 'less', text: '≤ 40 ms' }, stretch: { at: 20, better: 'less', text: '≤ 20 ms' },
        note: middle.map((run) => run.saturated ? `${number(run.rate)}/s: saturated` : `${number(run.rate)}/s: accepted p50 ${ms(run.accept.p50)}, p99 ${ms(run.accept.p99)}; confirmed p50 ${ms(run.confirmed.p50)}, p99 ${ms(run.confirmed.p99)}`).join('; '),
      }],
      raw: { latency: runs },
    };
  }),
};

export type { ChainOptions };
