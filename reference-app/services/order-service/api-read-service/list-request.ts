import Type from 'typebox';
import type { ListFilter } from './statements.ts';
import { UUID } from '../../shared/events/ids.ts';
import type { Caller } from '../../shared/http/caller.ts';
import { invalid, Problem } from '../../shared/http/problem.ts';
import { anyTextPattern } from '../../shared/http/text.ts';
import { parser } from '../../shared/http/validation.ts';

export const ORDER_STATUSES = [
  'PENDING', 'CONFIRMED', 'FULFILLING', 'SHIPPED', 'DELIVERED', 'COMPLETED', 'REJECTED', 'CANCELLED', 'EXPIRED', 'FAILED',
  'UPDATE_PENDING', 'CANCEL_PENDING',
];

const DEFAULT_LIMIT = 20;

const customer = Type.Optional(Type.String({
  description: 'given once, 1 to 64 visible characters',
  pattern: anyTextPattern(64),
}));
/** `?style=snake` asks for snake_case names, as clients of `product_id` bodies expect them. */
export const style = Type.Optional(Type.Enum(['camel', 'snake'], { description: 'camel or snake' }));

export const ListQuery = Type.Object({
  customerId: customer,
  customer_id: customer,
  status: Type.Optional(Type.Enum(ORDER_STATUSES, { description: `given once, one of ${ORDER_STATUSES.join(', ')}` })),
  limit: Type.Optional(Type.String({ description: 'given once, a whole number from 1 to 100', pattern: '^(?:[1-9]\\d?|100)$' })),
  cursor: Type.Optional(Type.String({ description: 'given once, the value of next in the page before' })),
  style,
}, { additionalProperties: false, description: 'a query string' });

const parseListQuery = parser(ListQuery, 'query');
const parseStyle = parser(Type.Object({ style }), 'query');

export interface ListRequest {
  readonly filter: ListFilter;
  readonly limit: number;
}

/** A customer gets its own orders, whatever else it asks for. */
export function parseListRequest(query: unknown, caller: Pick<Caller, 'customerId'>): ListRequest {
  const { customerId, customer_id: alias, status, limit, cursor } = parseListQuery(query);
  if (customerId !== undefined && alias !== undefined) throw invalid('customer_id', 'says the same as customerId; give one of them');
  const named = customerId ?? alias;
  const filter = { status, after: cursor === undefined ? undefined : parseCursor(cursor) };
  if (caller.customerId !== undefined && named !== undefined && named !== caller.customerId) {
    throw new Problem('customer-not-found', `${customerId === undefined ? 'customer_id' : 'customerId'} ${named} is not the id of a customer; leave it out for your own orders.`);
  }
  return {
    filter: { ...filter, customerId: caller.customerId ?? named },
    limit: limit === undefined ? DEFAULT_LIMIT : Number(limit),
  };
}

export function wantsSnake(query: unknown): boolean {
  return parseStyle(query).style === 'snake';
}

/** Opaque to clients; the leading version distinguishes it from a later form. */
export function formatCursor(orderId: string): string {
  return Buffer.from(`1:${orderId}`).toString('base64url');
}

function parseCursor(cursor: string): string {
  const orderId = Buffer.from(cursor, 'base64url').toString('latin1').slice(2);
  if (!UUID.test(orderId) || formatCursor(orderId) !== cursor) {
    throw invalid('cursor', 'must be the value of next in the page before; leave it out for the first page');
  }
  return orderId;
}
