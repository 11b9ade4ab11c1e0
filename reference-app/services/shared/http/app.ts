import { isUtf8 } from 'node:buffer';
import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import Fastify from 'fastify';
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Logger } from 'pino';
import { Histogram } from 'prom-client';
import type { Registry } from 'prom-client';
import { UUID, newId, normalId } from '../events/ids.ts';
import { memoryBudget } from '../memory.ts';
import { continueTrace, traceIdOf } from '../trace-context.ts';
import type { Authentication, Caller } from './caller.ts';
import { limitConnections } from './connections.ts';
import type { Readiness, ReadyCheck } from './health.ts';
import { limitBytesInFlight } from './in-flight.ts';
import { limitRates, type RequestRates } from './limits.ts';
import { PROBLEM_MEDIA_TYPE, Problem, invalid } from './problem.ts';

declare module 'fastify' {
  interface FastifyInstance {
    /** The addresses that are served, with their methods. */
    readonly served: ReadonlyMap<string, ReadonlySet<string>>;
    /** From now on the service is not ready and every answer closes its connection; requests are still served. */
    drain(): void;
    /** Whether the service should get requests now. */
    readiness(): Promise<Readiness>;
  }
  interface FastifyRequest {
    /** W3C trace context of this request's own span, continuing the caller's trace if there was one. */
    traceparent: string;
    /** Shown in the log line of the request. */
    orderId: string | undefined;
    /** The sender of the request, on every route that needs a scope. */
    caller: Caller;
  }
}

export interface ApiLimits {
  /** @default - no limit */
  readonly rates?: RequestRates | undefined;
  /** Open connections; 0 is no limit. @default - as many as the memory of the pod has room for */
  readonly maxConnections?: number | undefined;
}

export interface AppOptions extends ApiLimits {
  readonly logger: Logger;
  readonly registry: Registry;
  /** Whether the service can do its work now (database reachable, schema there). */
  readonly ready: ReadyCheck;
  /** Recognises who sends a request. */
  readonly authentication: Authentication;
}

const UNAVAILABLE = 503;
const TOO_MANY_REQUESTS = 429;
const EXPLAIN_MS = 1_000;

const NO_RATES: RequestRates = { perAddress: 0, perSubject: 0 };

export const BODY_LIMIT = 64 * 1024;

