import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import type { FastifyInstance } from 'fastify';
import { LOOPBACK, portError } from '../processes/ports.ts';
import { FairQueues, receiveGroupsInBatches, rememberDuplicates } from './fifo.ts';
import type { FifoQueue } from './fifo.ts';
import { Gathering } from './gathering.ts';
import type { PolledQueue } from './gathering.ts';
import { QueueJournal } from './journal.ts';
import type { QueueMessage } from './journal.ts';
import { isGone, OpenPolls } from './open-polls.ts';
import type { WaitingQueue } from './open-polls.ts';
import { allowsSend } from './policy.ts';
import type { Caller } from './policy.ts';
import { DeliveryError } from '../service.ts';
import { Redrive } from './redrive.ts';
import type { MovableQueue } from './redrive.ts';

interface FauxqsQueue extends MovableQueue, FifoQueue, PolledQueue, WaitingQueue {
  readonly name: string;
  readonly url: string;
  readonly arn: string;
  attributes: Record<string, string>;
  messages: QueueMessage[];
  delayedMessages: QueueMessage[];
  fifoMessages: Map<string, QueueMessage[]>;
  fifoDelayed: Map<string, QueueMessage[]>;
  fifoLockedGroups: Map<string, number>;
  inflightMessages: Map<string, { message: QueueMessage; receiptHandle: string; visibilityDeadline: number }>;
  sequenceCounter: number;
  enqueue(message: QueueMessage): void;
  changeVisibility(receiptHandle: string, seconds: number): void;
  getAttribute(name: string): string | undefined;
  processTimers(): void;
  nextSequenceNumber(): string;
}

interface FauxqsStore {
  persistence?: QueueJournal;
  createQueue(name: string, url: string, arn: string, attributes: Record<string, string>): FauxqsQueue;
  getQueueByArn(arn: string): FauxqsQueue | undefined;
  getQueueByName(name: string): FauxqsQueue | undefined;
  allQueues(): Iterable<FauxqsQueue>;
}

interface FauxqsStoreClass {
  new(): FauxqsStore;
  createMessage(
    body: string, attributes?: Record<string, { DataType: string; StringValue?: string }>, delaySeconds?: number, groupId?: string, deduplicationId?: string,
  ): QueueMessage & { sequenceNumber?: string };
  contentBasedDeduplicationId(body: string): string;
}

export interface QueueDefinition {
  readonly name: string;
  readonly arn: string;
  /** As `SetQueueAttributes` takes them. */
  readonly attributes: Record<string, string>;
}

export interface QueueDepth {
  readonly visible: number;
  readonly inFlight: number;
  readonly delayed: number;
}

/**
 * The SQS endpoint: fauxqs in this process. Its `startFauxqs` would listen on all interfaces and keep its store to itself, so
 * the app is built and listened to here, and the store class, which its package entry does not export, is imported from
 * beside it. fauxqs is therefore pinned to the version that this was written against.
 */
export class SqsEndpoint {
  readonly #store: FauxqsStore;
  readonly #storeClass: FauxqsStoreClass;
  readonly #app: FastifyInstance;
  readonly #journal: QueueJournal;
  readonly #redrive: Redrive;
  readonly #fairQueues: FairQueues;
  readonly #gathering: Gathering;
  readonly #openPolls: OpenPolls;
  readonly #policies = new Map<string, unknown[]>();
  /** What the policies say: queue, service, source → whether it may send. */
  readonly #allowed = new Map<string, boolean>();
  readonly url: string;

  private constructor(
    store: FauxqsStore, storeClass: FauxqsStoreClass, app: FastifyInstance, journal: QueueJournal, redrive: Redrive, fairQueues: FairQueues,
    gathering: Gathering, openPolls: OpenPolls, url: string,
  ) {
    this.#store = store;
    this.#storeClass = storeClass;
    this.#app = app;
    this.#journal = journal;
    this.#redrive = redrive;
    this.#fairQueues = fairQueues;
    this.#gathering = gathering;
    this.#openPolls = openPolls;
    this.url = url;
  }

