import { detailTypeOf } from '../../services/shared/events/index.ts';
import type { LocalRun } from 'cdk-local-run';
import type { FanOut, FanOutFeed, FanOutSummary } from './fan-out.ts';
import type { CliOptions } from '../../start/options.ts';
import { periodically, seconds } from 'cdk-local-run/cli/screen';
import type { Screen } from 'cdk-local-run/cli/screen';

const SAMPLES = 5;
const SAMPLE_RATE = 2;
const RATE = 100;
const INTERRUPTED = 130;

/** Publishes, waits until all is done and says what became of it; the exit code. */
export async function feedAndShowFanOut(fanOut: FanOut, run: LocalRun, options: CliOptions, out: Screen, signal: AbortSignal): Promise<number> {
  if (options.orders === 0) {
    if (!options.exit) printCommands(out, fanOut, run);
    return 0;
  }
  const feed = await publish(fanOut, options, out, signal);
  const settled = !signal.aborted && await settle(fanOut, out, signal);
  if (signal.aborted) return INTERRUPTED;
  const summary = await fanOut.summarize(feed, settled);
  out.line();
  printSummary(out, summary);
  if (options.json) process.stdout.write(`${JSON.stringify(summary)}\n`);
  if (!options.exit) printCommands(out, fanOut, run);
  return summary.ok ? 0 : 1;
}

async function publish(fanOut: FanOut, options: CliOptions, out: Screen, signal: AbortSignal): Promise<FanOutFeed> {
  const { orders = SAMPLES, rate = options.orders === undefined ? SAMPLE_RATE : RATE, seed } = options;
  out.line(out.paint('bold', `${orders} orders`) + `, ${rate} per second, seed ${seed}: each is created, updated and cancelled`);
  const started = performance.now();
  let published = 0;
  const end = periodically(out, () => `  ${published} of ${3 * orders} events published, ${seconds(performance.now() - started)}`);
  try {
    return await fanOut.feed({
      orders, rate, seed, signal,
      onPublished: (event) => {
        published++;
        if (orders <= SAMPLES) out.line(`  ${seconds(performance.now() - started).padStart(6)}  ${detailTypeOf(event).padEnd(14)}  order ${event.subject}, version ${event.sequence}`);
      },
    });
  } finally {
    end();
  }
}

async function settle(fanOut: FanOut, out: Screen, signal: AbortSignal): Promise<boolean> {
  let text = '';
  const end = periodically(out, () => text);
  try {
    return await fanOut.settle({
      signal,
      onProgress: ({ waiting, parked, unsent }) => {
        text = `  ${waiting} messages in queues, ${parked} events too early, ${unsent} notifications to send`;
      },
    });
  } finally {
    end();
  }
}

function printSummary(out: Screen, { publisher, consumers, restarts, settled, checks }: FanOutSummary): void {
  const { published, duplicates, retries, failed, interrupted } = publisher;
  out.line(out.paint('bold', 'Published'));
  out.line(`  ${Object.entries(published).map(([type, count]) => `${count} ${type}`).join(', ')}; ${duplicates} of them twice${retries > 0 ? `; ${retries} entries tried again` : ''}`);
  if (failed.length > 0) out.line(`  ${out.paint('red', `${failed.length} orders have an event that was not published`)}: ${failed[0]!.error}`);
  if (interrupted > 0) out.line(`  ${interrupted} orders have no end`);
  out.line();
  const columns = ['received', 'handled', 'duplicates', 'early', 'dead letters'] as const;
  const width = Math.max(...consumers.map(({ name }) => name.length));
  out.line(out.paint('bold', 'Consumers'.padEnd(width + 2)) + columns.map((title) => title.padStart(14)).join(''));
  for (const { name, received, handled, duplicates: copies, early, deadLetters } of consumers) {
    out.line(`  ${name.padEnd(width)}${[received, handled, copies, early, deadLetters].map((count) => String(count).padStart(14)).join('')}`);
  }
  if (restarts > 0) out.line(`  ${restarts} processes restarted`);
  out.line();
  out.line(out.paint('bold', 'Checks'));
  for (const { id, title, ok, checked, violations } of checks) {
    out.line(`  ${ok ? out.paint('green', '✓') : out.paint('red', '✗')} ${id.padEnd(13)} ${title.padEnd(58)} ${out.paint('dim', String(checked))}`);
    for (const violation of violations.slice(0, 5)) out.line(`      ${out.paint('red', violation)}`);
    if (violations.length > 5) out.line(`      ${out.paint('red', `and ${violations.length - 5} more`)}`);
  }
  if (!settled) out.line(`${out.paint('red', '✗')} something is still on its way and nothing has moved for a while; the log files may say why`);
}

/** Lines to paste, in another terminal. */
function printCommands(out: Screen, { busName }: FanOut, run: LocalRun): void {
  const publisher = `npm run publisher -- --bus ${busName} --endpoint ${run.endpoints.eventbridge}`;
  out.line();
  out.line(out.paint('bold', 'Try'));
  for (const [title, line] of [
    ['one more order', publisher],
    ['many, with every event twice', `${publisher} --orders 200 --rate 50 --duplicates 1`],
  ]) {
    out.line(out.paint('dim', `  # ${title}`));
    out.line(`  ${line}`);
  }
}
