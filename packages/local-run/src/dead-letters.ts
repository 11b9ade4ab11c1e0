import type { Model } from './assembly/model.ts';

/** The properties that name a queue for failures: of functions, targets of rules and schedules, subscriptions, and queues. */
const NAMING = new Set(['DeadLetterConfig', 'OnFailure', 'RedrivePolicy']);

/** The ARNs of everything that takes the messages which another resource could not handle. */
export function deadLetterArns(model: Model): ReadonlySet<string> {
  const arns = new Set<string>();
  for (const { stack, source: { Properties }, path } of model.resources) {
    for (const part of partsNamed(NAMING, Properties)) {
      for (const text of textsIn(stack.evaluator.resolveLeniently(part, path, () => ''))) arns.add(text);
    }
  }
  return arns;
}

function partsNamed(names: ReadonlySet<string>, value: unknown): unknown[] {
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, part]) => (names.has(key) ? [part] : partsNamed(names, part)));
}

function textsIn(value: unknown): string[] {
  if (typeof value === 'string') return [value];
  return typeof value === 'object' && value !== null ? Object.values(value).flatMap(textsIn) : [];
}
