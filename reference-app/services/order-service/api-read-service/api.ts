import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Pool } from 'pg';
import type { Logger } from 'pino';
import { Counter } from 'prom-client';
import type { Registry } from 'prom-client';
import { consistentReader } from './consistent-read.ts';
import type { Source, TokenOf } from './consistent-read.ts';
import { formatCursor, parseListRequest, wantsSnake } from './list-request.ts';
import { registerReplicaLag } from './replica-lag.ts';
import { routes } from './routes.ts';
import { orderById, orderList, stockBySku, timeline } from './statements.ts';
import type { OrderOf, OrderRow, StockRow, TimelineRow } from './statements.ts';
import { orderView, stockView, timelineView, toSnake } from './views.ts';
import { createApp, orderIdOf, type ApiLimits } from '../../shared/http/app.ts';
import type { Authentication } from '../../shared/http/caller.ts';
import { CONSISTENCY_TOKEN_HEADER, parseConsistencyToken } from '../../shared/http/consistency-token.ts';
import { Problem, invalid } from '../../shared/http/problem.ts';
import { queryReady } from '../../shared/http/readiness.ts';
import { serve } from '../../shared/http/route.ts';
import { RequiredReleases, type SchemaName } from '../../shared/releases.ts';

export interface ReadApiDeps extends ApiLimits {
  /** A replica, as the query role. */
  readonly reader: Pool;
  /** The writer, as the query role, for rows that the replica does not show yet. Keep it small. */
  readonly writer: Pool;
  readonly logger: Logger;
  readonly registry: Registry;
  /** Recognises who sends a request. */
  readonly authentication: Authentication;
}

const SCHEMAS = ['messaging', 'inventory', 'orders'] as const satisfies SchemaName[];

/** The query side: orders, their lists and timelines, and stock. */
export function createReadApi({ reader, writer, logger, registry, authentication, ...limits }: ReadApiDeps): FastifyInstance {
  const fallbacks = new Counter({
    name: 'read_your_writes_fallback_total',
    help: 'Reads that asked the writer because the replica was behind, did not have the row, or was away.',
    registers: [registry],
  });
  registerReplicaLag(reader, registry);
  const read = consistentReader({ reader, writer, logger, onFallback: () => fallbacks.inc() });
  const ready = queryReady(...[reader, writer].map((pool) => new RequiredReleases(pool, SCHEMAS, logger)));
  const app = createApp({ logger, registry, ready, authentication, ...limits });

  serve(app, routes.getOrder, async (request, reply) => {
    const order = orderOf(request);
    const { value, source } = await read(tokenOf(request), async (db) => (await db.query<OrderRow>(orderById(order))).rows[0]);
    if (!value) throw noSuchOrder(order);
    const etag = `"${value.version}"`;
    reply.headers({ 'etag': etag, 'cache-control': 'private, no-cache' });
    if (matches(request.headers['if-none-match'], etag)) return answer(request, reply.code(304), source);
    return answer(request, reply, source, orderView(value));
  });

  serve(app, routes.getTimeline, async (request, reply) => {
    const order = orderOf(request);
    const { value, source } = await read(tokenOf(request), async (db) => (await db.query<TimelineRow>(timeline(order))).rows[0]);
    if (!value) throw noSuchOrder(order);
    return answer(request, reply, source, timelineView(order, value));
  });

  serve(app, routes.listOrders, async (request, reply) => {
    const { filter, limit } = parseListRequest(request.query, request.caller);
    // One more than asked for shows whether there is a next page.
    const statement = orderList(filter, limit + 1);
    const { value: rows = [], source } = await read(tokenOf(request), async (db) => (await db.query<OrderRow>(statement)).rows);
    const page = rows.slice(0, limit);
    const last = page.at(-1);
    const next = rows.length > limit && last ? formatCursor(last.orderId) : null;
    if (next) {
      const query = new URLSearchParams({ ...(request.query as Record<string, string>), cursor: next });
      reply.header('link', `<${request.routeOptions.url}?${query}>; rel="next"`);
    }
    return answer(request, reply, source, { orders: page.map(orderView), next });
  });

  serve(app, routes.getStock, async (request, reply) => {
    const { sku } = request.params as { sku: string };
    if (!/^[A-Za-z0-9._-]{1,64}$/.test(sku)) throw invalid('sku', 'must be 1 to 64 letters, digits, dots, underscores or hyphens');
    const { value, source } = await read(tokenOf(request), async (db) => (await db.query<StockRow>(stockBySku(sku))).rows[0]);
    if (!value) throw new Problem('sku-not-found', `sku ${sku} is not in the catalogue.`);
    return answer(request, reply, source, stockView(value));
  });

  return app;
}

function answer(request: FastifyRequest, reply: FastifyReply, source: Source, body?: object): FastifyReply {
  reply.header('read-source', source);
  return body ? reply.send(wantsSnake(request.query) ? toSnake(body) : body) : reply.send();
}

/** The order that the path names, if it is the caller's. */
function orderOf(request: FastifyRequest): OrderOf {
  return { orderId: orderIdOf(request), customerId: request.caller.customerId };
}

function tokenOf(request: FastifyRequest): TokenOf | undefined {
  const token = parseConsistencyToken(request.headers[CONSISTENCY_TOKEN_HEADER]);
  return token && { ...token, customerId: request.caller.customerId };
}

function noSuchOrder({ orderId }: OrderOf): Problem {
  return new Problem('order-not-found', `id ${orderId} is not the id of an order.`);
}

/** If-None-Match compares weakly (RFC 9110, 13.1.2). */
function matches(header: string | undefined, etag: string): boolean {
  return header !== undefined && header.split(',').map((tag) => tag.trim().replace(/^W\//, '')).some((tag) => tag === '*' || tag === etag);
}