  static async start(options: { dataDir: string; port?: number; region: string; gatheringMs?: number }): Promise<SqsEndpoint> {
    const entry = fileURLToPath(import.meta.resolve('fauxqs'));
    const { buildApp } = await import('fauxqs') as unknown as { buildApp(options: object): FastifyInstance };
    const { SqsStore } = await import(pathToFileURL(join(dirname(entry), 'sqs', 'sqsStore.js')).href) as { SqsStore: FauxqsStoreClass };
    const store = new SqsStore();
    const app = buildApp({ logger: false, defaultRegion: options.region, stores: { sqsStore: store } });
    const journal = new QueueJournal(join(options.dataDir, 'sqs'));
    app.addHook('onSend', async (_request, _reply, payload) => {
      await journal.committed();
      return payload;
    });
    giveBackUndelivered(app, store);
    const redrive = new Redrive(app, store, journal, SqsStore.createMessage);
    const fairQueues = new FairQueues(app);
    const gathering = new Gathering(app, options.gatheringMs);
    const openPolls = new OpenPolls(app);
    const port = options.port ?? 0;
    try {
      const address = await app.listen({ host: LOOPBACK, port });
      return new SqsEndpoint(store, SqsStore, app, journal, redrive, fairQueues, gathering, openPolls, address.replace(/\/$/, ''));
    } catch (error) {
      journal.close();
      throw portError(error, 'sqs', port);
    }
  }

  /** A full URL on 127.0.0.1: the SDK takes the host from it, and fauxqs's own host names don't resolve everywhere. */
  queueUrl(name: string, account: string): string {
    return `${this.url}/${account}/${name}`;
  }

