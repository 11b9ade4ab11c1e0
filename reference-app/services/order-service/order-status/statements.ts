import type { Queryable } from '../../shared/database.ts';
import type { EventEnvelope } from '../../shared/events/index.ts';
import { publishValues } from '../../shared/messaging/outbox.ts';
import { arrayOf, lines, numberArray, textArray, uuidArray } from '../../shared/sql-arrays.ts';

// Each is one call of a function of migrations/002-orders.sql.

const STATES = {
  name: 'orders-states',
  text: `SELECT handled::text, order_ids::text, statuses::text, versions::text, customer_ids::text, created_ms::text
         FROM orders.states($1, $2::text::uuid[], $3::text::uuid[])`,
};
const SETTLE = {
  name: 'orders-settle',
  text: `SELECT orders.settle($1, $2::text::uuid[], $3, $4::text::int[], $5::text::text[], $6::text::text[], $7, $8, $9::text::text[],
           $10::text::uuid[], $11::text::text[], $12)`,
};

export interface Order {
  readonly status: string;
  readonly version: number;
  readonly customerId: string;
  readonly createdAt: Date;
}

export interface Known {
  /** Ids of events and orders are in lower case. */
  readonly handled: ReadonlySet<string>;
  readonly orders: ReadonlyMap<string, Order>;
}

/** A pending order's end. */
export interface Settlement {
  readonly orderId: string;
  /** Of the order, before. */
  readonly version: number;
  readonly status: 'CONFIRMED' | 'REJECTED';
  readonly reason: string | null;
  readonly shortages: unknown;
  /** Of the event that it follows from. */
  readonly causeId: string;
  readonly event: EventEnvelope;
}

export async function readStates(database: Queryable, consumer: string, events: readonly EventEnvelope[]): Promise<Known> {
  const { rows: [row] } = await database.query<Record<'handled' | 'order_ids' | 'statuses' | 'versions' | 'customer_ids' | 'created_ms', string>>({
    ...STATES, values: [consumer, uuidArray(events.map(({ id }) => id)), uuidArray(events.map(({ data }) => data.orderId))],
  });
  const { handled, order_ids, statuses, versions, customer_ids, created_ms } = row!;
  const [status, version, customerId, created] = [statuses, versions, customer_ids, created_ms].map(arrayOf) as [string[], string[], string[], string[]];
  return {
    handled: new Set(arrayOf(handled)),
    orders: new Map(arrayOf(order_ids).map((orderId, i) => [orderId, {
      status: status[i]!, version: Number(version[i]), customerId: customerId[i]!, createdAt: new Date(Number(created[i])),
    }])),
  };
}

/** `handled` are the ids to be remembered. */
export async function settle(database: Queryable, consumer: string, handled: readonly string[], settlements: readonly Settlement[], at: Date): Promise<void> {
  if (handled.length === 0) return;
  // Two batches with the same orders in another order wait for each other instead of both.
  const sorted = [...settlements].sort((a, b) => (a.orderId < b.orderId ? -1 : 1));
  const [eventIds, orderIds, detailTypes, envelopes] = publishValues(sorted.map(({ event }) => event));
  await database.query({
    ...SETTLE,
    values: [
      consumer, uuidArray(handled),
      orderIds, numberArray(sorted.map(({ version }) => version)), textArray(sorted.map(({ status }) => status)), textArray(sorted.map(({ reason }) => reason)),
      lines(sorted.map(({ shortages }) => (shortages === null ? '' : JSON.stringify(shortages)))), at, textArray(sorted.map(({ causeId }) => causeId)),
      eventIds, detailTypes, envelopes,
    ],
  });
}
