import { invalid, invalidValue, missing } from '../errors.ts';
import { mapOfTexts, texts } from '../input.ts';
import { NOTHING, queueOf } from './action.ts';
import type { Action } from './action.ts';

const MOST_TAGS = 50;
const CHARACTERS = /^[\p{L}\p{Z}\p{N}_.:/=+\-@]*$/u;

export const tagActions: Readonly<Record<string, Action>> = {
  TagQueue: (input, context) => {
    const queue = queueOf(input, context);
    const tags = mapOfTexts(input, 'Tags');
    if (Object.keys(tags).length === 0) throw missing('Tags');
    checkTags({ ...Object.fromEntries(queue.tags), ...tags }, queue.name);
    for (const [key, value] of Object.entries(tags)) queue.tags.set(key, value);
    context.store.changed(queue);
    return NOTHING;
  },

  UntagQueue: (input, context) => {
    const queue = queueOf(input, context);
    const keys = texts(input, 'TagKeys');
    if (keys.length === 0) throw missing('TagKeys');
    for (const key of keys) queue.tags.delete(key);
    context.store.changed(queue);
    return NOTHING;
  },

  ListQueueTags: (input, context) => {
    const { tags } = queueOf(input, context);
    return tags.size === 0 ? NOTHING : { result: { Tags: Object.fromEntries(tags) } };
  },
};

/** @throws SqsError if a queue can't have these tags */
export function checkTags(tags: Readonly<Record<string, string>>, queueName: string): void {
  const entries = Object.entries(tags);
  if (entries.length > MOST_TAGS) throw invalid(`Too many tags added for queue ${queueName}.`);
  for (const [key, value] of entries) {
    if (key === '' || key.length > 128 || !CHARACTERS.test(key)) throw invalidValue(key, 'TagKey', 'A tag key has 1 to 128 letters, digits, spaces and _.:/=+-@.');
    if (/^aws:/i.test(key)) throw invalidValue(key, 'TagKey', 'The prefix aws: is reserved.');
    if (value.length > 256 || !CHARACTERS.test(value)) throw invalidValue(value, 'TagValue', 'A tag value has up to 256 letters, digits, spaces and _.:/=+-@.');
  }
}
