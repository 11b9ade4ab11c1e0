import type { JsonSchema } from './json-schema.ts';
import type { Contract } from './published.ts';

const AT = '2026-01-15T10:30:00.000Z';

/**
 * Events that hold what the schema allows: the first with as little as possible, the others with everything, one for each value of
 * the longest `enum`.
 */
export function sampleEvents({ type, name, major, schema }: Contract): object[] {
  const data = schema.properties?.data ?? {};
  const count = Math.max(2, longestEnum(data));
  return Array.from({ length: count }, (_, n) => {
    const event = sample(schema, 'event', { n, ids: 0 }) as Record<string, unknown> & { data: Record<string, unknown> };
    return {
      ...event,
      source: `/${name.split('.', 1)[0]}-service`,
      subject: event.data.orderId ?? event.subject,
      partitionkey: event.data.orderId ?? event.partitionkey,
      correlationid: event.data.orderId ?? event.correlationid,
      dataschema: `urn:cdk-order-pipeline:${name}:${major}`,
      type,
    };
  });
}

interface State {
  /** The number of the sample; 0 is the smallest. */
  readonly n: number;
  ids: number;
}

/** A value for a schema; throws if it can't, naming the field that should have `examples`. */
function sample(schema: JsonSchema, field: string, state: State): unknown {
  const { n } = state;
  if ('const' in schema) return schema.const;
  if (schema.enum) return schema.enum[n % schema.enum.length];
  if (schema.examples && schema.examples.length > 0) return schema.examples[(n + state.ids++) % schema.examples.length];
  if (schema.anyOf) return sample(schema.anyOf[n % schema.anyOf.length]!, field, state);
  switch (schema.type) {
    case 'object': {
      const entries = Object.entries(schema.properties ?? {}).filter(([name]) => n > 0 || schema.required?.includes(name));
      return Object.fromEntries(entries.map(([name, one]) => [name, sample(one, `${field}.${name}`, state)]));
    }
    case 'array': {
      const least = Number(schema.minItems ?? 0);
      const length = n === 0 ? least : Math.min(Math.max(least, 2), Number(schema.maxItems ?? 2));
      return Array.from({ length }, () => sample(schema.items ?? {}, `${field}[]`, state));
    }
    case 'integer':
    case 'number': {
      const least = Number(schema.minimum ?? 0);
      return n === 0 ? Math.max(least, 0) : Math.min(Math.max(least, 0) + n, Number(schema.maximum ?? Infinity));
    }
    case 'boolean': return n % 2 === 1;
    case 'null': return null;
    case 'string': return text(schema, field, state);
    default: throw new Error(`No sample can be made for ${field}; give its schema \`examples\`.`);
  }
}

function text(schema: JsonSchema, field: string, state: State): string {
  if (schema.format === 'uuid') return `019b0000-0000-7000-8000-${String(++state.ids).padStart(12, '0')}`;
  if (schema.format === 'date-time') return AT;
  const least = Number(schema.minLength ?? 0);
  const candidate = (field.split('.').at(-1) ?? '').replace('[]', '').padEnd(least, 'x').slice(0, Number(schema.maxLength ?? 64));
  const tries = [candidate, '1', `00-${'1'.repeat(32)}-${'2'.repeat(16)}-01`];
  const pattern = typeof schema.pattern === 'string' ? new RegExp(schema.pattern, 'u') : /(?:)/;
  const found = tries.find((one) => pattern.test(one));
  if (found === undefined) throw new Error(`No sample can be made for ${field}, with the pattern ${pattern.source}; give its schema \`examples\`.`);
  return found;
}

function longestEnum(schema: JsonSchema): number {
  return Math.max(
    schema.enum?.length ?? 0,
    ...Object.values(schema.properties ?? {}).map(longestEnum),
    ...(schema.items ? [longestEnum(schema.items)] : []),
    ...(schema.anyOf ?? []).map(longestEnum),
  );
}
