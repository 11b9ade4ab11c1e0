import type { Input } from '../../http/aws-json.ts';
import { missing } from '../errors.ts';
import { integerWithin, requiredText } from '../input.ts';
import type { Queue } from '../queue.ts';
import { NOTHING, queueOf } from './action.ts';
import type { Action } from './action.ts';
import { batch } from './batch.ts';

const MOST_SECONDS = 43_200;

/** The actions of consumers on receipt handles. */
export const visibilityActions: Readonly<Record<string, Action>> = {
  DeleteMessage: (input, context) => {
    queueOf(input, context).delete(requiredText(input, 'ReceiptHandle'));
    return NOTHING;
  },

  DeleteMessageBatch: (input, context) => {
    const queue = queueOf(input, context);
    return batch(input, 'DeleteMessageBatchRequestEntry', (entry) => {
      queue.delete(requiredText(entry, 'ReceiptHandle'));
      return {};
    });
  },

  ChangeMessageVisibility: (input, context) => {
    change(input, queueOf(input, context));
    return NOTHING;
  },

  ChangeMessageVisibilityBatch: (input, context) => {
    const queue = queueOf(input, context);
    return batch(input, 'ChangeMessageVisibilityBatchRequestEntry', (entry) => {
      change(entry, queue);
      return {};
    });
  },
};

function change(input: Input, queue: Queue): void {
  const handle = requiredText(input, 'ReceiptHandle');
  const seconds = readVisibility(input);
  if (seconds === undefined) throw missing('VisibilityTimeout');
  queue.changeVisibility(handle, seconds);
}

export function readVisibility(input: Input): number | undefined {
  return integerWithin(input, 'VisibilityTimeout', 0, MOST_SECONDS, `VisibilityTimeout must be >= 0 and <= ${MOST_SECONDS}.`);
}