/** The common part of every HTTP API of the system: limits, authentication, problems, trace context, log line, metrics. */
export function createApp({ logger, registry, ready, authentication, rates = NO_RATES, maxConnections }: AppOptions): FastifyInstance {
  /** Connections whose last request had its answer before it was there completely. */
  const answered = new WeakSet<Socket>();
  const app = Fastify({
    logger: false,
    bodyLimit: BODY_LIMIT,
    requestTimeout: 15_000,
    // A client that does not read its answer. No answer takes that long, so nothing else stands still for this time.
    connectionTimeout: 20_000,
    // Longer than the idle time of the usual clients, shorter than the 350 s after which an NLB forgets a connection.
    keepAliveTimeout: 75_000,
    // The server looks for slow clients this often, by default every 30 s.
    http: { headersTimeout: 10_000, maxHeaderSize: 16 * 1024, connectionsCheckingInterval: 1_000 },
    forceCloseConnections: 'idle',
    // Requests that arrive on an open connection while draining are still answered, with `Connection: close`.
    return503OnClosing: false,
    routerOptions: { maxParamLength: 16 * 1024 },
    requestIdHeader: false,
    genReqId: (request) => {
      const given = request.headers['x-request-id'];
      return typeof given === 'string' && UUID.test(given) ? normalId(given) : newId();
    },
    frameworkErrors: (error, request, reply) => {
      startTrace(request);
      sendProblem(problemOf(error, request), request, reply);
    },
    clientErrorHandler: (error, socket) => (answered.has(socket) ? void socket.destroy() : answerBrokenConnection(error, socket)),
  });

  let draining = false;
  const routes = new Map<string, Set<string>>();
  const duration = new Histogram({
    name: 'http_request_duration_seconds',
    help: 'Time from the arrival of a request to the end of its answer.',
    labelNames: ['method', 'route', 'status'],
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
    registers: [registry],
  });

  app.decorate('drain', () => {
    draining = true;
  });
  app.decorate('readiness', async () => {
    if (draining) return 'The service is stopping.';
    const recognises = await authentication.ready();
    return recognises === true ? ready() : recognises;
  });
  app.decorate('served', routes);
  app.decorateRequest('traceparent', '');
  app.decorateRequest('orderId', undefined);
  app.decorateRequest('caller');
  app.addHook('preClose', async () => app.drain());
  app.addHook('onRoute', ({ url, method, config }) => {
    if (!config?.route) throw new Error(`The route ${url} says nothing of the scope that it needs; register it with serve().`);
    const methods = routes.get(url) ?? new Set();
    for (const m of [method].flat()) methods.add(m);
    routes.set(url, methods);
  });

  const budget = memoryBudget();
  limitConnections(app, registry, maxConnections ?? budget.connections);
  const limit = limitRates(app, registry, rates);

  // All before the body is looked at, in the order of their cost.
  app.addHook('onRequest', async (request, reply) => {
    answered.delete(request.raw.socket);
    // A client that resets its connection at once has no address any more, and gets no answer.
    if ((request.ip as string | undefined) === undefined) {
      reply.hijack();
      return void request.raw.destroy();
    }
    startTrace(request);
    reply.headers({
      'traceparent': request.traceparent,
      'x-request-id': request.id,
      'x-content-type-options': 'nosniff',
      'cache-control': 'no-store',
    });
    await limit.ofAddress(request);
    // What is wrong with a request to nowhere is its address.
    if (request.is404) throw nothingHere(request, routes);
  });
  limitBytesInFlight(app, registry, budget.bytesInFlight);
  // Without a promise for a token that is known already, as nearly all are.
  app.addHook('onRequest', (request, _reply, done) => {
    const scope = request.routeOptions.config.route?.scope;
    if (scope === undefined) return done();
    const admit = (caller: Caller) => {
      request.caller = caller;
      return limit.ofSubject(request);
    };
    let waiting: Promise<void> | undefined;
    try {
      const caller = authentication.authenticate(request.headers.authorization, scope);
      waiting = caller instanceof Promise ? caller.then(admit) : admit(caller);
    } catch (error) {
      return done(error as Error);
    }
    if (waiting) waiting.then(() => done(), done);
    else done();
  });

  // When the answer is sent, not when the request came: the server waits for connections that stay open.
  app.addHook('onSend', (_request, reply, payload, done) => {
    if (draining) reply.header('connection', 'close');
    done(null, payload);
  });

  app.addHook('onResponse', async (request, reply) => {
    if (!request.raw.complete) answered.add(request.raw.socket);
    const route = request.is404 ? 'none' : request.routeOptions.url ?? 'none';
    const seconds = reply.elapsedTime / 1_000;
    duration.observe({ method: request.method, route, status: reply.statusCode }, seconds);
    // A line for each would make a flood of requests one of lines.
    const quiet = (request.method === 'GET' && reply.statusCode < 400) || reply.statusCode === TOO_MANY_REQUESTS;
    const level = reply.statusCode >= 500 ? reply.statusCode === UNAVAILABLE ? 'warn' : 'error' : quiet ? 'debug' : 'info';
    logger[level]({
      traceId: traceIdOf(request.traceparent),
      requestId: request.id,
      ...(request.orderId ? { orderId: request.orderId } : {}),
      method: request.method,
      route,
      status: reply.statusCode,
      durationMs: Math.round(reply.elapsedTime * 10) / 10,
    }, 'request');
  });

  let explainedAt = -Infinity;
  /** While the database is away every request fails for the same reason, which one of them in a second explains. */
  function isWorthALine({ status }: Problem): boolean {
    if (status !== UNAVAILABLE) return true;
    if (performance.now() - explainedAt < EXPLAIN_MS) return false;
    explainedAt = performance.now();
    return true;
  }

  app.setErrorHandler((error: FastifyError | Problem, request, reply) => {
    const problem = problemOf(error, request);
    if (problem.status >= 500 && isWorthALine(problem)) {
      const level = problem.status === UNAVAILABLE ? 'warn' : 'error';
      logger[level]({ err: problem.cause ?? error, traceId: traceIdOf(request.traceparent), requestId: request.id }, problem.message);
    }
    return sendProblem(problem, request, reply);
  });

  app.removeAllContentTypeParsers();
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, jsonBody);
  return app;
}

/** A parser of a content type that is JSON. */
export function jsonBody(request: FastifyRequest, body: string | Buffer, done: (error: Error | null, value?: unknown) => void): void {
  try {
    done(null, parseJson(request, body as Buffer));
  } catch (error) {
    done(error as Error);
  }
}

/** Registers a route at its own address and under `/api`. */
export function underBothBases(path: string, register: (url: string) => void): void {
  register(path);
  register(`/api${path}`);
}

/** The order that the path of a request names, also in its log line. */
export function orderIdOf(request: FastifyRequest): string {
  const { id } = request.params as { id: string };
  if (!UUID.test(id)) throw invalid('id', 'must be an order id from POST /orders, for example 019a9c5e-7d3b-7c41-9b1f-3f5f0a6f2d11');
  return request.orderId = normalId(id);
}

