/**
 * Bus and queues in memory, so that a benchmark measures services and database instead of an endpoint. The services' relay
 * and consumers talk to it through the calls of the SDK and with SQS's limits: ten messages at most per receive.
 */
import type { EventBridgeClient, PutEventsCommand } from '@aws-sdk/client-eventbridge';
import {
  ChangeMessageVisibilityBatchCommand, DeleteMessageBatchCommand, GetQueueAttributesCommand, ReceiveMessageCommand, type SQSClient,
} from '@aws-sdk/client-sqs';

const MAX_RECEIVE = 10;

export interface Rule {
  readonly queue: string;
  matches(detailType: string, detail: string): boolean;
}

/** The rules of the reference app (lib/order-pipeline-stack.ts) up to the deduction. */
export const RULES: readonly Rule[] = [
  { queue: 'stock-service', matches: (type) => type === 'OrderCreated' },
  { queue: 'inventory-service', matches: (type) => type === 'StockValidated' || type === 'OrderConfirmed' },
  { queue: 'order-status', matches: (type, detail) => type === 'InventoryUpdated' && !detail.includes('"outcome":"DEDUCTED"') },
];

export interface ReceivedMessage {
  readonly body: string;
  readonly receipt: string;
  readonly receives: number;
}

interface Message {
  readonly body: string;
  receives: number;
}

interface Queue {
  ready: Message[];
  /** Taken from the front so far. */
  head: number;
  readonly inFlight: Map<string, { message: Message; owner: unknown }>;
  readonly waiting: { owner: unknown; answer(messages: ReceivedMessage[]): void }[];
}

export interface BrokerCalls { putEvents: number; receive: number; delete: number; changeVisibility: number; events: number; messages: number }

export class MemoryBroker {
  readonly calls: BrokerCalls = { putEvents: 0, receive: 0, delete: 0, changeVisibility: 0, events: 0, messages: 0 };
  readonly #rules: readonly Rule[];
  readonly #queues = new Map<string, Queue>();
  #receipts = 0;

  constructor(rules: readonly Rule[] = RULES) {
    this.#rules = rules;
    for (const { queue } of rules) this.#queues.set(queue, { ready: [], head: 0, inFlight: new Map(), waiting: [] });
  }

  put(detailType: string, source: string, detail: string): void {
    this.calls.events++;
    const body = `{"version":"0","id":"00000000-0000-0000-0000-000000000000","detail-type":"${detailType}","source":"${source}",`
      + `"account":"000000000000","time":"2026-01-01T00:00:00Z","region":"local","resources":[],"detail":${detail}}`;
    for (const rule of this.#rules) if (rule.matches(detailType, detail)) this.#add(rule.queue, { body, receives: 0 });
  }

  /** Straight into a queue, past the bus. */
  enqueue(queue: string, body: string): void {
    this.#add(queue, { body, receives: 0 });
  }

  /** Answers as soon as there is a message, with at most ten. The returned function gives up. */
  receive(name: string, owner: unknown, answer: (messages: ReceivedMessage[]) => void): () => void {
    this.calls.receive++;
    const queue = this.#queue(name);
    const waiter = { owner, answer };
    queue.waiting.push(waiter);
    this.#serve(queue);
    return () => {
      const at = queue.waiting.indexOf(waiter);
      if (at >= 0) {
        queue.waiting.splice(at, 1);
        answer([]);
      }
    };
  }

  delete(name: string, receipts: readonly string[]): void {
    this.calls.delete++;
    const { inFlight } = this.#queue(name);
    for (const receipt of receipts) inFlight.delete(receipt);
  }

  /** Zero gives the message back at once; anything else keeps it (nothing times out here). */
  changeVisibility(name: string, entries: readonly { receipt: string; seconds: number }[]): void {
    this.calls.changeVisibility++;
    const queue = this.#queue(name);
    for (const { receipt, seconds } of entries) {
      const held = queue.inFlight.get(receipt);
      if (!held || seconds > 1) continue;
      queue.inFlight.delete(receipt);
      queue.ready.push(held.message);
    }
    this.#serve(queue);
  }

  /** The owner is gone: what it held is handed out again at once, as if its visibility had just timed out. */
  abandon(owner: unknown): void {
    for (const queue of this.#queues.values()) {
      for (let at = queue.waiting.length - 1; at >= 0; at--) if (queue.waiting[at]!.owner === owner) queue.waiting.splice(at, 1);
      for (const [receipt, held] of queue.inFlight) {
        if (held.owner !== owner) continue;
        queue.inFlight.delete(receipt);
        queue.ready.push(held.message);
      }
      this.#serve(queue);
    }
  }

  /** Waiting or in flight, over all queues. */
  get depth(): number {
    let depth = 0;
    for (const { ready, head, inFlight } of this.#queues.values()) depth += ready.length - head + inFlight.size;
    return depth;
  }

  #queue(name: string): Queue {
    const queue = this.#queues.get(name);
    if (!queue) throw new Error(`There is no queue ${name}.`);
    return queue;
  }

  #add(name: string, message: Message): void {
    const queue = this.#queue(name);
    queue.ready.push(message);
    this.#serve(queue);
  }

  #serve(queue: Queue): void {
    while (queue.waiting.length > 0 && queue.head < queue.ready.length) {
      const { owner, answer } = queue.waiting.shift()!;
      const taken = queue.ready.slice(queue.head, queue.head + MAX_RECEIVE);
      queue.head += taken.length;
      if (queue.head > 1_000 && queue.head * 2 > queue.ready.length) {
        queue.ready = queue.ready.slice(queue.head);
        queue.head = 0;
      }
      this.calls.messages += taken.length;
      answer(taken.map((message) => {
        const receipt = String(++this.#receipts);
        message.receives++;
        queue.inFlight.set(receipt, { message, owner });
        return { body: message.body, receipt, receives: message.receives };
      }));
    }
  }
}

