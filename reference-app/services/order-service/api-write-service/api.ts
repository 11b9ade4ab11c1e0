import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Pool } from 'pg';
import type { Logger } from 'pino';
import { Counter } from 'prom-client';
import type { Registry } from 'prom-client';
import { createChanger, type Changed } from './change.ts';
import { GroupCommit } from './group-commit.ts';
import type { NewOrder } from './intake.ts';
import {
  commandFingerprint, fingerprint, parseBatch, parseCancellation, parseEntries, parseIdempotencyKey, parseIfMatch, parseOrderRequest,
  parsePatch, skuField, unknownSkuProblem,
} from './order-request.ts';
import type { OrderRequest, Style } from './order-request.ts';
import { routes } from './routes.ts';
import { newEvent, newId } from '../../shared/events/index.ts';
import { createApp, jsonBody, orderIdOf, type ApiLimits } from '../../shared/http/app.ts';
import type { Authentication } from '../../shared/http/caller.ts';
import { CONSISTENCY_TOKEN_HEADER, formatConsistencyToken } from '../../shared/http/consistency-token.ts';
import { invalid, Problem } from '../../shared/http/problem.ts';
import { writerReady } from '../../shared/http/readiness.ts';
import { serve } from '../../shared/http/route.ts';
import { RequiredReleases } from '../../shared/releases.ts';

export interface WriteApiDeps extends ApiLimits {
  /** The writer, as the command role. */
  readonly pool: Pool;
  readonly logger: Logger;
  readonly registry: Registry;
  /** Recognises who sends a request. */
  readonly authentication: Authentication;
  /** The `gatherMs` of its group commit. */
  readonly gatherMs?: number;
}

const VERSION = 1;

/** The command side: takes orders in. */
export function createWriteApi({ pool, logger, registry, authentication, gatherMs = 0, ...limits }: WriteApiDeps): FastifyInstance {
  const created = new Counter({ name: 'orders_created_total', help: 'Orders accepted.', registers: [registry] });
  const idempotency = new Counter({
    name: 'idempotency_requests_total',
    help: 'Valid order requests by what their idempotency key did: none given, new, replayed, refused for another body.',
    labelNames: ['result'],
    registers: [registry],
  });
  const intake = new GroupCommit(pool, { gatherMs });
  const change = createChanger(pool, registry);
  const ready = writerReady(new RequiredReleases(pool, ['messaging', 'inventory', 'orders'], logger));
  const app = createApp({ logger, registry, ready, authentication, ...limits });
  app.addContentTypeParser('application/merge-patch+json', { parseAs: 'buffer' }, jsonBody);

  /**
   * The id of the order, stored now or before under the same key; throws a `Problem` if it is refused. `keyField` is where the key was
   * given.
   */
  async function accept(order: OrderRequest, key: string | undefined, keyField: string, request: FastifyRequest): Promise<string> {
    const { raw: { socket }, caller: { subject, customerId } } = request;
    const sender = customerId === undefined ? undefined : subject;
    const outcome = await intake.accept(newOrder(order, key, request), () => socket.destroyed, sender);
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
        throw unknownSkuProblem(order.items, outcome.skus, (n) => skuField(order.style, n));
    }
  }

  serve(app, routes.createOrder, async (request, reply) => {
    const key = parseIdempotencyKey(request.headers['idempotency-key']);
    const order = parseOrderRequest(request.body, request.caller);
    request.orderId = await accept(order, key, 'Idempotency-Key', request);
    return accepted(reply, request.orderId, order.style);
  });

  serve(app, routes.createOrders, async (request, reply) => {
    if (request.headers['idempotency-key'] !== undefined) {
      throw invalid('Idempotency-Key', 'is for a single order; give each order of a batch an idempotencyKey of its own');
    }
    const entries = parseBatch(request.body);
    request.countOrders(entries.length);
    const parsed = await parseEntries(entries, request.caller);
    const results = await Promise.all(parsed.map(async (entry, n): Promise<BatchResult> => {
      try {
        if (entry instanceof Problem) throw entry;
        const { order, key, keyField } = entry;
        return { style: order.style, orderId: await accept(order, key, keyField, request) };
      } catch (error) {
        if (!(error instanceof Problem)) throw error;
        return { problem: error.inside(`orders[${n}]`) };
      }
    }));
    const problems = results.flatMap((result) => ('problem' in result ? [result.problem] : []));
    // Nothing was even looked at: the whole request should come again.
    if (problems.length === results.length && problems.every(({ problem }) => problem === 'unavailable')) throw problems[0]!;
    return reply.send({
      accepted: results.length - problems.length, refused: problems.length, results: results.map((result) => batchAnswer(result)),
    });
  });
  /** The common part of all commands: which order, which version of it, and whether it was asked for before. */
  function commandOf(request: FastifyRequest, body: unknown) {
    const orderId = orderIdOf(request);
    const key = parseIdempotencyKey(request.headers['idempotency-key']);
    return {
      orderId,
      caller: request.caller,
      versions: parseIfMatch(request.headers['if-match']),
      cause: { id: request.id, correlationid: orderId, traceparent: request.traceparent },
      key: key === undefined ? undefined : { key, fingerprint: commandFingerprint(orderId, body) },
    };
  }

  serve(app, routes.updateOrder, async (request, reply) => {
    const { style, items } = parsePatch(request.body);
    const command = commandOf(request, ['update', items]);
    const changed = await change({ ...command, request: { command: 'update', items }, field: (n) => skuField(style, n) });
    return commanded(reply, command.orderId, changed, style);
  });

  serve(app, routes.cancelOrder, async (request, reply) => {
    const reason = parseCancellation(request.body);
    const command = commandOf(request, ['cancel', reason]);
    return commanded(reply, command.orderId, await change({ ...command, request: { command: 'cancel', reason } }), 'camel');
  });
  return app;
}

