import { setTimeout as sleep } from 'node:timers/promises';
import type { FastifyInstance } from 'fastify';
import { isGone } from './open-polls.ts';

/** What long polls are to a fauxqs queue. */
export interface PolledQueue {
  readonly name: string;
  readonly messages: readonly unknown[];
  readonly pollWaiters: { readonly timer: NodeJS.Timeout; resolve(): void }[];
  notifyWaiters(): void;
}

/** SQS itself takes as long for an answer. */
const GATHERING_MS = 10;
const MOST_AT_ONCE = 10;

/**
 * A call costs the consumer and this endpoint more than its messages do, so who can wait does not get them one by one: while many
 * come, a long poll ends with ten messages or after a moment. A message that comes alone is not held up.
 *
 * fauxqs wakes every long poll for every message, and all but one go away with nothing and ask again. Here as many are woken as there
 * are messages for.
 */
export class Gathering {
  readonly #ms: number;
  readonly #polls = new Map<string, LongPolls>();

  /** `ms`: for how long a queue that has just given messages away gathers more. */
  constructor(app: FastifyInstance, ms = GATHERING_MS) {
    this.#ms = ms;
    app.addHook('preHandler', async (request, reply) => {
      if (request.headers['x-amz-target'] !== 'AmazonSQS.ReceiveMessage') return;
      const { QueueUrl = '', MaxNumberOfMessages = 1, WaitTimeSeconds = 0 } = request.body as {
        QueueUrl?: string; MaxNumberOfMessages?: number; WaitTimeSeconds?: number;
      };
      if (WaitTimeSeconds > 0) await this.#polls.get(QueueUrl.split('/').at(-1) ?? '')?.receive(MaxNumberOfMessages);
      // Its client went away meanwhile; the messages are for somebody else.
      if (isGone(request.raw.socket)) reply.hijack();
    });
  }

  attach(queue: PolledQueue): void {
    this.#polls.set(queue.name, new LongPolls(queue, this.#ms));
  }
}

class LongPolls {
  readonly #queue: PolledQueue;
  readonly #ms: number;
  #gatheringUntil = 0;
  #timer: NodeJS.Timeout | undefined;
  #scheduled = false;

  constructor(queue: PolledQueue, ms: number) {
    this.#queue = queue;
    this.#ms = ms;
    queue.notifyWaiters = () => {
      const wait = this.#wait(MOST_AT_ONCE);
      if (wait > 0) this.#timer ??= setTimeout(() => this.#wake(), wait);
      else this.#wakeAfterThisTurn();
    };
  }

  async receive(most: number): Promise<void> {
    const wait = this.#wait(most);
    if (wait > 0 && this.#queue.messages.length > 0) await sleep(wait);
    if (this.#queue.messages.length > 0) this.#gave();
  }

  #wait(most: number): number {
    return this.#queue.messages.length >= most ? 0 : this.#gatheringUntil - performance.now();
  }

  #gave(): void {
    this.#gatheringUntil = performance.now() + this.#ms;
  }

  #wakeAfterThisTurn(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#wake();
    });
  }

  #wake(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const { messages, pollWaiters } = this.#queue;
    const woken = pollWaiters.splice(0, Math.ceil(messages.length / MOST_AT_ONCE));
    if (woken.length > 0) this.#gave();
    for (const waiter of woken) {
      clearTimeout(waiter.timer);
      waiter.resolve();
    }
  }
}
