import type { LocalRun } from 'cdk-local-run';
import { compilePattern, matchesPattern } from 'cdk-local-run/eventbridge/pattern';
import type { QueueContents, Subscription } from '../invariants/invariants.ts';

const RELAY = 'outbox-relay';

/** The way of events to a consumer by one rule. */
export interface Route extends Subscription {
  readonly pattern: string;
}

/** The ways of events to consumers, from the run's rules and queues: the templates decide, not our knowledge of them. */
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

/** Looks into the queues of the subscriptions, and into the queues of their dead letters. */
export function inspectQueues(run: LocalRun): QueueContents {
  // A message that moves meanwhile is seen in both places or in the later one: queues before their dead-letter queues.
  const queues = run.queues.filter(({ deadLettersOf }) => deadLettersOf.length === 0);
  const queued = new Map(queues.map((queue) => [queue.name, queue.messages()]));
  const dead = new Map(run.queues.flatMap((queue) => queue.deadLettersOf.map((name) => [name, queue.messages()] as const)));
  return { queued, dead };
}

/** The bodies of all messages in dead-letter queues. */
export function deadLetters(run: LocalRun): string[] {
  return run.queues.filter(({ deadLettersOf }) => deadLettersOf.length > 0).flatMap((queue) => queue.messages());
}

/** The number of messages on their way to a consumer: in its queue, in its hands, or still to be delivered by the bus. */
export function messagesWaiting(run: LocalRun): number {
  const depths = run.queues.filter(({ deadLettersOf }) => deadLettersOf.length === 0).map((queue) => queue.depth());
  return depths.reduce((sum, { visible, inFlight, delayed }) => sum + visible + inFlight + delayed, 0) + run.eventBridge.counters().pending;
}
