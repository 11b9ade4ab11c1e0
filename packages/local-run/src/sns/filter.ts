import { compilePattern, matchesPattern } from '../eventbridge/pattern.ts';
import type { MessageAttribute } from '../service.ts';
import { invalid } from './errors.ts';

export type FilterScope = 'MessageAttributes' | 'MessageBody';

/** The parts of a message that a filter policy looks at. */
export interface Filtered {
  readonly message: string;
  readonly attributes: Readonly<Record<string, MessageAttribute>>;
}

export type Filter = (message: Filtered) => boolean;

/** SNS takes longer policies than EventBridge takes patterns. */
const LONGEST_POLICY = 262_144;

/**
 * Compiles a filter policy. Its language is that of event patterns: one of the values of each key must match, in `String.Array` and arrays
 * of a body any element may match, and `$or` takes alternatives. There are three differences. Attributes are flat, so their policy is, too.
 * SNS compares numbers with five digits after the point, and this engine all of them. The limits of SNS for the size of a policy (five
 * keys, 150 combinations of values) and its refusal of operators that only EventBridge has are not followed.
 *
 * @throws AwsError if the policy is not valid
 */
export function compileFilter(policy: string, scope: FilterScope): Filter {
  const parsed = parse(policy);
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) throw invalid('FilterPolicy: it must be a JSON object');
  if (Object.keys(parsed).length === 0) return () => true;
  const nested = Object.values(parsed).some((value) => typeof value === 'object' && value !== null && !Array.isArray(value));
  if (scope === 'MessageAttributes' && nested) {
    throw invalid('FilterPolicy: Filter policy scope MessageAttributes does not support nested filter policy');
  }
  const pattern = (() => {
    try {
      return compilePattern(policy, LONGEST_POLICY);
    } catch (error) {
      throw invalid(`FilterPolicy: ${(error as Error).message.replace('Event pattern is not valid. Reason: ', '')}`);
    }
  })();
  return (message) => {
    const values = scope === 'MessageBody' ? parse(message.message) : valuesOf(message.attributes);
    return typeof values === 'object' && values !== null && !Array.isArray(values) && matchesPattern(pattern, values);
  };
}

/** The values of attributes; binary ones take part in no filter. */
function valuesOf(attributes: Filtered['attributes']): Record<string, unknown> {
  const values: Record<string, unknown> = {};
  for (const [name, { DataType, StringValue }] of Object.entries(attributes)) {
    if (StringValue === undefined) continue;
    const value = valueOf(DataType, StringValue);
    if (value !== undefined) values[name] = value;
  }
  return values;
}

/** A list that is none matches nothing, as if it were not there. */
function valueOf(type: string, text: string): unknown {
  if (type === 'Number') return Number(text);
  if (type !== 'String.Array') return text;
  const list = parse(text);
  return Array.isArray(list) ? list : undefined;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
