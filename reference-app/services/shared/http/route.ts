import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import Type, { type TObject, type TSchema } from 'typebox';
import { underBothBases } from './app.ts';
import type { RouteScope } from './caller.ts';
import type { ProblemName } from './problem.ts';

declare module 'fastify' {
  interface FastifyContextConfig {
    readonly route?: Route;
  }
}

export interface Answer {
  readonly description: string;
  /** Beside those that every answer has (`COMMON_HEADERS`). */
  readonly headers?: TObject;
  /** None for an answer without a body. */
  readonly body?: TSchema;
  /** Operations for which the answer has parameters, by their names, as runtime expressions of OpenAPI. */
  readonly links?: Readonly<Record<string, Readonly<Record<string, string>>>>;
}

/**
 * The requests and answers of an address. A route is registered from this, and the OpenAPI document is made from this, so there is no
 * route without a description. Problems that follow from the rest (a body can be too large, a parameter wrong) go without saying.
 */
export interface Route {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** As the router writes it, `/orders/:id`. It is served under `/api` as well. */
  readonly path: string;
  readonly summary: string;
  readonly description?: string;
  /** The scope that a token needs; the handler finds the owner of the token in `request.caller`. */
  readonly scope: RouteScope;
  readonly params?: TObject;
  readonly query?: TObject;
  /** Names as they are usually written, `Idempotency-Key`; those of `COMMON_REQUEST_HEADERS` go without saying. */
  readonly headers?: TObject;
  readonly body?: TSchema;
  /** @default application/json */
  readonly bodyTypes?: readonly string[];
  /** The request may come without a body. @default false */
  readonly bodyIsOptional?: boolean;
  /** In bytes. @default BODY_LIMIT */
  readonly bodyLimit?: number;
  readonly answers: { readonly [status: number]: Answer };
  readonly problems?: readonly ProblemName[];
}

/** Routes by their name, which is the `operationId` of the document. */
export type Routes = Readonly<Record<string, Route>>;

/** Registers a route at its own address and under `/api`. */
export function serve(
  app: FastifyInstance, route: Route, handler: (request: FastifyRequest, reply: FastifyReply) => Promise<unknown>,
): void {
  const { method, path, bodyLimit } = route;
  underBothBases(path, (url) => app.route({ method, url, ...(bodyLimit === undefined ? {} : { bodyLimit }), config: { route }, handler }));
}

const Trace = Type.String({ pattern: '^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$', description: 'W3C trace context' });

export const COMMON_REQUEST_HEADERS = Type.Object({
  'traceparent': Type.Optional(Type.String({
    description: 'W3C trace context of the caller; the request and every event that follows from it continue the trace',
  })),
  'X-Request-Id': Type.Optional(Type.String({ description: 'a UUID by which the caller knows the request; anything else is replaced' })),
});

export const COMMON_HEADERS = Type.Object({
  'traceparent': Trace,
  'X-Request-Id': Type.String({ format: 'uuid', description: 'id of the request, in the logs and as the cause of the events that follow from it' }),
  'Cache-Control': Type.String({ description: 'whether the answer may be kept' }),
  'X-Content-Type-Options': Type.Literal('nosniff', { description: 'the content type is what it says' }),
});

/** Headers of requests and answers that mean the same wherever they stand. */
export const ConsistencyToken = Type.String({
  pattern: '^[A-Za-z0-9_-]+$', description: 'what was written: a read that carries it shows nothing older; opaque',
});
export const ETag = Type.String({ pattern: '^"[0-9]+"$', description: 'version of the order' });
export const RetryAfter = Type.String({ pattern: '^[0-9]+$', description: 'seconds after which it is worth to try again' });
