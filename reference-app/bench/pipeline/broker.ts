/**
 * Bus and queues in memory, so that a benchmark measures services and database instead of an endpoint. They have the limit of SQS:
 * a receive gets ten messages at most. The services reach them through the clients of broker-clients.ts.
 */
import { eventsIn } from './bundles.ts';

const MAX_RECEIVE = 10;

export interface Rule {
  readonly queue: string;
  matches(detailType: string, detail: string): boolean;
}

/** The rules of the order pipeline up to the deduction. */
const RULES: readonly Rule[] = [
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
  /** Messages that were taken from the front so far. */
  head: number;
  readonly inFlight: Map<string, { readonly message: Message; readonly owner: unknown }>;
  readonly waiting: { readonly owner: unknown; readonly answer: (messages: ReceivedMessage[]) => void }[];
}

/** Numbers of calls, and of the events and messages in them. */
export interface BrokerCalls {
  putEvents: number;
  receive: number;
  delete: number;
  changeVisibility: number;
  events: number;
  messages: number;
}

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
    this.calls.events += eventsIn(detail);
    const body = `{"version":"0","id":"00000000-0000-0000-0000-000000000000","detail-type":"${detailType}","source":"${source}",`
      + `"account":"000000000000","time":"2026-01-01T00:00:00Z","region":"local","resources":[],"detail":${detail}}`;
    for (const rule of this.#rules) if (rule.matches(detailType, detail)) this.#add(rule.queue, { body, receives: 0 });
  }

  /** Puts a message into one queue, past the bus. */
  enqueue(queue: string, body: string): void {
    this.#add(queue, { body, receives: 0 });
  }

  /** Answers as soon as there is a message, with ten at most. The returned function gives up. */
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

  /** A second or less gives a message back at once; anything else keeps it, since nothing times out here. */
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

  /** Gives back every message of an owner that is gone, as if its visibility had just timed out. */
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

  /** Messages that wait or are in flight, over all queues. */
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
