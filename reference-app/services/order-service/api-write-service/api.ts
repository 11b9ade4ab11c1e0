import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Pool } from 'pg';
import type { Logger } from 'pino';
import { Counter } from 'prom-client';
import type { Registry } from 'prom-client';
import { newEvent, newId } from '../../shared/events/index.ts';
import { createApp } from '../../shared/http/app.ts';
import { CONSISTENCY_TOKEN_HEADER, formatConsistencyToken } from '../../shared/http/consistency-token.ts';
import { invalid, Problem } from '../../shared/http/problem.ts';
import { writerReady } from '../../shared/http/readiness.ts';
import { serve } from '../../shared/http/route.ts';
import { GroupCommit } from './group-commit.ts';
import type { NewOrder } from './intake.ts';
import { fingerprint, parseBatch, parseEntry, parseIdempotencyKey, parseOrderRequest, skuField } from './order-request.ts';
import type { OrderRequest, Style } from './order-request.ts';
import { routes } from './routes.ts';

export interface WriteApiDeps {
  /** The writer, as the command role. */
  readonly pool: Pool;
  readonly logger: Logger;
  readonly registry: Registry;
}

const VERSION = 1;

/** The command side: takes orders in. */
export function createWriteApi({ pool, logger, registry }: WriteApiDeps): FastifyInstance {
  const created = new Counter({ name: 'orders_created_total', help: 'Orders accepted.', registers: [registry] });
  const idempotency = new Counter({
    name: 'idempotency_requests_total',
    help: 'Valid order requests by what their idempotency key did: none given, new, replayed, refused for another body.',
    labelNames: ['result'],
    registers: [registry],
  });
  const intake = new GroupCommit(pool);
  const app = createApp({ logger, registry, ready: writerReady(pool) });

  /** The id of the order, stored now or before under the same key; throws a `Problem` if it is refused. `keyField` is where the key was given. */
  async function accept(order: OrderRequest, key: string | undefined, keyField: string, request: FastifyRequest): Promise<string> {
    const outcome = await intake.accept(newOrder(order, key, request.id, request.traceparent));
    switch (outcome.result) {
      case 'accepted':
        created.inc();
        idempotency.inc({ result: key === undefined ? 'none' : 'new' });
        return outcome.orderId;
      case 'replayed':
        idempotency.inc({ result: 'replayed' });
        return outcome.orderId;
      case 'mismatch': {
        idempotency.inc({ result: 'mismatch' });
        const message = 'was used before with another body; use a new key for a new order, or send the first body again';
        throw new Problem('idempotency-mismatch', `${keyField} ${message}`, { errors: [{ field: keyField, message }] });
      }
      case 'unknown-sku':
        throw unknownSkus(order, outcome.skus);
    }
  }

  serve(app, routes.createOrder, async (request, reply) => {
    const key = parseIdempotencyKey(request.headers['idempotency-key']);
    const order = parseOrderRequest(request.body);
    request.orderId = await accept(order, key, 'Idempotency-Key', request);
    return accepted(reply, request.orderId, order.style);
  });

  serve(app, routes.createOrders, async (request, reply) => {
    if (request.headers['idempotency-key'] !== undefined) {
      throw invalid('Idempotency-Key', 'is for a single order; give each order of a batch an idempotencyKey of its own');
    }
    const entries = parseBatch(request.body);
    const results = await Promise.all(entries.map(async (entry, n): Promise<BatchResult> => {
      try {
        const { order, key, keyField } = parseEntry(entry);
        return { style: order.style, orderId: await accept(order, key, keyField, request) };
      } catch (error) {
        if (!(error instanceof Problem)) throw error;
        return { problem: error.inside(`orders[${n}]`) };
      }
    }));
    const problems = results.flatMap((result) => ('problem' in result ? [result.problem] : []));
    // Nothing was even looked at: the whole request should come again.
    if (problems.length === results.length && problems.every(({ problem }) => problem === 'unavailable')) throw problems[0]!;
    return reply.send({ accepted: results.length - problems.length, refused: problems.length, results: results.map((result) => batchAnswer(result)) });
  });
  return app;
}

type BatchResult = { readonly style: Style; readonly orderId: string } | { readonly problem: Problem };

function batchAnswer(result: BatchResult): object {
  if ('problem' in result) return { outcome: 'refused', problem: result.problem.toBody() };
  const { orderId, style } = result;
  const consistencyToken = formatConsistencyToken({ orderId, version: VERSION });
  const common = { outcome: 'accepted', status: 'PENDING', location: `/orders/${orderId}` };
  return style === 'snake' ? { ...common, order_id: orderId, consistency_token: consistencyToken } : { ...common, orderId, consistencyToken };
}

function newOrder(request: OrderRequest, idempotencyKey: string | undefined, causeId: string, traceparent: string): NewOrder {
  const orderId = newId();
  const createdAt = new Date();
  const event = newEvent({
    type: 'order.created',
    source: '/order-service',
    subject: orderId,
    sequence: VERSION,
    time: createdAt,
    cause: { id: causeId, correlationid: orderId, traceparent },
    data: { orderId, customerId: request.customerId, items: [...request.items], createdAt: createdAt.toISOString() },
  });
  return {
    orderId,
    customerId: request.customerId,
    items: request.items,
    createdAt,
    traceparent,
    causeId,
    idempotency: idempotencyKey === undefined ? undefined : { key: idempotencyKey, fingerprint: fingerprint(request) },
    event: { id: event.id, envelope: JSON.stringify(event) },
  };
}

function accepted(reply: FastifyReply, orderId: string, style: Style): FastifyReply {
  reply.code(202).headers({
    'location': `/orders/${orderId}`,
    'etag': `"${VERSION}"`,
    [CONSISTENCY_TOKEN_HEADER]: formatConsistencyToken({ orderId, version: VERSION }),
  });
  return reply.send(style === 'snake' ? { order_id: orderId, status: 'PENDING' } : { orderId, status: 'PENDING' });
}

function unknownSkus({ style, items }: OrderRequest, skus: readonly string[]): Problem {
  const errors = items.flatMap(({ sku }, n) => (skus.includes(sku)
    ? [{ field: skuField(style, n), message: `names "${sku}", which is not in the catalogue; use a SKU that GET /inventory/{sku} knows` }]
    : []));
  return new Problem('unknown-sku', errors.map((e) => `${e.field} ${e.message}`).join('; '), { errors });
}
