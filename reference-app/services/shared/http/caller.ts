import type { ReadyCheck } from './health.ts';

/** The sender of a request, and the customer whose orders it may be about. */
export interface Caller {
  /** The `sub` of the token; empty without authorization. */
  readonly subject: string;
  /** Undefined: orders of all customers (an operator, or an API without authorization). */
  readonly customerId: string | undefined;
}

/** A scope that a route may need. Operators (`orders.operate`) have both, for all customers. */
export type RouteScope = 'orders.read' | 'orders.write';

/** Finds out who sends a request. */
export interface Authentication {
  /** Whether senders can be recognised at all now. */
  readonly ready: ReadyCheck;
  /** The sender of a request with this `Authorization` header; throws a `Problem` if it is refused, or may not do this. */
  authenticate(authorization: string | undefined, scope: RouteScope): Caller | Promise<Caller>;
}

const EVERYBODY: Caller = { subject: '', customerId: undefined };

/** An API that anybody may use, for the orders of all customers. */
export const withoutAuthorization: Authentication = {
  ready: () => true,
  authenticate: () => EVERYBODY,
};
