import { join } from 'node:path';
import { serveLocally } from '../http/server.ts';
import type { LocalServer } from '../http/server.ts';
import type { Log } from '../log.ts';
import { portError } from '../processes/ports.ts';
import { DeliveryError } from '../service.ts';
import type { DeliveryOptions } from '../service.ts';
import { QueueJournal } from './journal.ts';
import { sizeOf } from './message.ts';
import type { MessageAttribute } from './message.ts';
import { MoveTasks } from './move-tasks.ts';
import type { Caller } from './policy.ts';
import type { Queue } from './queue.ts';
import { send } from './sending.ts';
import { handleSqs } from './server.ts';
import { policyOf, QueueStore, statementsOf } from './store.ts';

export interface SqsEndpointOptions {
  /** The journal of the queues is in the folder `sqs` of this one. */
  readonly dataDir: string;
  readonly region: string;
  /** The account of queues that the API makes. @default '000000000000' */
  readonly account?: string;
  /** @default 0, the system picks one */
  readonly port?: number;
  readonly log?: Log;
  /** The time for which a queue that has just given messages away gathers more. @default 10 */
  readonly gatheringMs?: number;
  /** Milliseconds since 1970. @default Date.now */
  readonly clock?: () => number;
  /** The most messages of a queue in flight. @default 120000, as in AWS */
  readonly maxInFlight?: number;
}

export interface QueueDefinition {
  readonly name: string;
  readonly arn: string;
  /** The attributes as `SetQueueAttributes` takes them. */
  readonly attributes: Readonly<Record<string, string>>;
}

export interface QueueDepth {
  readonly visible: number;
  readonly inFlight: number;
  readonly delayed: number;
}

const DEFAULT_ACCOUNT = '000000000000';
const MAX_IN_FLIGHT = 120_000;
/** A request may have 1 MiB of messages, and JSON and forms may make three times as much of it. */
const MAX_BODY_BYTES = 8 * 1024 * 1024;

/** SQS on one machine: its API on 127.0.0.1, with queues in memory and a journal on disk. */
export class SqsEndpoint {
  /** @throws PortTakenError if something else listens on the port */
  static async start(options: SqsEndpointOptions): Promise<SqsEndpoint> {
    const { dataDir, region, account = DEFAULT_ACCOUNT, port = 0, log = () => undefined, gatheringMs, clock = () => Date.now() } = options;
    const { maxInFlight = MAX_IN_FLIGHT } = options;
    const journal = new QueueJournal(join(dataDir, 'sqs'));
    const store = new QueueStore({ journal, clock, region, account, gatheringMs, maxInFlight });
    const moveTasks = new MoveTasks(store);
    let server: LocalServer | undefined;
    try {
      server = await serveLocally({
        service: 'SQS',
        port,
        log,
        protocols: ['json', 'query'],
        maxBodyBytes: MAX_BODY_BYTES,
        handle: (request, requestId) => handleSqs(request, requestId, { store, moveTasks }, log),
      });
      store.url = server.url;
      store.restore();
      for (const queue of store.all()) moveTasks.resume(queue);
      return new SqsEndpoint(store, moveTasks, server);
    } catch (error) {
      store.stop();
      await server?.close();
      journal.close();
      throw portError(error, 'sqs', port);
    }
  }

  readonly #store: QueueStore;
  readonly #moveTasks: MoveTasks;
  readonly #server: LocalServer;
  #stopped: Promise<void> | undefined;

  private constructor(store: QueueStore, moveTasks: MoveTasks, server: LocalServer) {
    this.#store = store;
    this.#moveTasks = moveTasks;
    this.#server = server;
  }

  get url(): string {
    return this.#server.url;
  }

  /** A full URL on 127.0.0.1, since SDKs take the host from it. */
  queueUrl(name: string, account: string): string {
    return this.#store.queueUrl(name, account);
  }

  /** Makes the queue with these attributes, and puts back into it what an earlier run left. */
  createQueue({ name, arn, attributes }: QueueDefinition, account: string): void {
    this.#moveTasks.resume(this.#store.create(name, attributes, { arn, account }));
  }

