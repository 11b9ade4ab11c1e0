import { isDeepStrictEqual } from 'node:util';
import type { JsonSchema } from './json-schema.ts';

/** A difference that somebody would notice: events in the archive, or consumers that run now. */
export interface Conflict {
  /** `data.items[].quantity` */
  readonly field: string;
  readonly problem: string;
}

/** Keywords that say something to people only. */
const ANNOTATIONS = new Set(['$schema', '$id', '$comment', 'title', 'description', 'examples', 'default', 'deprecated']);
const LOWER = new Set(['minimum', 'exclusiveMinimum', 'minLength', 'minItems', 'minProperties']);
const UPPER = new Set(['maximum', 'exclusiveMaximum', 'maxLength', 'maxItems', 'maxProperties']);

const IN_ARCHIVE = 'events in the archive may have it otherwise';
const AT_CONSUMERS = 'consumers that run now would refuse the event';

/**
 * The parts of `now` that are not compatible with `published`. Compatible means both: published events stay readable (the archive is
 * replayed into later code), and new events are readable by earlier consumers (they are not all replaced at once). So a field that is there
 * stays as it is, and an object may get optional fields. A part that this can't judge counts as a conflict.
 */
export function conflicts(published: JsonSchema, now: JsonSchema, field = ''): Conflict[] {
  const keywords = new Set([...Object.keys(published), ...Object.keys(now)].filter((keyword) => !ANNOTATIONS.has(keyword)));
  return [...keywords].flatMap((keyword) => {
    const before = published[keyword];
    const after = now[keyword];
    // The required fields are compared with the properties.
    if (keyword === 'required') return [];
    if (keyword === 'properties') return conflictsOfProperties(published, now, field);
    if (keyword === 'items' && isSchema(before) && isSchema(after)) return conflicts(before, after, `${field}[]`);
    if (keyword === 'anyOf' && Array.isArray(before) && Array.isArray(after) && before.length === after.length) {
      return before.flatMap((one: JsonSchema, i) => conflicts(one, after[i] as JsonSchema, field));
    }
    const problems = keyword === 'enum' && Array.isArray(before) && Array.isArray(after)
      ? problemsOfValues(before, after)
      : problemsOfKeyword(keyword, before, after);
    return problems.map((problem) => ({ field: field || 'the event', problem }));
  });
}

function problemsOfValues(before: readonly unknown[], after: readonly unknown[]): string[] {
  const missing = (from: readonly unknown[], to: readonly unknown[]) =>
    from.filter((value) => !to.includes(value)).map((value) => JSON.stringify(value)).join(', ');
  const gone = missing(before, after);
  const added = missing(after, before);
  return [
    ...(gone ? [`can't be ${gone} any more; events in the archive may say so`] : []),
    ...(added ? [`can be ${added} now; consumers that run now would refuse it`] : []),
  ];
}

function problemsOfKeyword(keyword: string, before: unknown, after: unknown): string[] {
  if (isDeepStrictEqual(before, after)) return [];
  const change = `${keyword} (${text(before)} → ${text(after)})`;
  const bound = LOWER.has(keyword) ? 1 : UPPER.has(keyword) ? -1 : 0;
  if (bound === 0) return [`has another ${change}; ${IN_ARCHIVE}, or ${AT_CONSUMERS}`];
  const [b, a] = [before, after].map((limit) => (limit === undefined ? -Infinity : Number(limit) * bound)) as [number, number];
  return [a > b ? `has a narrower ${change}; ${IN_ARCHIVE}` : `has a wider ${change}; ${AT_CONSUMERS}`];
}

function conflictsOfProperties(published: JsonSchema, now: JsonSchema, parent: string): Conflict[] {
  const found: Conflict[] = [];
  const { properties: before = {}, required: requiredBefore = [] } = published;
  const { properties: after = {}, required: requiredAfter = [] } = now;
  for (const name of new Set([...Object.keys(before), ...Object.keys(after)])) {
    const field = parent ? `${parent}.${name}` : name;
    const was = Object.hasOwn(before, name) ? before[name] : undefined;
    const is = Object.hasOwn(after, name) ? after[name] : undefined;
    const [neededBefore, neededAfter] = [requiredBefore.includes(name), requiredAfter.includes(name)];
    if (was && !is) {
      found.push({
        field,
        problem: neededBefore ? 'was removed; consumers that run now need it'
          : 'was removed; events in the archive have it, so that its name must not come back with another meaning (keep it, optional)',
      });
      continue;
    }
    if (neededAfter && !neededBefore) found.push({ field, problem: `${was ? 'became' : 'is new and'} required; events in the archive lack it` });
    if (neededBefore && !neededAfter) found.push({ field, problem: 'became optional; consumers that run now need it' });
    if (was && is) found.push(...conflicts(was, is, field));
  }
  return found;
}

/** Objects that refuse unknown fields: nothing could ever be added to them. */
export function closedObjects(schema: JsonSchema, field = ''): Conflict[] {
  const { properties = {}, items, anyOf = [] } = schema;
  const open = schema.additionalProperties === undefined && schema.unevaluatedProperties === undefined;
  return [
    ...(open ? [] : [{
      field: field || 'the event',
      problem: 'says what other fields it may have; consumers would refuse a field that is added later (leave it open)',
    }]),
    ...Object.entries(properties).flatMap(([name, property]) => closedObjects(property, field ? `${field}.${name}` : name)),
    ...(items ? closedObjects(items, `${field}[]`) : []),
    ...anyOf.flatMap((one) => closedObjects(one, field)),
  ];
}

/** The same without what says something to people only. */
export function withoutAnnotations(schema: JsonSchema): JsonSchema {
  const { properties, items, anyOf, ...rest } = schema;
  return {
    ...Object.fromEntries(Object.entries(rest).filter(([keyword]) => !ANNOTATIONS.has(keyword))),
    ...(properties && { properties: Object.fromEntries(Object.entries(properties).map(([name, one]) => [name, withoutAnnotations(one)])) }),
    ...(items && { items: withoutAnnotations(items) }),
    ...(anyOf && { anyOf: anyOf.map(withoutAnnotations) }),
  };
}

function isSchema(value: unknown): value is JsonSchema {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function text(value: unknown): string {
  return value === undefined ? 'none' : JSON.stringify(value);
}