  /** Makes the queue with these attributes, and puts back into it what an earlier run left. */
  createQueue(definition: QueueDefinition, account: string): void {
    const queue = this.#store.createQueue(definition.name, this.queueUrl(definition.name, account), definition.arn, definition.attributes);
    const now = Date.now();
    for (const { message, receiptHandle, visibilityDeadline } of this.#journal.load(queue.name)) {
      if (receiptHandle !== undefined && visibilityDeadline !== undefined && visibilityDeadline > now) {
        // Its consumer may have survived: a message is not handed out twice before its time.
        queue.inflightMessages.set(receiptHandle, { message, receiptHandle, visibilityDeadline });
        if (message.messageGroupId !== undefined) {
          queue.fifoLockedGroups.set(message.messageGroupId, (queue.fifoLockedGroups.get(message.messageGroupId) ?? 0) + 1);
        }
      } else if (queue.attributes['FifoQueue'] === 'true') {
        const group = message.messageGroupId ?? '';
        const waiting = message.delayUntil !== undefined && message.delayUntil > now ? queue.fifoDelayed : queue.fifoMessages;
        waiting.set(group, [...waiting.get(group) ?? [], message]);
      } else {
        (message.delayUntil !== undefined && message.delayUntil > now ? queue.delayedMessages : queue.messages).push(message);
      }
    }
    queue.sequenceCounter = this.#journal.sequenceCounter(queue.name);
    if (queue.attributes['FifoQueue'] !== 'true') {
      this.#gathering.attach(queue);
      this.#fairQueues.attach(queue);
    } else {
      receiveGroupsInBatches(queue);
      rememberDuplicates(queue, this.#journal);
    }
    this.#openPolls.attach(queue);
    // From here on every change is written down.
    (queue as unknown as { persistence: QueueJournal }).persistence = this.#journal;
    this.#redrive.attach(queue);
  }

  addPolicy(queueNames: readonly string[], statements: readonly unknown[]): void {
    for (const name of queueNames) this.#policies.set(name, [...this.#policies.get(name) ?? [], ...statements]);
    this.#allowed.clear();
  }

  #allows(queue: FauxqsQueue, caller: Caller): boolean {
    const key = `${queue.name} ${caller.service} ${caller.sourceArn} ${caller.sourceAccount}`;
    let allowed = this.#allowed.get(key);
    if (allowed === undefined) {
      allowed = allowsSend(this.#policies.get(queue.name) ?? [], queue.arn, caller);
      this.#allowed.set(key, allowed);
    }
    return allowed;
  }

  /** Queues of earlier runs that no template has any more, and that still hold messages. */
  orphans(): { queue: string; messages: number }[] {
    return this.#journal.queues().filter(({ queue }) => !this.#store.getQueueByName(queue));
  }

  /** Puts a message into a queue as a service of AWS does: only if the queue's policy lets it. */
  deliver(
    queueArn: string, body: string, caller: Caller, options: { messageGroupId?: string; messageAttributes?: Record<string, string> } = {},
  ): void {
    const queue = this.#store.getQueueByArn(queueArn);
    if (!queue) throw new DeliveryError('NO_RESOURCE', `There is no queue ${queueArn}.`);
    if (!this.#allows(queue, caller)) {
      throw new DeliveryError('NO_PERMISSIONS', `The policy of queue ${queue.name} does not let ${caller.service} send for ${caller.sourceArn}.`);
    }
    const attributes = Object.fromEntries(
      Object.entries(options.messageAttributes ?? {}).map(([name, value]) => [name, { DataType: 'String', StringValue: value }]),
    );
    const size = Buffer.byteLength(body) + Object.entries(attributes).reduce((sum, [name, { StringValue }]) => sum + Buffer.byteLength(name + StringValue) + 6, 0);
    if (size > Number(queue.attributes['MaximumMessageSize'])) {
      throw new DeliveryError('MESSAGE_TOO_LARGE', `The event has ${size} bytes, queue ${queue.name} takes ${queue.attributes['MaximumMessageSize']}.`);
    }
    const delaySeconds = Number(queue.attributes['DelaySeconds']) || undefined;
    if (queue.attributes['FifoQueue'] !== 'true') {
      queue.enqueue(this.#storeClass.createMessage(body, attributes, delaySeconds, options.messageGroupId));
      return;
    }
    if (options.messageGroupId === undefined) {
      throw new DeliveryError('INVALID_PARAMETER', `The target has no MessageGroupId, which the FIFO queue ${queue.name} demands.`);
    }
    if (queue.attributes['ContentBasedDeduplication'] !== 'true') {
      throw new DeliveryError('INVALID_PARAMETER', `The FIFO queue ${queue.name} has no ContentBasedDeduplication, which a target of EventBridge needs.`);
    }
    const id = this.#storeClass.contentBasedDeduplicationId(body);
    if (queue.checkDeduplication(id).isDuplicate) return;
    const message = this.#storeClass.createMessage(body, attributes, delaySeconds, options.messageGroupId, id);
    message.sequenceNumber = queue.nextSequenceNumber();
    queue.recordDeduplication(id, message.messageId, message.sequenceNumber);
    queue.enqueue(message);
  }

  /** Ends when everything that was delivered is written down. */
  written(): Promise<void> {
    return this.#journal.committed();
  }

  depth(name: string): QueueDepth {
    const queue = this.#store.getQueueByName(name);
    // Expired receives only count as visible again once somebody looks.
    queue?.processTimers();
    const count = (attribute: string) => Number(queue?.getAttribute(attribute) ?? 0);
    return {
      visible: count('ApproximateNumberOfMessages'),
      inFlight: count('ApproximateNumberOfMessagesNotVisible'),
      delayed: count('ApproximateNumberOfMessagesDelayed'),
    };
  }

  /** Bodies of all messages: waiting, delayed and in flight, without receiving any. */
  bodies(name: string): string[] {
    const queue = this.#store.getQueueByName(name);
    if (!queue) return [];
    const groups = [...queue.fifoMessages.values(), ...queue.fifoDelayed.values()].flat();
    const inFlight = [...queue.inflightMessages.values()].map(({ message }) => message);
    return [...queue.messages, ...queue.delayedMessages, ...groups, ...inFlight].map(({ body }) => body);
  }

  /** How many consumers wait for a message in a long poll. */
  waiting(name: string): number {
    return this.#store.getQueueByName(name)?.pollWaiters.length ?? 0;
  }

  async stop(): Promise<void> {
    this.#redrive.stop();
    await this.#app.close();
    this.#journal.close();
  }
}

/**
 * A consumer that is killed while it waits in a long poll leaves a request behind that would still take the next messages,
 * for nobody, until their visibility timeout. They go back instead, as if they had not been received.
 */
function giveBackUndelivered(app: FastifyInstance, store: FauxqsStore): void {
  app.addHook('onSend', async (request, _reply, payload) => {
    if (!isGone(request.raw.socket) || typeof payload !== 'string' || !payload.includes('ReceiptHandle')) return payload;
    const { QueueUrl } = request.body as { QueueUrl?: string };
    const queue = store.getQueueByName(QueueUrl?.split('/').at(-1) ?? '');
    for (const { ReceiptHandle } of (JSON.parse(payload) as { Messages?: { ReceiptHandle: string }[] }).Messages ?? []) {
      const entry = queue?.inflightMessages.get(ReceiptHandle);
      if (!queue || !entry) continue;
      entry.message.approximateReceiveCount -= 1;
      queue.changeVisibility(ReceiptHandle, 0);
    }
    return payload;
  });
}
