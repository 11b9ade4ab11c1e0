import Type from 'typebox';
import { BATCH_LIMIT, CamelEntry, CamelOrder, CamelPatch, Cancellation, IdempotencyKey, SnakeEntry, SnakeOrder, SnakePatch } from './order-request.ts';
import { Uuid } from '../../shared/events/index.ts';
import { ProblemDetails } from '../../shared/http/problem.ts';
import { ConsistencyToken, ETag, type Routes } from '../../shared/http/route.ts';

/** A batch of the most orders of ordinary size fits. */
const BATCH_BODY_LIMIT = 1024 * 1024;

const Location = Type.String({ format: 'uri-reference', description: 'address of the order at the read service' });
const Pending = Type.Literal('PENDING');
const accepted = { outcome: Type.Literal('accepted'), status: Pending, location: Location };
const Count = Type.Integer({ minimum: 0, maximum: BATCH_LIMIT });

const params = Type.Object({ id: Type.String({ ...Uuid, description: 'order id from POST /orders' }) });
const commandHeaders = Type.Object({
  'If-Match': Type.String({ description: 'the ETag of the last answer about the order, or * for whatever it is now', examples: ['"2"'] }),
  'Idempotency-Key': Type.Optional(IdempotencyKey),
});
const changed = (description: string, status: 'UPDATE_PENDING' | 'CANCEL_PENDING', ...others: string[]) => {
  const statuses = Type.Enum([status, ...others]);
  return {
    description,
    headers: Type.Object({ 'Location': Location, 'ETag': ETag, 'Consistency-Token': ConsistencyToken }),
    body: Type.Union([
      Type.Object({ orderId: Uuid, status: statuses }, { title: `Order_${status}` }),
      Type.Object({ order_id: Uuid, status: statuses }, { title: `Order_${status}_Snake` }),
    ]),
  };
};
const commandProblems = ['order-not-found', 'illegal-transition', 'precondition-failed', 'precondition-required', 'idempotency-mismatch', 'unavailable'] as const;

const id = '$response.body#/orderId';
const command = { id, 'If-Match': '$response.header.ETag' };
const links = { getOrder: { id }, getTimeline: { id }, updateOrder: command, cancelOrder: command };

export const routes = {
  createOrder: {
    method: 'POST',
    path: '/orders',
    scope: 'orders.write',
    summary: 'Place an order',
    description: 'Takes the order in and answers at once; stock is decided afterwards. The answer uses the field names of the request.',
    headers: Type.Object({ 'Idempotency-Key': Type.Optional(IdempotencyKey) }),
    body: Type.Union([CamelOrder, SnakeOrder]),
    answers: {
      202: {
        description: 'The order is stored now, or was stored before under the same idempotency key.',
        headers: Type.Object({ 'Location': Location, 'ETag': ETag, 'Consistency-Token': ConsistencyToken }),
        body: Type.Union([
          Type.Object({ orderId: Uuid, status: Pending }, { title: 'OrderAccepted' }),
          Type.Object({ order_id: Uuid, status: Pending }, { title: 'OrderAcceptedSnake' }),
        ]),
        links,
      },
    },
    problems: ['unknown-sku', 'idempotency-mismatch', 'unavailable'],
  },
  createOrders: {
    method: 'POST',
    path: '/orders/batch',
    scope: 'orders.write',
    summary: 'Place many orders',
    description: `Up to ${BATCH_LIMIT} orders, each with an outcome of its own, in the order of the request. `
      + 'An idempotency key belongs to a single order. For the limit of requests, each order counts as one.',
    bodyLimit: BATCH_BODY_LIMIT,
    body: Type.Object({
      orders: Type.Array(Type.Union([CamelEntry, SnakeEntry]), { minItems: 1, maxItems: BATCH_LIMIT, description: `a list of 1 to ${BATCH_LIMIT} orders` }),
    }, { title: 'OrderBatch', additionalProperties: false }),
    answers: {
      200: {
        description: 'The outcome of each order.',
        body: Type.Object({
          accepted: Count,
          refused: Count,
          results: Type.Array(Type.Union([
            Type.Object({ ...accepted, orderId: Uuid, consistencyToken: ConsistencyToken }, { title: 'BatchAccepted' }),
            Type.Object({ ...accepted, order_id: Uuid, consistency_token: ConsistencyToken }, { title: 'BatchAcceptedSnake' }),
            Type.Object({ outcome: Type.Literal('refused'), problem: ProblemDetails }, { title: 'BatchRefused' }),
          ])),
        }, { title: 'OrderBatchResult' }),
      },
    },
    problems: ['unavailable'],
  },
  updateOrder: {
    method: 'PATCH',
    path: '/orders/:id',
    scope: 'orders.write',
    summary: 'Change the items of an order',
    description: 'A merge patch (RFC 7396): the list of items replaces the old one. Stock is decided afterwards, about the difference only; if it is not enough, '
      + 'the order stays as it was. Possible when the order is CONFIRMED.',
    params,
    headers: commandHeaders,
    body: Type.Union([CamelPatch, SnakePatch]),
    bodyTypes: ['application/merge-patch+json', 'application/json'],
    answers: {
      202: changed('The order is locked until the decision, or it has those items already.', 'UPDATE_PENDING', 'CONFIRMED'),
    },
    problems: ['unknown-sku', ...commandProblems],
  },
  cancelOrder: {
    method: 'POST',
    path: '/orders/:id/cancel',
    scope: 'orders.write',
    summary: 'Cancel an order',
    description: 'Possible when the order is PENDING or CONFIRMED. The order is CANCELLED as soon as its stock is given back.',
    params,
    headers: commandHeaders,
    body: Cancellation,
    bodyIsOptional: true,
    answers: {
      202: changed('The order is locked until its stock is given back.', 'CANCEL_PENDING'),
    },
    problems: commandProblems,
  },
} as const satisfies Routes;