/** What the relay calls instead of EventBridge. */
export function eventBridgeOf(broker: Pick<MemoryBroker, 'put' | 'calls'>): EventBridgeClient {
  return {
    async send({ input }: PutEventsCommand) {
      broker.calls.putEvents++;
      return {
        FailedEntryCount: 0,
        Entries: input.Entries!.map((entry) => {
          broker.put(entry.DetailType!, entry.Source!, entry.Detail!);
          return { EventId: '0' };
        }),
      };
    },
    destroy() {},
  } as unknown as EventBridgeClient;
}

/** The queue operations behind an SQS client: in this thread, or behind a port. */
export interface QueuePort {
  receive(queue: string, answer: (messages: ReceivedMessage[]) => void): () => void;
  delete(queue: string, receipts: string[]): void;
  changeVisibility(queue: string, entries: { receipt: string; seconds: number }[]): void;
}

export function localQueues(broker: MemoryBroker, owner: unknown = {}): QueuePort {
  return {
    receive: (queue, answer) => broker.receive(queue, owner, answer),
    delete: (queue, receipts) => broker.delete(queue, receipts),
    changeVisibility: (queue, entries) => broker.changeVisibility(queue, entries),
  };
}

/** What consumers call instead of SQS. */
export function sqsOf(queues: QueuePort): SQSClient {
  const nameOf = (url: string | undefined) => url!.slice(url!.lastIndexOf('/') + 1);
  return {
    async send(command: unknown, options?: { abortSignal?: AbortSignal }) {
      if (command instanceof ReceiveMessageCommand) {
        const messages = await new Promise<ReceivedMessage[]>((resolve) => {
          // It may answer before it returns.
          let cancel: (() => void) | undefined;
          cancel = queues.receive(nameOf(command.input.QueueUrl), (answer) => {
            if (cancel) options?.abortSignal?.removeEventListener('abort', cancel);
            resolve(answer);
          });
          options?.abortSignal?.addEventListener('abort', cancel);
        });
        return {
          Messages: messages.map(({ body, receipt, receives }) => ({
            MessageId: receipt, ReceiptHandle: receipt, Body: body, Attributes: { ApproximateReceiveCount: String(receives) },
          })),
        };
      }
      if (command instanceof DeleteMessageBatchCommand) {
        queues.delete(nameOf(command.input.QueueUrl), command.input.Entries!.map(({ ReceiptHandle }) => ReceiptHandle!));
        return {};
      }
      if (command instanceof ChangeMessageVisibilityBatchCommand) {
        queues.changeVisibility(nameOf(command.input.QueueUrl), command.input.Entries!.map((entry) => ({ receipt: entry.ReceiptHandle!, seconds: entry.VisibilityTimeout! })));
        return {};
      }
      // Long, since nothing times out here; a large maxReceiveCount, since a killed worker's messages come again often.
      if (command instanceof GetQueueAttributesCommand) return { Attributes: { VisibilityTimeout: '3600', RedrivePolicy: '{"maxReceiveCount":1000}' } };
      throw new Error(`The memory broker does not know ${(command as object).constructor.name}.`);
    },
    destroy() {},
  } as unknown as SQSClient;
}

// --- across threads and processes ------------------------------------------------------------------------------------

/** A MessagePort, or a child process and its parent. */
export interface Channel {
  post(message: unknown): void;
  onMessage(listener: (message: never) => void): void;
}

type Request =
  | { readonly op: 'receive'; readonly id: number; readonly queue: string }
  | { readonly op: 'cancel'; readonly id: number }
  | { readonly op: 'delete'; readonly queue: string; readonly receipts: string[] }
  | { readonly op: 'visibility'; readonly queue: string; readonly entries: { receipt: string; seconds: number }[] };

interface Answer { readonly op: 'received'; readonly id: number; readonly messages: ReceivedMessage[] }

/** Serves the broker's queues to whoever is at the other end of the channel. */
export function serveQueues(broker: MemoryBroker, channel: Channel, owner: unknown = channel): void {
  const cancels = new Map<number, () => void>();
  channel.onMessage((request: Request) => {
    switch (request.op) {
      case 'receive': {
        const { id, queue } = request;
        cancels.set(id, () => {});
        const cancel = broker.receive(queue, owner, (messages) => {
          cancels.delete(id);
          channel.post({ op: 'received', id, messages } satisfies Answer);
        });
        if (cancels.has(id)) cancels.set(id, cancel);
        break;
      }
      case 'cancel': cancels.get(request.id)?.(); break;
      case 'delete': broker.delete(request.queue, request.receipts); break;
      case 'visibility': broker.changeVisibility(request.queue, request.entries); break;
    }
  });
}

export function remoteQueues(channel: Channel): QueuePort {
  const open = new Map<number, (messages: ReceivedMessage[]) => void>();
  let ids = 0;
  channel.onMessage((answer: Answer) => {
    if (answer.op !== 'received') return;
    open.get(answer.id)?.(answer.messages);
    open.delete(answer.id);
  });
  const post = (request: Request) => channel.post(request);
  return {
    receive(queue, answer) {
      const id = ++ids;
      open.set(id, answer);
      post({ op: 'receive', id, queue });
      return () => post({ op: 'cancel', id });
    },
    delete: (queue, receipts) => post({ op: 'delete', queue, receipts }),
    changeVisibility: (queue, entries) => post({ op: 'visibility', queue, entries }),
  };
}
