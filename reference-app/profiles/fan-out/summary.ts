import type { LocalWorkload } from 'cdk-local-run';
import type { QueueContents } from '../../invariants/invariants.ts';
import { deadLetters, inspectQueues } from '../queues.ts';
import type { Route } from '../queues.ts';
import { checkFed, expectedOf, handledBy, orderIdsOf } from './checks.ts';
import type { CheckInput, FanOutCheck } from './checks.ts';
import type { FanOutFeed } from './fan-out.ts';
import { checkKept } from './kept.ts';
import type { PublisherReport } from './publisher/publish.ts';

export interface ConsumerSummary {
  readonly name: string;
  readonly queue: string;
  /** The number of messages that the bus delivered since the start, copies and strangers too. */
  readonly received: number;
  /** The published events that are for it by its rules. */
  readonly expected: number;
  /** Those of them that it has applied. */
  readonly handled: number;
  /** Copies that changed nothing, since the process started. */
  readonly duplicates: number;
  /** The events of orders that came before their turn. */
  readonly early: number;
  readonly deadLetters: number;
}

export interface FanOutSummary {
  /** @default - no orders were fed */
  readonly publisher?: PublisherReport;
  readonly consumers: readonly ConsumerSummary[];
  readonly restarts: number;
  readonly settled: boolean;
  readonly checks: readonly FanOutCheck[];
  readonly ok: boolean;
}

export interface SummaryInput extends CheckInput {
  /** @default - no orders were fed */
  readonly feed: FanOutFeed | undefined;
  readonly settled: boolean;
}

const EARLY = 'SELECT count(*)::int AS early FROM messaging.parked WHERE consumer = $1 AND order_id = ANY ($2::uuid[])';

/** Compares the published events with the state of the consumers, or without published events the consumers' data with each other. */
export async function summarize(input: SummaryInput): Promise<FanOutSummary> {
  const { run, routes, feed, settled } = input;
  const contents = inspectQueues(run);
  const consumers: ConsumerSummary[] = [];
  for (const route of routes) consumers.push(await summarizeConsumer(input, route, contents));
  const checks = feed ? await checkFed(input, feed, contents) : await checkKept(input.database, routes.length, deadLetters(run));
  const published = feed === undefined || (feed.report.failed.length === 0 && feed.report.interrupted === 0);
  return {
    ...(feed && { publisher: feed.report }),
    consumers,
    restarts: run.workloads.reduce((sum, workload) => sum + workload.restarts(), 0),
    settled,
    checks,
    ok: settled && published && checks.every(({ ok }) => ok),
  };
}

async function summarizeConsumer({ run, database, feed }: SummaryInput, route: Route, { dead }: QueueContents): Promise<ConsumerSummary> {
  const { consumer, queue } = route;
  const events = feed?.events ?? [];
  const expected = expectedOf(route, events);
  const { rows: [parked] } = await database.query<{ early: number }>(EARLY, [consumer, orderIdsOf(events)]);
  const arns = run.queues.filter(({ name }) => name === queue).map(({ arn }) => arn);
  const deliveries = run.eventBridge.deliveries().filter(({ targetArn }) => arns.includes(targetArn));
  return {
    name: consumer,
    queue,
    received: deliveries.reduce((sum, { delivered }) => sum + delivered, 0),
    expected: expected.length,
    handled: (await handledBy(database, consumer, expected)).size,
    duplicates: await duplicatesOf(run.workloads.find(({ name }) => name === consumer)),
    early: parked!.early,
    deadLetters: dead.get(queue)?.length ?? 0,
  };
}

/** The number of copies, by the metrics of its processes. */
async function duplicatesOf(workload: LocalWorkload | undefined): Promise<number> {
  const counts = await Promise.all((workload?.processUrls() ?? []).map(async (url) => {
    const metrics = await fetch(`${url}/metrics`).then((answer) => answer.text(), () => '');
    const counters = metrics.matchAll(/^events_consumed_total\{[^}]*result="duplicate"[^}]*\} (\d+)/gm);
    return [...counters].reduce((sum, [, count]) => sum + Number(count), 0);
  }));
  return counts.reduce((sum, count) => sum + count, 0);
}