  /** Adds statements to the policies of queues; a name that no queue has is passed over. */
  addPolicy(queueNames: readonly string[], statements: readonly unknown[]): void {
    for (const name of queueNames) {
      const queue = this.#store.named(name);
      if (!queue) continue;
      queue.setAttributes({ Policy: JSON.stringify({ Version: '2012-10-17', ...policyOf(queue), Statement: [...statementsOf(queue), ...statements] }) });
      this.#store.changed(queue);
    }
  }

  /** Queues of earlier runs that nobody makes any more, and that still hold messages. */
  orphans(): { queue: string; messages: number }[] {
    return this.#store.journal.queues().filter(({ queue }) => !this.#store.named(queue));
  }

  /**
   * Puts a message into a queue as a service of AWS does: only if the queue's policy lets it.
   *
   * @throws DeliveryError if the queue does not take it
   */
  deliver(queueArn: string, body: string, caller: Caller, options: DeliveryOptions = {}): void {
    const queue = this.#store.withArn(queueArn);
    if (!queue) throw new DeliveryError('NO_RESOURCE', `There is no queue ${queueArn}.`);
    if (!this.#store.allows(queue, caller)) {
      throw new DeliveryError('NO_PERMISSIONS', `The policy of queue ${queue.name} does not let ${caller.service} send for ${caller.sourceArn}.`);
    }
    const { messageGroupId, messageDeduplicationId } = options;
    const message = { body, messageAttributes: typedAttributes(options.messageAttributes), messageGroupId, messageDeduplicationId };
    const size = sizeOf(message);
    const { maximumMessageSize } = queue.numbers;
    if (size > maximumMessageSize) {
      throw new DeliveryError('MESSAGE_TOO_LARGE', `The event has ${size} bytes, queue ${queue.name} takes ${maximumMessageSize}.`);
    }
    if (queue.isFifo) checkFifoDelivery(queue, options);
    send(queue, message, this.#store.clock());
  }

  /** Ends when everything that was delivered is written down. */
  written(): Promise<void> {
    return this.#store.journal.committed();
  }

  depth(name: string): QueueDepth {
    return this.#store.named(name)?.depth() ?? { visible: 0, inFlight: 0, delayed: 0 };
  }

  /** Bodies of all messages: waiting, delayed and in flight, without receiving any. */
  bodies(name: string): string[] {
    return [...this.#store.named(name)?.messages() ?? []].map(({ body }) => body);
  }

  /** The number of consumers that wait for a message in a long poll. */
  waiting(name: string): number {
    return this.#store.named(name)?.polls.waiting ?? 0;
  }

  /** Ends the receives that wait, answers what has come in, and closes the journal. */
  stop(): Promise<void> {
    return this.#stopped ??= this.#stop();
  }

  async #stop(): Promise<void> {
    this.#moveTasks.stop();
    this.#store.stop();
    await this.#server.close();
    this.#store.journal.close();
  }
}

function typedAttributes(values: DeliveryOptions['messageAttributes'] = {}): Record<string, MessageAttribute> | undefined {
  const entries = Object.entries(values);
  const typed = (value: string | MessageAttribute) => (typeof value === 'string' ? { DataType: 'String', StringValue: value } : value);
  return entries.length === 0 ? undefined : Object.fromEntries(entries.map(([name, value]) => [name, typed(value)]));
}

function checkFifoDelivery(queue: Queue, { messageGroupId, messageDeduplicationId }: DeliveryOptions): void {
  if (messageGroupId === undefined) {
    throw new DeliveryError('INVALID_PARAMETER', `The target has no MessageGroupId, which the FIFO queue ${queue.name} demands.`);
  }
  if (messageDeduplicationId === undefined && queue.attributes.ContentBasedDeduplication !== 'true') {
    throw new DeliveryError('INVALID_PARAMETER', `The FIFO queue ${queue.name} has no ContentBasedDeduplication, which a target of EventBridge needs.`);
  }
}