function startTrace(request: FastifyRequest): void {
  const given = request.headers.traceparent;
  request.traceparent = continueTrace(typeof given === 'string' ? given : undefined);
}

function sendProblem(problem: Problem, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  // `url` can hold anything up to the header limit; the path is enough to find the request again.
  const instance = (request.url.split('?', 1)[0] ?? '/').slice(0, 256);
  const body = problem.toBody({ instance, traceId: traceIdOf(request.traceparent) });
  return reply.code(problem.status).headers(problem.headers).type(PROBLEM_MEDIA_TYPE).send(JSON.stringify(body));
}

function nothingHere(request: FastifyRequest, routes: ReadonlyMap<string, ReadonlySet<string>>): Problem {
  const path = request.url.split('?', 1)[0] ?? '/';
  for (const [url, methods] of routes) {
    if (new RegExp(`^${url.replaceAll('.', '\\.').replace(/:[^/]+/g, '[^/]+')}$`).test(path)) {
      const allow = [...methods].sort().join(', ');
      return new Problem('method-not-allowed', `${request.method} is not possible here; use ${allow}.`, { headers: { allow } });
    }
  }
  const known = [...routes.keys()].filter((url) => !url.startsWith('/api/')).sort().join(', ');
  return new Problem('route-not-found', `There is nothing at this address. Known addresses: ${known}.`);
}

function parseJson(request: FastifyRequest, body: Buffer): unknown {
  const encoding = request.headers['content-encoding'];
  if (encoding !== undefined && encoding.toLowerCase() !== 'identity') {
    throw wrongMediaType('Content-Encoding', 'is not supported; send the body uncompressed');
  }
  const malformed = (message: string) => new Problem('malformed-json', `body ${message}`, { errors: [{ field: 'body', message }] });
  if (body.length === 0) throw malformed('is empty; send a JSON object');
  if (!isUtf8(body)) throw malformed('is not UTF-8; send JSON in UTF-8');
  try {
    // A `__proto__` key stays an ordinary own property here, and validation refuses it as unknown.
    return JSON.parse(body.toString('utf8'));
  } catch (error) {
    const reason = error instanceof Error ? error.message.replace(/\s+/g, ' ').slice(0, 160) : 'not JSON';
    throw malformed(`is not valid JSON (${reason}); correct it and send it again`);
  }
}

function wrongMediaType(field: string, message: string): Problem {
  return new Problem('unsupported-media-type', `${field} ${message}`, { errors: [{ field, message }] });
}

function problemOf(error: FastifyError | Problem | Error, request: FastifyRequest): Problem {
  if (error instanceof Problem) return error;
  const { code, statusCode } = error as Partial<FastifyError>;
  switch (code) {
    case 'FST_ERR_CTP_BODY_TOO_LARGE': {
      const message = `is larger than ${request.routeOptions.bodyLimit ?? BODY_LIMIT} bytes; send fewer items per request`;
      return new Problem('payload-too-large', `body ${message}`, { errors: [{ field: 'body', message }] });
    }
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return wrongMediaType('Content-Type', 'is not supported; send application/json');
    case 'FST_ERR_CTP_INVALID_CONTENT_LENGTH': {
      const message = 'does not match the size of the body; correct it or leave it to the HTTP client';
      return new Problem('malformed-request', `Content-Length ${message}`, { errors: [{ field: 'Content-Length', message }] });
    }
    case 'FST_ERR_BAD_URL': {
      const message = 'is not a valid URL; percent-encode it as UTF-8';
      return new Problem('malformed-request', `path ${message}`, { errors: [{ field: 'path', message }] });
    }
    default:
      return statusCode !== undefined && statusCode >= 400 && statusCode < 500
        ? new Problem('malformed-request', 'The request could not be read; check its headers and body.', { cause: error })
        : new Problem('internal', 'Something went wrong on our side; the trace id finds it in the logs.', { cause: error });
  }
}

/** Something arrived that was never a request (broken HTTP, a client that stopped sending), so there is no reply object. */
function answerBrokenConnection(error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const problem = error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
    ? new Problem('request-timeout', 'The request did not arrive completely in time; send it again.')
    : error.code === 'HPE_HEADER_OVERFLOW'
      ? new Problem('headers-too-large', 'The headers are larger than 16 KiB; send fewer or shorter ones.')
      : new Problem('malformed-request', 'This is not valid HTTP.');
  const body = JSON.stringify(problem.toBody());
  socket.end([
    `HTTP/1.1 ${problem.status} ${STATUS_CODES[problem.status]}`,
    `Content-Type: ${PROBLEM_MEDIA_TYPE}`,
    `Content-Length: ${Buffer.byteLength(body)}`,
    'Connection: close',
    '',
    body,
  ].join('\r\n'));
}
