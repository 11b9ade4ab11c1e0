import { contentId, createMessage } from './message.ts';
import type { Message, NewMessage } from './message.ts';
import type { Queue } from './queue.ts';

export type Sent = Pick<Message, 'messageId' | 'sequenceNumber' | 'md5OfBody' | 'md5OfMessageAttributes'>;

/** Puts a message into a queue; in place of a duplicate, a FIFO queue names the message that it has. */
export function send(queue: Queue, message: NewMessage, now: number, delaySeconds = queue.numbers.delaySeconds): Sent {
  const { deduplication } = queue;
  if (!deduplication) {
    const created = createMessage(message, now, delaySeconds);
    queue.add(created);
    return created;
  }
  const messageDeduplicationId = message.messageDeduplicationId ?? contentId(message.body);
  const key = queue.attributes.DeduplicationScope === 'messageGroup' ? `${message.messageGroupId}\n${messageDeduplicationId}` : messageDeduplicationId;
  const created = createMessage({ ...message, messageDeduplicationId }, now, delaySeconds);
  const known = deduplication.find(key);
  if (known) return { ...created, ...known };
  queue.sequence(created);
  deduplication.remember(key, created);
  queue.add(created);
  return created;
}
