import Type from 'typebox';
import { Uuid } from '../../shared/events/index.ts';
import { ProblemDetails } from '../../shared/http/problem.ts';
import { ConsistencyToken, ETag, type Routes } from '../../shared/http/route.ts';
import { BATCH_LIMIT, CamelEntry, CamelOrder, IdempotencyKey, SnakeEntry, SnakeOrder } from './order-request.ts';

/** A batch of the most orders of ordinary size fits. */
const BATCH_BODY_LIMIT = 1024 * 1024;

const Location = Type.String({ format: 'uri-reference', description: 'address of the order at the read service' });
const Pending = Type.Literal('PENDING');
const accepted = { outcome: Type.Literal('accepted'), status: Pending, location: Location };
const Count = Type.Integer({ minimum: 0, maximum: BATCH_LIMIT });

export const routes = {
  createOrder: {
    method: 'POST',
    path: '/orders',
    summary: 'Place an order',
    description: 'Takes the order in and answers at once; stock is decided afterwards. The answer uses the field names of the request.',
    headers: Type.Object({ 'Idempotency-Key': Type.Optional(IdempotencyKey) }),
    body: Type.Union([CamelOrder, SnakeOrder]),
    answers: {
      202: {
        description: 'The order is stored, or was before under the same idempotency key.',
        headers: Type.Object({ 'Location': Location, 'ETag': ETag, 'Consistency-Token': ConsistencyToken }),
        body: Type.Union([
          Type.Object({ orderId: Uuid, status: Pending }, { title: 'OrderAccepted' }),
          Type.Object({ order_id: Uuid, status: Pending }, { title: 'OrderAcceptedSnake' }),
        ]),
      },
    },
    problems: ['unknown-sku', 'idempotency-mismatch', 'unavailable'],
  },
  createOrders: {
    method: 'POST',
    path: '/orders/batch',
    summary: 'Place many orders',
    description: `Up to ${BATCH_LIMIT} orders, each with an outcome of its own, in the order of the request. An idempotency key belongs to a single order.`,
    bodyLimit: BATCH_BODY_LIMIT,
    body: Type.Object({
      orders: Type.Array(Type.Union([CamelEntry, SnakeEntry]), { minItems: 1, maxItems: BATCH_LIMIT, description: `a list of 1 to ${BATCH_LIMIT} orders` }),
    }, { title: 'OrderBatch', additionalProperties: false }),
    answers: {
      200: {
        description: 'What became of each order.',
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
} as const satisfies Routes;
