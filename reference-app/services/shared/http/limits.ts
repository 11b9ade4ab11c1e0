import { createHash } from 'node:crypto';
import rateLimit from '@fastify/rate-limit';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { Counter, type Registry } from 'prom-client';
import Type, { type Static } from 'typebox';
import { Allowances } from './allowances.ts';
import { Problem } from './problem.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** Counts a request with several orders as one for each. Throws a `Problem` "too-many-requests" if its subject has none left. */
    countOrders(this: FastifyRequest, orders: number): void;
  }
}

/** The limits of an API, in its environment. */
export const limitsConfig = {
  API_ADDRESS_REQUESTS_PER_SECOND: Type.Integer({
    minimum: 0, default: 1_000, description: 'the most requests per second and process from one address (a /64 network of IPv6), 0 for no limit',
  }),
  API_SUBJECT_REQUESTS_PER_SECOND: Type.Integer({
    minimum: 0, default: 50, description: 'the most requests, and orders of batches, per second and process of one subject that is no operator, 0 for no limit',
  }),
  API_MAX_CONNECTIONS: Type.Optional(Type.Integer({
    minimum: 0, description: 'the most open connections, 0 for no limit, or nothing for as many as the memory of the pod has room for',
  })),
};
const Config = Type.Object(limitsConfig);

export interface RequestRates {
  /** Requests per second and address; 0 is no limit. */
  readonly perAddress: number;
  /** Requests per second and subject, where each order of a batch is one; 0 is no limit. */
  readonly perSubject: number;
}

export function ratesOf(config: Static<typeof Config>): RequestRates {
  return { perAddress: config.API_ADDRESS_REQUESTS_PER_SECOND, perSubject: config.API_SUBJECT_REQUESTS_PER_SECOND };
}

/** Throws a `Problem` "too-many-requests" beyond the limit. Undefined for a request that is not counted. */
export type RateLimit = (request: FastifyRequest) => Promise<void> | undefined;

export interface RateLimits {
  /** The limit per address, before the sender is known. */
  readonly ofAddress: RateLimit;
  /** The limit per subject, once the sender is known. Operators, and everybody without authorization, are free. */
  readonly ofSubject: RateLimit;
}

const WINDOW_MS = 1_000;
/** The address of a proxy in the pod, or of a local run: it says nothing about the client. */
const LOOPBACK = /^(?:::ffff:)?127\.|^::1$/;
/** Longer keys would let the few that are kept take any amount of memory. */
const MAX_KEY = 64;
const KEPT_SUBJECTS = 5_000;

/** Counts requests per address and per subject, and keeps no more than the last 5,000 of each, more than a process answers in a second. */
export function limitRates(app: FastifyInstance, registry: Registry, { perAddress, perSubject }: RequestRates): RateLimits {
  const refused = new Counter({
    name: 'http_requests_limited_total',
    help: 'Requests that were refused since their address, or their subject, sends too many.',
    labelNames: ['limit'],
    registers: [registry],
  });
  const refuse = (name: 'address' | 'subject', max: number, seconds: number): Problem => {
    refused.inc({ limit: name });
    const what = name === 'subject' ? 'requests or orders' : 'requests';
    return new Problem('too-many-requests', `More than ${max} ${what} per second come from this ${name}; send fewer, and this one again later.`, {
      headers: { 'retry-after': String(Math.max(1, Math.ceil(seconds))) },
    });
  };

  void app.register(rateLimit, { global: false, timeWindow: WINDOW_MS });
  let check: ReturnType<FastifyInstance['createRateLimit']>;
  app.after(() => {
    check = app.createRateLimit({ max: perAddress, timeWindow: WINDOW_MS });
  });
  const countAddress = async (request: FastifyRequest): Promise<void> => {
    const result = await check(request);
    if (result.isAllowed || !result.isExceeded) return;
    throw refuse('address', perAddress, result.ttlInSeconds);
  };

  const allowances = new Allowances(perSubject, KEPT_SUBJECTS);
  const countSubject = ({ caller }: FastifyRequest, orders?: number): undefined => {
    if (perSubject === 0 || caller.customerId === undefined) return;
    const seconds = allowances.take(keyOf(caller.subject), orders);
    if (seconds !== undefined) throw refuse('subject', perSubject, seconds);
  };
  app.decorateRequest('countOrders', function (orders) {
    countSubject(this, orders - 1);
  });

  return {
    // Who is free is asked here: the counting of a request costs more than the check of its token.
    ofAddress: (request) => (perAddress === 0 || LOOPBACK.test(request.ip) ? undefined : countAddress(request)),
    ofSubject: (request) => countSubject(request),
  };
}

function keyOf(subject: string): string {
  return subject.length <= MAX_KEY ? subject : createHash('sha256').update(subject).digest('base64');
}
