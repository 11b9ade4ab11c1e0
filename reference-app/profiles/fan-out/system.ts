import type { LocalRun } from 'cdk-local-run';
import { periodically, seconds } from 'cdk-local-run/cli/screen';
import type { Screen } from 'cdk-local-run/cli/screen';
import { detailTypeOf } from '../../services/shared/events/index.ts';
import type { FeedPlan, RunningSystem } from '../profile.ts';
import { openFanOut } from './fan-out.ts';
import type { FanOut, FanOutFeed } from './fan-out.ts';
import { examplesOf, printSummary } from './screen.ts';

const SAMPLES = 5;

/** The fan-out as `npm start` feeds and shows it. */
export async function openSystem(run: LocalRun): Promise<RunningSystem<FanOutFeed> | undefined> {
  const fanOut = await openFanOut(run);
  if (!fanOut) return undefined;
  return {
    feed: (plan, out, signal) => publish(fanOut, plan, out, signal),
    settle: async (signal, onProgress) => fanOut.settle({
      signal,
      onProgress: ({ waiting, parked, unsent }) => {
        onProgress(`${waiting} messages in queues, ${parked} events too early, ${unsent} notifications to send`);
      },
    }),
    check: async (fed, settled) => {
      const summary = await fanOut.summarize(fed, settled);
      return { ok: summary.ok, json: summary, print: (out) => printSummary(out, summary) };
    },
    examples: () => examplesOf(fanOut, run),
    close: () => fanOut.close(),
  };
}

async function publish(fanOut: FanOut, { orders = SAMPLES, rate, seed }: FeedPlan, out: Screen, signal: AbortSignal): Promise<FanOutFeed> {
  out.line(`${out.paint('bold', `${orders} orders`)}, ${rate} per second, seed ${seed}: each is created, updated and cancelled`);
  const started = performance.now();
  const passed = () => seconds(performance.now() - started);
  let published = 0;
  const end = periodically(out, () => `  ${published} of ${3 * orders} events published, ${passed()}`);
  try {
    return await fanOut.feed({
      orders,
      rate,
      seed,
      signal,
      onPublished: (event) => {
        published++;
        if (orders > SAMPLES) return;
        out.line(`  ${passed().padStart(6)}  ${detailTypeOf(event).padEnd(14)}  order ${event.subject}, version ${event.sequence}`);
      },
    });
  } finally {
    end();
  }
}
