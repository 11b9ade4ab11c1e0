import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { compilePattern, matchesPattern } from 'cdk-local-run/eventbridge/pattern';
import type { Position, QueueContents, Subscription } from '../../invariants/invariants.ts';
import type { LocalRun } from 'cdk-local-run';

const RELAY = 'outbox-relay';

export interface Route extends Subscription {
  readonly pattern: string;
}

/** The ways of events to consumers, from the run's rules and queues: what the templates say, not what we know of them. */
export function routesOf(run: LocalRun): Route[] {
  const relay = run.workloads.find(({ name }) => name === RELAY)?.environment ?? {};
  const { EVENT_SOURCE: source = 'com.example.orders', EVENT_BUS_NAME: bus } = relay;
  return run.rules.filter(({ busName }) => bus === undefined || busName === bus || bus.endsWith(`/${busName}`)).flatMap((rule) => {
    const { EventPattern: text, State: state } = run.eventBridge.listRules(rule.busName).find(({ Name }) => Name === rule.name) ?? {};
    if (text === undefined || state === 'DISABLED') return [];
    const pattern = compilePattern(text);
    const envelope = { version: '0', id: '', account: run.account, region: run.region, time: '', resources: [], source };
    return rule.targetArns.flatMap((arn) => {
      const queue = run.queues.find((candidate) => candidate.arn === arn);
      if (!queue?.consumer) return [];
      return {
        rule: rule.name,
        queue: queue.name,
        consumer: queue.consumer,
        pattern: text,
        matches: (detailType: string, detail: object) => matchesPattern(pattern, { ...envelope, 'detail-type': detailType, detail }),
      };
    });
  });
}

/**
 * A rule knows nothing of the events before it was made or changed, and the data of earlier runs are kept. So the place in the outbox
 * where a consumer began to get what it gets now is kept too, beside the data.
 */
export function rememberBeginnings(dataDir: string, routes: readonly Route[], now: Position, fresh: boolean): Subscription[] {
  const file = join(dataDir, 'subscriptions.json');
  const known: Record<string, Beginning> = !fresh && existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : {};
  const begun = [...Map.groupBy(routes, ({ consumer }) => consumer)].map(([consumer, own]) => {
    const signature = JSON.stringify(own.map(({ rule, queue, pattern }) => [rule, queue, pattern]).sort());
    const before = known[consumer];
    return { consumer, own, routes: signature, since: before?.routes === signature ? before.since : now };
  });
  const beginnings = begun.map(({ consumer, routes: signature, since }): [string, Beginning] => [consumer, { routes: signature, since }]);
  writeFileSync(file, JSON.stringify(Object.fromEntries(beginnings)));
  return begun.flatMap(({ own, since }) => own.map((route) => ({ ...route, since })));
}

interface Beginning {
  readonly routes: string;
  readonly since: Position;
}

/** Looks into the queues of the subscriptions, and into the queues of their dead letters. */
export function inspectQueues(run: LocalRun): QueueContents {
  // A message that moves meanwhile is seen in both places or in the later one: queues before their dead-letter queues.
  const queues = run.queues.filter(({ deadLettersOf }) => deadLettersOf.length === 0);
  const queued = new Map(queues.map((queue) => [queue.name, queue.messages()]));
  const dead = new Map(run.queues.flatMap((queue) => queue.deadLettersOf.map((name) => [name, queue.messages()] as const)));
  return { queued, dead };
}

export function deadLetters(run: LocalRun): string[] {
  return run.queues.filter(({ deadLettersOf }) => deadLettersOf.length > 0).flatMap((queue) => queue.messages());
}

/** On their way to a consumer: in its queue, in its hands, or still to be delivered by the bus. */
export function messagesWaiting(run: LocalRun): number {
  const depths = run.queues.filter(({ deadLettersOf }) => deadLettersOf.length === 0).map((queue) => queue.depth());
  return depths.reduce((sum, { visible, inFlight, delayed }) => sum + visible + inFlight + delayed, 0) + run.eventBridge.counters().pending;
}
