import type { FastifyInstance, FastifyReply } from 'fastify';
import type { Pool } from 'pg';
import type { Logger } from 'pino';
import { Counter } from 'prom-client';
import type { Registry } from 'prom-client';
import { newEvent, newId } from '../../shared/events/index.ts';
import { createApp, underBothBases } from '../../shared/http/app.ts';
import { CONSISTENCY_TOKEN_HEADER, formatConsistencyToken } from '../../shared/http/consistency-token.ts';
import { Problem } from '../../shared/http/problem.ts';
import { writerReady } from '../../shared/http/readiness.ts';
import { GroupCommit } from './group-commit.ts';
import type { NewOrder } from './intake.ts';
import { fingerprint, parseIdempotencyKey, parseOrderRequest, skuField } from './order-request.ts';
import type { OrderRequest, Style } from './order-request.ts';

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

  underBothBases('/orders', (url) => app.post(url, async (request, reply) => {
    const key = parseIdempotencyKey(request.headers['idempotency-key']);
    const order = parseOrderRequest(request.body);
    const outcome = await intake.accept(newOrder(order, key, request.id, request.traceparent));
    switch (outcome.result) {
      case 'accepted':
        created.inc();
        idempotency.inc({ result: key === undefined ? 'none' : 'new' });
        request.orderId = outcome.orderId;
        return accepted(reply, outcome.orderId, order.style);
      case 'replayed':
        idempotency.inc({ result: 'replayed' });
        request.orderId = outcome.orderId;
        return accepted(reply, outcome.orderId, order.style);
      case 'mismatch': {
        idempotency.inc({ result: 'mismatch' });
        const message = 'was used before with another body; use a new key for a new order, or send the first body again';
        throw new Problem('idempotency-mismatch', `Idempotency-Key ${message}`, { errors: [{ field: 'Idempotency-Key', message }] });
      }
      case 'unknown-sku':
        throw unknownSkus(order, outcome.skus);
    }
  }));
  return app;
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
