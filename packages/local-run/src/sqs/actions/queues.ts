import type { Input } from '../../http/aws-json.ts';
import {
  checkAttributes, checkRedriveAllowPolicy, checkThroughput, changed, completed, letsIn, READABLE, readRedrivePolicy,
} from '../attributes.ts';
import type { Attributes } from '../attributes.ts';
import { invalid, invalidValue, missing, noSuchQueue, SqsError, unknownAttribute } from '../errors.ts';
import { integerWithin, map, mapOfTexts, requiredText, text, texts } from '../input.ts';
import type { Queue } from '../queue.ts';
import type { QueueStore } from '../store.ts';
import { NOTHING, queueOf } from './action.ts';
import type { Action } from './action.ts';
import { checkTags } from './tags.ts';

const PURGE_MS = 60_000;
const MOST_LISTED = 1000;

export const queueActions: Readonly<Record<string, Action>> = {
  CreateQueue: (input, { store }) => {
    const name = requiredText(input, 'QueueName');
    const attributes = mapOfTexts(input, 'Attributes');
    const fifo = attributes.FifoQueue === 'true';
    checkName(name, fifo);
    checkAttributes(attributes, { fifo, exists: false });
    checkThroughput(completed(attributes));
    const existing = store.named(name);
    if (existing) return { result: { QueueUrl: sameQueue(existing, attributes).url } };
    checkDeadLetters(attributes, { store, arn: store.arn(name), fifo });
    // The JSON protocol calls them `tags`, the others `Tags`.
    const tags = mapOfTexts(input, input.tags === undefined ? 'Tags' : 'tags');
    checkTags(tags, name);
    const queue = store.create(name, changed({}, attributes));
    for (const [key, value] of Object.entries(tags)) queue.tags.set(key, value);
    store.keep(queue);
    return { result: { QueueUrl: queue.url } };
  },

  DeleteQueue: (input, context) => {
    context.store.delete(queueOf(input, context));
    return NOTHING;
  },

  GetQueueUrl: (input, { store }) => {
    const queue = store.named(requiredText(input, 'QueueName'));
    const owner = text(input, 'QueueOwnerAWSAccountId');
    if (!queue || (owner !== undefined && queue.account !== owner)) throw noSuchQueue();
    return { result: { QueueUrl: queue.url } };
  },

  ListQueues: (input, { store }) => {
    const prefix = text(input, 'QueueNamePrefix') ?? '';
    const urls = [...store.all()].filter(({ name }) => name.startsWith(prefix)).map(({ url }) => url).sort();
    return { result: pageOfUrls(urls, input, 'QueueUrls') };
  },

  ListDeadLetterSourceQueues: (input, context) => {
    const urls = context.store.sourcesOf(queueOf(input, context)).map(({ url }) => url).sort();
    return { result: { queueUrls: [], ...pageOfUrls(urls, input, 'queueUrls') } };
  },

  GetQueueAttributes: (input, context) => {
    const queue = queueOf(input, context);
    const names = texts(input, 'AttributeNames');
    const unknown = names.find((name) => name !== 'All' && !READABLE.has(name));
    if (unknown !== undefined) throw unknownAttribute(unknown);
    return names.length === 0 ? NOTHING : { result: { Attributes: queue.readAttributes(names) } };
  },

  SetQueueAttributes: (input, context) => {
    const queue = queueOf(input, context);
    const attributes = mapOfTexts(input, 'Attributes');
    if (Object.keys(map(input, 'Attributes')).length === 0) throw missing('Attribute.Name');
    checkAttributes(attributes, { fifo: queue.isFifo, exists: true });
    checkThroughput(changed(queue.attributes, attributes));
    checkDeadLetters(attributes, { store: context.store, arn: queue.arn, fifo: queue.isFifo });
    queue.setAttributes(attributes);
    context.store.changed(queue);
    return NOTHING;
  },

  PurgeQueue: (input, context) => {
    const queue = queueOf(input, context);
    const now = context.store.clock();
    if (now - queue.purgedAt < PURGE_MS) {
      throw new SqsError('PurgeQueueInProgress', `Only one PurgeQueue operation on ${queue.name} is allowed every 60 seconds.`);
    }
    queue.purgedAt = now;
    queue.purge();
    return NOTHING;
  },
};

function checkName(name: string, fifo: boolean): void {
  if (fifo ? /^(?=.{1,80}$)[A-Za-z0-9_-]+\.fifo$/.test(name) : /^[A-Za-z0-9_-]{1,80}$/.test(name)) return;
  throw invalid(fifo
    ? 'The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, must end with .fifo suffix and be 1 to 80 in length.'
    : 'Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length.');
}

/** A queue that is there is given back if it has the attributes that are asked for. */
function sameQueue(queue: Queue, attributes: Attributes): Queue {
  const name = Object.keys(attributes).find((each) => queue.attributes[each] !== attributes[each]);
  if (name !== undefined) {
    throw new SqsError('QueueNameExists', `A queue already exists with the same name and a different value for attribute ${name}`);
  }
  return queue;
}

interface Source {
  readonly store: QueueStore;
  readonly arn: string;
  readonly fifo: boolean;
}

function checkDeadLetters(attributes: Attributes, { store, arn, fifo }: Source): void {
  const { RedrivePolicy: redrive, RedriveAllowPolicy: allow } = attributes;
  if (allow) checkRedriveAllowPolicy(allow);
  if (!redrive) return;
  const { deadLetterTargetArn } = readRedrivePolicy(redrive);
  const refuse = (reason: string) => invalidValue(redrive, 'RedrivePolicy', reason);
  const dead = store.withArn(deadLetterTargetArn);
  if (!dead) throw refuse('Dead letter target does not exist.');
  if (dead.isFifo !== fifo) throw refuse('Dead-letter queue must be same type of queue as the source.');
  if (!letsIn(dead, arn)) throw refuse('The RedriveAllowPolicy of the dead-letter queue does not allow this source queue.');
}

function pageOfUrls(urls: readonly string[], input: Input, name: string): Record<string, unknown> {
  const most = integerWithin(input, 'MaxResults', 1, MOST_LISTED, `Must be between 1 and ${MOST_LISTED}, if provided.`);
  const token = text(input, 'NextToken');
  if (token !== undefined && most === undefined) throw missing('MaxResults');
  const after = token === undefined ? '' : Buffer.from(token, 'base64').toString();
  if (token !== undefined && !after.startsWith('http')) throw invalid('Invalid or expired next token.');
  const left = urls.filter((url) => url > after);
  const page = left.slice(0, most ?? MOST_LISTED);
  if (page.length === 0) return {};
  return { [name]: page, ...(most !== undefined && page.length < left.length && { NextToken: Buffer.from(page.at(-1)!).toString('base64') }) };
}
