import type { FastifyInstance } from 'fastify';
import type { QueueJournal } from './journal.ts';
import type { DeadMessage } from './redrive.ts';

export interface FifoQueue {
  readonly name: string;
  fifoMessages: Map<string, DeadMessage[]>;
  readonly fifoLockedGroups: Map<string, number>;
  readonly inflightMessages: Map<string, { readonly message: DeadMessage }>;
  dequeueFifo(count: number, visibilityTimeout: number | undefined, deadLetterQueue?: unknown): { readonly ReceiptHandle: string }[];
  changeVisibility(receiptHandle: string, seconds: number): void;
  processTimers(): void;
  checkDeduplication(id: string): {
    readonly isDuplicate: boolean; readonly originalMessageId?: string; readonly originalSequenceNumber?: string;
  };
  recordDeduplication(id: string, messageId: string, sequenceNumber?: string): void;
}

const DEDUPLICATION_MS = 5 * 60_000;

/**
 * fauxqs gives out one message per group and receive, so a consumer that goes on after a failure within a batch would never be
 * seen breaking the order of its group. SQS gives out as many as there are; what of them fails comes back in its place.
 */
export function receiveGroupsInBatches(queue: FifoQueue): void {
  const dequeue = queue.dequeueFifo.bind(queue);
  const { changeVisibility, processTimers } = queue;
  let receiving = false;
  queue.dequeueFifo = (count, visibilityTimeout, deadLetterQueue) => {
    queue.processTimers();
    const result: { readonly ReceiptHandle: string }[] = [];
    const locked = new Map<string, number>();
    const most = Math.min(count, 10);
    // What is received with a visibility timeout of zero does not come back within the same receive.
    receiving = true;
    try {
      while (result.length < most) {
        const [next] = dequeue(1, visibilityTimeout, deadLetterQueue);
        if (!next) break;
        result.push(next);
        const group = queue.inflightMessages.get(next.ReceiptHandle)?.message.messageGroupId ?? '';
        locked.set(group, (locked.get(group) ?? 0) + 1);
        queue.fifoLockedGroups.delete(group);
      }
    } finally {
      receiving = false;
    }
    for (const [group, messages] of locked) queue.fifoLockedGroups.set(group, messages);
    return result;
  };

  const sort = () => {
    for (const messages of queue.fifoMessages.values()) {
      if (messages.some((message, index) => index > 0 && order(messages[index - 1]!, message) > 0)) messages.sort(order);
    }
  };
  queue.changeVisibility = (receiptHandle, seconds) => {
    changeVisibility.call(queue, receiptHandle, seconds);
    sort();
  };
  queue.processTimers = () => {
    if (receiving) return;
    processTimers.call(queue);
    sort();
  };
}

/** All digits, and all of the same length. */
function order({ sequenceNumber: one = '' }: DeadMessage, { sequenceNumber: other = '' }: DeadMessage): number {
  return one < other ? -1 : one > other ? 1 : 0;
}

/** fauxqs remembers in memory only, so after a restart within the five minutes a message could be there a second time. */
export function rememberDuplicates(queue: FifoQueue, journal: QueueJournal): void {
  const seen = new Map(journal.deduplications(queue.name).map(({ id, ...message }) => [id, message]));
  queue.checkDeduplication = (id) => {
    const known = seen.get(id);
    if (!known || known.at <= Date.now() - DEDUPLICATION_MS) return { isDuplicate: false };
    return {
      isDuplicate: true, originalMessageId: known.messageId,
      ...(known.sequenceNumber !== undefined && { originalSequenceNumber: known.sequenceNumber }),
    };
  };
  queue.recordDeduplication = (id, messageId, sequenceNumber) => {
    const at = Date.now();
    // Oldest first, as they were put in.
    for (const [old, known] of seen) {
      if (known.at > at - DEDUPLICATION_MS) break;
      seen.delete(old);
    }
    seen.delete(id);
    seen.set(id, { messageId, sequenceNumber, at });
    journal.saveDeduplication(queue.name, { id, messageId, sequenceNumber, at }, at - DEDUPLICATION_MS);
  };
}

interface Send {
  MessageAttributes?: object;
  readonly MessageGroupId?: string;
}

/**
 * On a standard queue a group says whose message it is, for fair queues. fauxqs drops it there, but keeps the object of the
 * attributes, by which the message is known again.
 */
export class FairQueues {
  readonly #groups = new WeakMap<object, string>();

  constructor(app: FastifyInstance) {
    app.addHook('preHandler', async (request) => {
      if (!/^AmazonSQS\.SendMessage(Batch)?$/.test(String(request.headers['x-amz-target']))) return;
      const { Entries, ...single } = request.body as Send & { readonly Entries?: Send[] };
      for (const send of Array.isArray(Entries) ? Entries : single.MessageGroupId === undefined ? [] : [request.body as Send]) {
        if (typeof send?.MessageGroupId === 'string') this.#groups.set(send.MessageAttributes ??= {}, send.MessageGroupId);
      }
    });
  }

  attach(queue: { enqueue(message: { messageGroupId?: string; readonly messageAttributes?: object }): void }): void {
    const enqueue = queue.enqueue.bind(queue);
    queue.enqueue = (message) => {
      const group = message.messageAttributes && this.#groups.get(message.messageAttributes);
      if (group !== undefined) message.messageGroupId ??= group;
      enqueue(message);
    };
  }
}
