import { contentId, createMessage } from './message.ts';
import type { NewMessage } from './message.ts';
import type { Queue } from './queue.ts';

export interface Sent {
  readonly messageId: string;
  readonly sequenceNumber?: string | undefined;
}

/** Puts a message into a queue; of a FIFO queue, one that is there already is given back. */
export function send(queue: Queue, message: NewMessage, now: number, delaySeconds = queue.numbers.delaySeconds): Sent {
  const { deduplication } = queue;
  if (!deduplication) {
    const created = createMessage(message, now, delaySeconds);
    queue.add(created);
    return created;
  }
  const messageDeduplicationId = message.messageDeduplicationId ?? contentId(message.body);
  const key = queue.attributes['DeduplicationScope'] === 'messageGroup' ? `${message.messageGroupId}\n${messageDeduplicationId}` : messageDeduplicationId;
  const known = deduplication.find(key);
  if (known) return known;
  const created = createMessage({ ...message, messageDeduplicationId }, now, delaySeconds);
  queue.sequence(created);
  deduplication.remember(key, created);
  queue.add(created);
  return created;
}
