import type { LocalRun } from 'cdk-local-run';
import { periodically, seconds } from 'cdk-local-run/cli/screen';
import type { Screen } from 'cdk-local-run/cli/screen';
import { feedApart } from '../../load/feed-thread.ts';
import type { FeedResult } from '../../load/feed.ts';
import { readSampleOrders } from '../../load/orders.ts';
import type { FeedPlan, OpenOptions, RunningSystem } from '../profile.ts';
import { FailoverDrill } from './failover.ts';
import { Journeys } from './journeys.ts';
import { openPipeline } from './pipeline.ts';
import type { Pipeline } from './pipeline.ts';
import { examplesOf, printSummary } from './screen.ts';

const JOURNEYS_MS = 60_000;
/** The share of the orders that are accepted before the failover. */
const FAILOVER_AFTER = 0.4;
const LOSS_STALL_MS = 20_000;

/** The order pipeline as `npm start` feeds and shows it. */
export async function openSystem(run: LocalRun, { fresh }: OpenOptions): Promise<RunningSystem<FeedResult> | undefined> {
  const pipeline = await openPipeline(run, fresh);
  if (!pipeline) return undefined;
  let drill: FailoverDrill | undefined;
  return {
    feed: async (plan, out, signal) => {
      if (plan.orders === undefined) return feedSamples(pipeline, plan, out, signal);
      if (plan.failover !== undefined) drill = new FailoverDrill(pipeline, plan.failover, Math.floor(plan.orders * FAILOVER_AFTER));
      const fed = await feedRandom(pipeline, plan, out, signal, drill);
      await drill?.recovered(signal);
      return fed;
    },
    settle: async (signal, onProgress) => pipeline.settle({
      signal,
      // An order whose last step is lost waits for it forever.
      ...(drill?.replication === 'asynchronous' && { stallMs: LOSS_STALL_MS }),
      onProgress: ({ open, unpublished, waiting }) => {
        onProgress(`${open} orders on their way, ${unpublished} events to publish, ${waiting} messages in queues`);
      },
    }),
    check: async (fed, settled) => {
      const summary = await pipeline.summarize(fed, settled, fed && await drill?.report(fed));
      return { ok: summary.ok, json: summary, print: (out) => printSummary(out, summary, fed) };
    },
    examples: (fed) => examplesOf(pipeline, fed?.accepted[0]?.orderId),
    close: () => pipeline.close(),
  };
}

async function feedSamples(
  { writeUrl, token, database }: Pipeline, { rate }: FeedPlan, out: Screen, signal: AbortSignal,
): Promise<FeedResult> {
  const samples = readSampleOrders();
  out.line(`${out.paint('bold', `${samples.length} sample orders`)} (times of the steps count from acceptance)`);
  const journeys = new Journeys(out, database);
  const fed = await feedApart({ url: writeUrl, token, rate }, signal, (order) => journeys.add(order));
  await journeys.settled(signal.aborted ? 0 : JOURNEYS_MS);
  for (const { reason, planned } of [...fed.refused, ...fed.unanswered]) {
    out.line(out.paint('red', `not accepted: ${JSON.stringify(planned.body)}: ${reason}`));
  }
  return fed;
}

async function feedRandom(
  { writeUrl, token }: Pipeline, plan: FeedPlan, out: Screen, signal: AbortSignal, drill: FailoverDrill | undefined,
): Promise<FeedResult> {
  const { orders: count = 0, rate, seed, onOrder } = plan;
  out.line(`${out.paint('bold', `${count} random orders`)} at ${rate} per second, seed ${seed}`);
  const started = performance.now();
  let accepted = 0;
  const end = periodically(out, () => `  ${accepted} of ${count} accepted, ${seconds(performance.now() - started)}`);
  try {
    return await feedApart({ url: writeUrl, token, rate, random: { count, seed } }, signal, () => {
      accepted++;
      onOrder?.();
      drill?.accepted();
    });
  } finally {
    end();
  }
}
