import { invalid } from './problem.ts';
import { UUID } from '../events/ids.ts';

/** "I wrote this version of this order": the read side answers with nothing older. Opaque to clients. */
export interface ConsistencyToken {
  readonly orderId: string;
  readonly version: number;
}

export const CONSISTENCY_TOKEN_HEADER = 'consistency-token';

export function formatConsistencyToken({ orderId, version }: ConsistencyToken): string {
  return Buffer.from(`${orderId}:${version}`).toString('base64url');
}

export function parseConsistencyToken(value: string | string[] | undefined): ConsistencyToken | undefined {
  if (value === undefined) return undefined;
  const [orderId = '', digits = '', ...rest] = Buffer.from(String(value), 'base64url').toString('latin1').split(':');
  const token = { orderId, version: Number(digits) };
  // Decoding forgives a lot, so only what we would have written ourselves counts.
  if (rest.length > 0 || !UUID.test(orderId) || !/^[1-9]\d{0,8}$/.test(digits) || formatConsistencyToken(token) !== value) {
    throw invalid('Consistency-Token', 'must be the value of that header in the answer to a write; send it unchanged or leave it out');
  }
  return token;
}
