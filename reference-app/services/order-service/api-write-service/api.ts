import type { FastifyInstance, FastifyReply } from 'fastify';
import type { Pool } from 'pg';
import type { Logger } from 'pino';
import { Counter } from 'prom-client';
import type { Registry } from 'prom-client';
import { isRetryable, isUnavailable } from '../../shared/database.ts';
import { newEvent, newId } from '../../shared/events/index.ts';
import { createApp, underBothBases } from '../../shared/http/app.ts';
import { CONSISTENCY_TOKEN_HEADER, formatConsistencyToken } from '../../shared/http/consistency-token.ts';
import { Problem, unavailable } from '../../shared/http/problem.ts';
import { writerReady } from '../../shared/http/readiness.ts';
import { acceptOrders } from './intake.ts';
import type { IntakeOutcome, NewOrder } from './intake.ts';
import { fingerprint, parseIdempotencyKey, parseOrderRequest, skuField } from './order-request.ts';
import type { OrderRequest, Style } from './order-request.ts';

export interface WriteApiDeps {
  /** The writer, as the command role. */
  readonly pool: Pool;
  readonly logger: Logger;
  readonly registry: Registry;
}

const VERSION = 1;
/** Requests beyond this many in line for a connection are told to come back: their answer would come too late anyway. */
const MAX_WAITING = 1_000;
const RETRY_DELAYS_MS = [20, 200];
/** A database that takes this long to fail is not tried again: the client should hear of it. */
const RETRY_WITHIN_MS = 2_000;

/** The command side: takes orders in. */
export function createWriteApi({ pool, logger, registry }: WriteApiDeps): FastifyInstance {
  const created = new Counter({ name: 'orders_created_total', help: 'Orders accepted.', registers: [registry] });
  const idempotency = new Counter({
    name: 'idempotency_requests_total',
    help: 'Valid order requests by what their idempotency key did: none given, new, replayed, refused for another body.',
    labelNames: ['result'],
    registers: [registry],
  });
  const app = createApp({ logger, registry, ready: writerReady(pool) });

  underBothBases('/orders', (url) => app.post(url, async (request, reply) => {
    const key = parseIdempotencyKey(request.headers['idempotency-key']);
    const order = parseOrderRequest(request.body);
    if (pool.waitingCount >= MAX_WAITING) throw unavailable('More orders arrive than can be stored; send this one again in a moment.');
    const outcome = await store(newOrder(order, key, request.id, request.traceparent), pool);
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
    idempotencyKey,
    fingerprint: fingerprint(request),
    event: { id: event.id, envelope: JSON.stringify(event) },
  };
}

/**
 * Stores one order. A broken connection leaves open whether the transaction was committed; because intake recognizes its
 * own order ids, it can simply be run again, so a failover of a moment costs a client nothing and never makes two orders.
 */
async function store(order: NewOrder, pool: Pool): Promise<IntakeOutcome> {
  const start = Date.now();
  for (let attempt = 0; ; attempt++) {
    try {
      const [outcome] = await acceptOrders([order], pool);
      if (!outcome) throw new Error('Intake gave no outcome.');
      return outcome;
    } catch (error) {
      const delay = RETRY_DELAYS_MS[attempt];
      if (!isTemporary(error)) throw error;
      if (delay === undefined || Date.now() - start > RETRY_WITHIN_MS) {
        throw unavailable('The order could not be stored; send it again in a moment, with the same Idempotency-Key if it had one.', error);
      }
      await new Promise((resolve) => setTimeout(resolve, delay));
    }
  }
}

function isTemporary(error: unknown): boolean {
  const { code, message } = error as { code?: string; message?: string };
  // 23505: our first attempt was still committing when the second came; the next finds the order. 57014: it took too long.
  return isUnavailable(error) || isRetryable(error) || code === '23505' || code === '57014' || message === 'Query read timeout';
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
