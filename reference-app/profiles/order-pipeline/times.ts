import { percentile, sorted } from '../../load/statistics.ts';
import { hasWarmPart, WARM_UP_ORDERS } from '../profile.ts';

/** The times of orders, in milliseconds. */
export interface Times {
  /** From the transaction that accepted an order to the one that decided it, by the database's clock. */
  readonly endToEndMs: Percentiles;
  /** From the intended send time to the 202, by the client's clock. */
  readonly acceptMs: Percentiles;
}

export interface Percentiles {
  readonly p50?: number;
  readonly p99?: number;
}

/** One accepted order. */
export interface TimedOrder {
  readonly acceptedMs: number;
  readonly decidedMs: number | null;
  readonly latencyMs: number;
}

export function timesOf(orders: readonly TimedOrder[]): Times {
  return {
    endToEndMs: percentiles(orders.flatMap(({ acceptedMs, decidedMs }) => (decidedMs === null ? [] : [decidedMs - acceptedMs]))),
    acceptMs: percentiles(orders.map(({ latencyMs }) => latencyMs)),
  };
}

/** The times of all orders but the first ones, in which the processes are still cold; undefined when too few are left. */
export function warmTimesOf(orders: readonly TimedOrder[]): Times | undefined {
  if (!hasWarmPart(orders.length)) return undefined;
  return timesOf(orders.toSorted((a, b) => a.acceptedMs - b.acceptedMs).slice(WARM_UP_ORDERS));
}

function percentiles(milliseconds: readonly number[]): Percentiles {
  const ascending = sorted(milliseconds);
  const at = (share: number) => {
    const value = percentile(ascending, share);
    return value === undefined ? undefined : Number(value.toFixed(1));
  };
  return { p50: at(0.5), p99: at(0.99) };
}
