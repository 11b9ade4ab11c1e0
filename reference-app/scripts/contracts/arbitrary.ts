import fc, { type Arbitrary } from 'fast-check';
import type { JsonSchema } from './json-schema.ts';

// Only tests import this file.

export interface ArbitraryOptions {
  /** Fields that the schema does not name, as a newer producer may send them. @default false */
  readonly unknownFields?: boolean;
}

/** Any value that a schema allows. Throws for a keyword that it does not know, so that no rule is left out unnoticed. */
export function arbitraryOf(schema: JsonSchema, options: ArbitraryOptions = {}): Arbitrary<unknown> {
  const of = (one: JsonSchema) => arbitraryOf(one, options);
  const { minimum, maximum, minItems, maxItems } = schema as Record<string, number | undefined>;
  if ('const' in schema) return known(schema, ['type', 'const'], fc.constant(schema.const));
  if (schema.enum) return known(schema, ['type', 'enum'], fc.constantFrom(...schema.enum));
  if (schema.anyOf) return known(schema, ['anyOf'], fc.oneof(...schema.anyOf.map(of)));
  switch (schema.type) {
    case 'object': return arbitraryObject(schema, options);
    case 'array':
      return known(schema, ['type', 'items', 'minItems', 'maxItems'], fc.array(of(schema.items ?? {}), {
        minLength: minItems ?? 0, maxLength: Math.min(maxItems ?? Infinity, (minItems ?? 0) + 3),
      }));
    case 'integer':
      return known(schema, ['type', 'minimum', 'maximum'], fc.integer({
        min: minimum ?? -2_147_483_648, max: maximum ?? Math.max(2_147_483_647, minimum ?? 0),
      }));
    case 'boolean': return known(schema, ['type'], fc.boolean());
    case 'null': return known(schema, ['type'], fc.constant(null));
    case 'string': return arbitraryString(schema);
    case undefined: return known(schema, [], fc.jsonValue());
    default: throw new Error(`arbitraryOf does not know type ${schema.type}.`);
  }
}

function arbitraryObject(schema: JsonSchema, options: ArbitraryOptions): Arbitrary<object> {
  const { properties = {}, required = [] } = schema;
  const fields = Object.fromEntries(Object.entries(properties).map(([name, one]) => [name, arbitraryOf(one, options)]));
  const made = fc.record(fields, { requiredKeys: [...required] });
  const open = options.unknownFields && schema.additionalProperties === undefined;
  const unknown = fc.dictionary(fc.stringMatching(/^x[A-Z][a-z]{0,5}$/), fc.jsonValue(), { maxKeys: 2 });
  const arbitrary = open ? fc.tuple(unknown, made).map(([extra, value]) => ({ ...extra, ...value })) : made;
  return known(schema, ['type', 'properties', 'required', 'additionalProperties'], arbitrary);
}

function arbitraryString(schema: JsonSchema): Arbitrary<string> {
  if (schema.format === 'uuid') return known(schema, ['type', 'format'], fc.uuid());
  if (schema.format === 'date-time') {
    const dates = fc.date({ min: new Date('2020-01-01'), max: new Date('2100-01-01'), noInvalidDate: true });
    return known(schema, ['type', 'format'], dates.map((date) => date.toISOString()));
  }
  const { minLength = 0, maxLength = Infinity } = schema as Record<string, number | undefined>;
  const pattern = typeof schema.pattern === 'string' ? new RegExp(schema.pattern, 'u') : /(?:)/u;
  const fits = (value: string) => [...value].length >= minLength && [...value].length <= maxLength && pattern.test(value);
  const plain = fc.string({ minLength, maxLength: Math.min(maxLength, minLength + 20), unit: 'binary' });
  // Strings for a pattern that forbids only a little are found by trying.
  const matching = fc.sample(plain, { numRuns: 50, seed: 1 }).filter(fits).length > 25 ? plain : fc.stringMatching(pattern, { size: 'small' });
  return known(schema, ['type', 'minLength', 'maxLength', 'pattern'], matching.filter(fits));
}

const ANNOTATIONS = ['$schema', '$id', 'title', 'description', 'examples', 'default', 'deprecated'];

function known<T>(schema: JsonSchema, keywords: readonly string[], arbitrary: Arbitrary<T>): Arbitrary<T> {
  const unknown = Object.keys(schema).find((keyword) => !keywords.includes(keyword) && !ANNOTATIONS.includes(keyword));
  if (unknown) throw new Error(`arbitraryOf does not know ${unknown} with ${schema.type ?? 'no type'}; teach it.`);
  return arbitrary;
}

/** Any event of a schema, with what a schema can't say: the subject is the order. */
export function arbitraryEvent(schema: JsonSchema, options: ArbitraryOptions = {}): Arbitrary<Record<string, unknown>> {
  return arbitraryOf(schema, options).map((event) => {
    const { data } = event as { data: { orderId?: string } };
    return { ...event as object, ...(data.orderId === undefined ? {} : { subject: data.orderId }) };
  });
}
