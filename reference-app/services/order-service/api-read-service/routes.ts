import Type, { type TObject, type TSchema } from 'typebox';
import { ListQuery, style } from './list-request.ts';
import { TIMELINE_LIMIT } from './statements.ts';
import { OrderPage, OrderView, StockView, TimelineView, snakeSchema } from './views.ts';
import { Sku, Uuid } from '../../shared/events/index.ts';
import { ConsistencyToken, ETag, type Answer, type Routes } from '../../shared/http/route.ts';

const ReadSource = Type.Enum(['replica', 'writer'], { description: 'which database answered' });
const source = { 'Read-Source': ReadSource };
const token = { 'Consistency-Token': Type.Optional(ConsistencyToken) };
const query = Type.Object({ style });

function found(description: string, body: TSchema, headers: TObject['properties'] = {}): Answer {
  return { description, headers: Type.Object({ ...source, ...headers }), body: Type.Union([body, snakeSchema(body)]) };
}

export const routes = {
  getOrder: {
    method: 'GET',
    path: '/orders/:id',
    scope: 'orders.read',
    summary: 'Show an order',
    params: Type.Object({ id: Uuid }),
    query,
    headers: Type.Object({
      ...token,
      'If-None-Match': Type.Optional(Type.String({ description: 'ETags of what the client has; if one is right, the answer is 304' })),
    }),
    answers: {
      200: found('The order.', OrderView, { ETag }),
      304: { description: 'The client has this version.', headers: Type.Object({ ...source, ETag }) },
    },
    problems: ['order-not-found', 'unavailable'],
  },
  getTimeline: {
    method: 'GET',
    path: '/orders/:id/timeline',
    scope: 'orders.read',
    summary: 'Show what happened to an order',
    description: `The last ${TIMELINE_LIMIT} events with their causes, and the status changes.`,
    params: Type.Object({ id: Uuid }),
    query,
    headers: Type.Object(token),
    answers: { 200: found('The timeline, oldest first.', TimelineView) },
    problems: ['order-not-found', 'unavailable'],
  },
  listOrders: {
    method: 'GET',
    path: '/orders',
    scope: 'orders.read',
    summary: 'List orders',
    description: 'Newest first, in pages. A customer gets its own orders, an operator those of all or of one.',
    query: ListQuery,
    headers: Type.Object(token),
    answers: {
      200: found('A page of orders.', OrderPage, {
        Link: Type.Optional(Type.String({ description: 'address of the next page, with `rel="next"`' })),
      }),
    },
    problems: ['customer-not-found', 'unavailable'],
  },
  getStock: {
    method: 'GET',
    path: '/inventory/:sku',
    scope: 'orders.read',
    summary: 'Show the stock of a SKU',
    params: Type.Object({ sku: Sku }),
    query,
    headers: Type.Object(token),
    answers: { 200: found('The stock.', StockView) },
    problems: ['sku-not-found', 'unavailable'],
  },
} as const satisfies Routes;
