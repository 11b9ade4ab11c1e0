import type { Input } from '../../http/aws-json.ts';
import { invalidValue, unknownAttribute } from '../errors.ts';
import { integerWithin, text, texts } from '../input.ts';
import type { Client } from '../long-polls.ts';
import type { Message } from '../message.ts';
import type { Queue } from '../queue.ts';
import { NOTHING, queueOf } from './action.ts';
import type { Action } from './action.ts';
import { SYSTEM_ATTRIBUTES, toView } from './view.ts';
import { readVisibility } from './visibility.ts';

interface Receive {
  readonly most: number;
  readonly waitSeconds: number;
  readonly visibilitySeconds: number | undefined;
  readonly attemptId: string | undefined;
}

export const receiveActions: Readonly<Record<string, Action>> = {
  ReceiveMessage: async (input, context, client) => {
    const queue = queueOf(input, context);
    const receive = readReceive(input, queue);
    const view = toView(readSystemNames(input), texts(input, 'MessageAttributeNames'));
    const messages = receive.waitSeconds === 0 ? receiveNow(queue, receive) : await receiveLong(queue, receive, client);
    if (messages.length === 0) return NOTHING;
    const handles = messages.map(({ receiptHandle = '' }) => receiptHandle);
    return { result: { Messages: messages.map(view) }, undelivered: () => queue.giveBack(messages, handles) };
  },
};

function readReceive(input: Input, queue: Queue): Receive {
  const most = integerWithin(input, 'MaxNumberOfMessages', 1, 10, 'Must be between 1 and 10, if provided.');
  const wait = integerWithin(input, 'WaitTimeSeconds', 0, 20, 'Must be >= 0 and <= 20, if provided.');
  const attemptId = text(input, 'ReceiveRequestAttemptId');
  if (attemptId !== undefined) {
    if (!queue.isFifo) throw invalidValue(attemptId, 'ReceiveRequestAttemptId', 'The request include parameter that is not valid for this queue type.');
    if (!/^[\x21-\x7e]{1,128}$/.test(attemptId)) {
      throw invalidValue(attemptId, 'ReceiveRequestAttemptId', 'ReceiveRequestAttemptId can only include alphanumeric and punctuation characters. 1 to 128 in length.');
    }
  }
  return { most: most ?? 1, waitSeconds: wait ?? queue.numbers.waitSeconds, visibilitySeconds: readVisibility(input), attemptId };
}

function readSystemNames(input: Input): readonly string[] {
  const names = [...texts(input, 'AttributeNames'), ...texts(input, 'MessageSystemAttributeNames')];
  const unknown = names.find((name) => name !== 'All' && !SYSTEM_ATTRIBUTES.has(name));
  if (unknown !== undefined) throw unknownAttribute(unknown);
  return names;
}

function receiveNow(queue: Queue, { most, visibilitySeconds, attemptId }: Receive): readonly Message[] {
  return attemptId === undefined ? queue.receive(most, visibilitySeconds) : queue.receiveAgain(attemptId, most, visibilitySeconds);
}

async function receiveLong(queue: Queue, receive: Receive, client: Client): Promise<readonly Message[]> {
  const until = performance.now() + receive.waitSeconds * 1000;
  queue.tick();
  await queue.polls.gather(receive.most);
  for (;;) {
    if (client.isGone()) return [];
    const messages = receiveNow(queue, receive);
    if (messages.length > 0) queue.polls.gave();
    const left = until - performance.now();
    if (messages.length > 0 || left <= 0) return messages;
    await queue.polls.wait(left, client);
    if (queue.polls.closed) return [];
  }
}
