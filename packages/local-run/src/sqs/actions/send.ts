import type { Input } from '../../http/aws-json.ts';
import { readSend } from '../message-input.ts';
import { md5OfAttributes } from '../message.ts';
import type { Queue } from '../queue.ts';
import { send } from '../sending.ts';
import { queueOf } from './action.ts';
import type { Action, Context } from './action.ts';
import { batch } from './batch.ts';

export const sendActions: Readonly<Record<string, Action>> = {
  SendMessage: (input, context) => ({ result: sendOne(input, queueOf(input, context), context) }),

  SendMessageBatch: (input, context) => {
    const queue = queueOf(input, context);
    return batch(input, 'SendMessageBatchRequestEntry', (entry) => sendOne(entry, queue, context), sizeOfEntry);
  },
};

function sendOne(input: Input, queue: Queue, { store }: Context): Record<string, unknown> {
  const { message, delaySeconds, systemAttributes } = readSend(input, queue);
  const { messageId, sequenceNumber, md5OfBody, md5OfMessageAttributes } = send(queue, message, store.clock(), delaySeconds);
  return {
    MessageId: messageId,
    MD5OfMessageBody: md5OfBody,
    ...(md5OfMessageAttributes !== undefined && { MD5OfMessageAttributes: md5OfMessageAttributes }),
    ...(systemAttributes && { MD5OfMessageSystemAttributes: md5OfAttributes(systemAttributes) }),
    ...(sequenceNumber !== undefined && { SequenceNumber: sequenceNumber }),
  };
}

/** Before it is known whether an entry is right. */
function sizeOfEntry({ MessageBody, MessageAttributes }: Input): number {
  const body = typeof MessageBody === 'string' ? Buffer.byteLength(MessageBody) : 0;
  if (typeof MessageAttributes !== 'object' || MessageAttributes === null) return body;
  let size = body;
  for (const [name, value] of Object.entries(MessageAttributes as Record<string, Record<string, unknown>>)) {
    size += Buffer.byteLength(name);
    for (const field of ['DataType', 'StringValue', 'BinaryValue']) {
      const content = value?.[field];
      if (typeof content === 'string') size += Buffer.byteLength(content, field === 'BinaryValue' ? 'base64' : 'utf8');
    }
  }
  return size;
}