/** A command that is not refused. */
function commanded(reply: FastifyReply, orderId: string, { version, status }: Changed, style: Style): FastifyReply {
  reply.code(202).headers({
    location: `/orders/${orderId}`,
    etag: `"${version}"`,
    [CONSISTENCY_TOKEN_HEADER]: formatConsistencyToken({ orderId, version }),
  });
  return reply.send(style === 'snake' ? { order_id: orderId, status } : { orderId, status });
}

type BatchResult = { readonly style: Style; readonly orderId: string } | { readonly problem: Problem };

function batchAnswer(result: BatchResult): object {
  if ('problem' in result) return { outcome: 'refused', problem: result.problem.toBody() };
  const { orderId, style } = result;
  const consistencyToken = formatConsistencyToken({ orderId, version: VERSION });
  const common = { outcome: 'accepted', status: 'PENDING', location: `/orders/${orderId}` };
  return style === 'snake' ? { ...common, order_id: orderId, consistency_token: consistencyToken } : { ...common, orderId, consistencyToken };
}

function newOrder(
  order: OrderRequest, key: string | undefined, { id: causeId, traceparent, caller: { subject } }: FastifyRequest,
): NewOrder {
  const orderId = newId();
  const createdAt = new Date();
  const event = newEvent({
    type: 'order.created',
    source: '/order-service',
    subject: orderId,
    sequence: VERSION,
    time: createdAt,
    cause: { id: causeId, correlationid: orderId, traceparent },
    data: { orderId, customerId: order.customerId, items: [...order.items], createdAt: createdAt.toISOString() },
  });
  return {
    orderId,
    customerId: order.customerId,
    items: order.items,
    createdAt,
    traceparent,
    causeId,
    idempotency: key === undefined ? undefined : { subject, key, fingerprint: fingerprint(order) },
    event: { id: event.id, envelope: JSON.stringify(event) },
  };
}

function accepted(reply: FastifyReply, orderId: string, style: Style): FastifyReply {
  reply.code(202).headers({
    location: `/orders/${orderId}`,
    etag: `"${VERSION}"`,
    [CONSISTENCY_TOKEN_HEADER]: formatConsistencyToken({ orderId, version: VERSION }),
  });
  return reply.send(style === 'snake' ? { order_id: orderId, status: 'PENDING' } : { orderId, status: 'PENDING' });
}
