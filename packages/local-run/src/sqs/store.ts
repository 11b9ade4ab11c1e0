import { letsIn } from './attributes.ts';
import type { Attributes } from './attributes.ts';
import { noSuchQueue, SqsError } from './errors.ts';
import type { QueueJournal } from './journal.ts';
import { allowsSend } from './policy.ts';
import type { Caller } from './policy.ts';
import { Queue } from './queue.ts';
import type { QueueHost } from './queue.ts';

export interface StoreOptions {
  readonly journal: QueueJournal;
  readonly clock: () => number;
  readonly region: string;
  /** The account of queues that the API makes. */
  readonly account: string;
  readonly gatheringMs?: number | undefined;
  readonly maxInFlight: number;
}

const TICK_MS = 20;

/** The queues of one endpoint. */
export class QueueStore implements QueueHost {
  readonly journal: QueueJournal;
  readonly clock: () => number;
  readonly gatheringMs: number | undefined;
  readonly maxInFlight: number;
  readonly region: string;
  account: string;
  /** The address of the endpoint, known when it listens. */
  url = '';
  readonly #queues = new Map<string, Queue>();
  readonly #byArn = new Map<string, Queue>();
  /** Those that the API has made, which are written down. */
  readonly #ofApi = new Set<Queue>();
  /** The answers of the policy of each queue. */
  readonly #allowed = new WeakMap<Queue, Map<string, boolean>>();
  readonly #timer: NodeJS.Timeout;

  constructor({ journal, clock, region, account, gatheringMs, maxInFlight }: StoreOptions) {
    this.journal = journal;
    this.clock = clock;
    this.region = region;
    this.account = account;
    this.gatheringMs = gatheringMs;
    this.maxInFlight = maxInFlight;
    // Who waits is woken by what comes back or is delayed no longer.
    this.#timer = setInterval(() => {
      for (const queue of this.#queues.values()) if (queue.polls.waiting > 0) queue.tick();
    }, TICK_MS);
    this.#timer.unref();
  }

  stop(): void {
    clearInterval(this.#timer);
    for (const queue of this.#queues.values()) queue.polls.close();
  }

  queueUrl(name: string, account = this.account): string {
    return `${this.url}/${account}/${name}`;
  }

  arn(name: string, account = this.account): string {
    return `arn:aws:sqs:${this.region}:${account}:${name}`;
  }

  all(): Iterable<Queue> {
    return this.#queues.values();
  }

  named(name: string): Queue | undefined {
    return this.#queues.get(name);
  }

  withArn(arn: string): Queue | undefined {
    return this.#byArn.get(arn);
  }

  /**
   * The queue of a URL; its host does not count, since a queue has the same name at each of them.
   *
   * @throws SqsError if it is no URL of a queue, or there is no such queue
   */
  withUrl(url: string): Queue {
    const [, account, name] = /^(?:https?:\/\/[^/]+)?\/(\d{12})\/([^/]+)\/?$/.exec(url) ?? [];
    if (account === undefined || name === undefined) throw new SqsError('InvalidAddress', `The address ${url} is not valid for this endpoint.`);
    const queue = this.#queues.get(name);
    if (!queue || queue.account !== account) throw noSuchQueue();
    return queue;
  }

  /** Makes a queue, or one with new attributes in its place, and puts back into it what an earlier run left. */
  create(name: string, attributes: Attributes, place: { arn?: string; account?: string } = {}): Queue {
    const { arn = this.arn(name), account = this.account } = place;
    const former = this.#queues.get(name);
    if (former) this.#close(former);
    const queue = new Queue({ name, arn, account, url: this.queueUrl(name, account) }, attributes, this);
    this.#queues.set(name, queue);
    this.#byArn.set(arn, queue);
    return queue;
  }

  /** From now on the queue is made at every start. */
  keep(queue: Queue): void {
    this.#ofApi.add(queue);
    this.changed(queue);
  }

  /** Makes the queues that the API had made in earlier runs. */
  restore(): void {
    for (const { name, account, attributes, tags } of this.journal.savedQueues()) {
      const queue = this.create(name, attributes, { arn: this.arn(name, account), account });
      for (const [key, value] of Object.entries(tags)) queue.tags.set(key, value);
      this.#ofApi.add(queue);
    }
  }

  /** Attributes or tags of a queue have changed. */
  changed(queue: Queue): void {
    this.#allowed.delete(queue);
    if (!this.#ofApi.has(queue)) return;
    const { name, account, attributes, tags } = queue;
    this.journal.saveQueue({ name, account, attributes, tags: Object.fromEntries(tags) });
  }

  delete(queue: Queue): void {
    queue.purge();
    this.journal.forgetQueue(queue.name);
    this.#close(queue);
  }

  #close(queue: Queue): void {
    this.#queues.delete(queue.name);
    this.#byArn.delete(queue.arn);
    this.#ofApi.delete(queue);
    queue.polls.close();
  }

  deadLetterQueueOf(queue: Queue): Queue | undefined {
    const dead = this.#byArn.get(queue.deadLetterArn ?? '');
    return dead && dead !== queue && dead.isFifo === queue.isFifo && letsIn(dead, queue.arn) ? dead : undefined;
  }

  /** The queues whose dead letters come to this one. */
  sourcesOf(dead: Queue): Queue[] {
    return [...this.#queues.values()].filter(({ deadLetterArn }) => deadLetterArn === dead.arn);
  }

  /** Whether the policy of a queue lets a service of AWS send to it. */
  allows(queue: Queue, caller: Caller): boolean {
    let answers = this.#allowed.get(queue);
    if (!answers) this.#allowed.set(queue, answers = new Map());
    const key = `${caller.service} ${caller.sourceArn} ${caller.sourceAccount} ${caller.byRole}`;
    let allowed = answers.get(key);
    if (allowed === undefined) answers.set(key, allowed = allowsSend(statementsOf(queue), queue.arn, caller));
    return allowed;
  }
}

export interface Policy {
  readonly Version?: string;
  readonly Id?: string;
  readonly Statement?: unknown;
}

export function policyOf({ attributes: { Policy: text } }: Queue): Policy {
  return text ? JSON.parse(text) as Policy : {};
}

export function statementsOf(queue: Queue): unknown[] {
  const { Statement = [] } = policyOf(queue);
  return Array.isArray(Statement) ? Statement : [Statement];
}
