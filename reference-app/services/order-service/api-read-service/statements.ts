import type { QueryConfig } from 'pg';

/** The longest a statement may run: the server ends it, and keeps the connection. */
export const STATEMENT_TIMEOUT_MS = 1_500;
/** When the server doesn't even do that. */
const QUERY_TIMEOUT_MS = STATEMENT_TIMEOUT_MS + 250;

interface Statement extends QueryConfig {
  readonly query_timeout: number;
}

const statement = (name: string | undefined, text: string, values: unknown[]): Statement =>
  ({ ...(name === undefined ? {} : { name }), text, values, query_timeout: QUERY_TIMEOUT_MS });

export interface OrderRow {
  readonly orderId: string;
  readonly customerId: string;
  readonly status: string;
  readonly version: number;
  readonly createdAt: Date;
  readonly updatedAt: Date;
  readonly reason: string | null;
  readonly shortages: unknown;
  readonly items: { readonly sku: string; readonly quantity: number }[];
  readonly requested: { readonly sku: string; readonly quantity: number }[] | null;
}

const ORDER = `
SELECT o.order_id AS "orderId", o.customer_id AS "customerId", o.status, o.version, o.created_at AS "createdAt",
       o.updated_at AS "updatedAt", o.reason, o.shortages, o.items, o.requested
FROM orders.orders o`;

/** An order of a customer, or of any. Orders of others are not there, so that nothing tells them from those that never were. */
export interface OrderOf {
  readonly orderId: string;
  /** Undefined: of any customer. */
  readonly customerId: string | undefined;
}

/** A statement about an order `o`. */
const ofOrder = (name: string, text: string, { orderId, customerId }: OrderOf) => (customerId === undefined
  ? statement(name, `${text} WHERE o.order_id = $1`, [orderId])
  : statement(`${name}-of-customer`, `${text} WHERE o.order_id = $1 AND o.customer_id = $2`, [orderId, customerId]));

export const orderById = (order: OrderOf) => ofOrder('order-by-id', ORDER, order);

export const orderVersion = (order: OrderOf) => ofOrder('order-version', 'SELECT o.version FROM orders.orders o', order);

export interface ListFilter {
  readonly customerId?: string | undefined;
  readonly status?: string | undefined;
  /** The last order of the page before. */
  readonly after?: string | undefined;
}

/**
 * Newest first (ids are UUIDv7). One statement text per combination of filters, so that each gets a plan that walks the
 * index made for it; `x IS NULL OR …` would get one plan for all. Not a prepared statement: it would keep a plan from when
 * the table was small.
 */
export function orderList({ customerId, status, after }: ListFilter, limit: number): Statement {
  const values: unknown[] = [];
  const conditions: string[] = [];
  const where = (column: string, operator: string, value: unknown) => {
    if (value !== undefined) conditions.push(`o.${column} ${operator} $${values.push(value)}`);
  };
  where('customer_id', '=', customerId);
  where('status', '=', status);
  where('order_id', '<', after);
  const filter = conditions.length > 0 ? ` WHERE ${conditions.join(' AND ')}` : '';
  return statement(undefined, `${ORDER}${filter} ORDER BY o.order_id DESC LIMIT $${values.push(limit)}`, values);
}

export interface TimelineRow {
  readonly status: string;
  readonly version: number;
  readonly events: TimelineEvent[];
  readonly changes: StatusChange[];
  readonly parked: (Stop & { readonly version: number; readonly reason: string | null; readonly appliedAt: string | null })[];
  readonly deadLetters: (Stop & { readonly error: string; readonly handledAt: string | null })[];
}

/** A place where an event stopped: at a consumer, or before the bus. */
interface Stop {
  readonly consumer: string;
  readonly eventId: string;
  readonly type: string;
  readonly at: string;
}

export interface TimelineEvent {
  readonly id: string;
  readonly type: string;
  readonly source: string;
  readonly time: string;
  readonly causationid: string;
  readonly data: Readonly<Record<string, unknown>>;
}

export interface StatusChange {
  readonly version: number;
  readonly from: string | null;
  readonly to: string;
  readonly eventId: string | null;
  readonly causeId: string | null;
  readonly at: string;
}

/** The most entries of a timeline. Nothing else bounds how often an order is updated. */
export const TIMELINE_LIMIT = 500;
/** One more than is shown says that there are others. */
const SOME = TIMELINE_LIMIT + 1;

/**
 * The last events in the order of the outbox, which is the order in which they were published: an effect is written after its
 * cause was committed. One statement, so that events and status changes come from one snapshot.
 */
export const timeline = (order: OrderOf) => ofOrder('order-timeline', `
SELECT o.status, o.version,
       (SELECT coalesce(json_agg(b.envelope::json ORDER BY b.xid, b.id), '[]')
        FROM (SELECT xid, id, envelope FROM messaging.outbox WHERE aggregate_id = o.order_id::text ORDER BY xid DESC, id DESC LIMIT ${SOME}) b) AS events,
       (SELECT coalesce(json_agg(json_build_object('version', c.version, 'from', c.from_status, 'to', c.to_status,
                 'eventId', c.event_id, 'causeId', c.cause_id, 'at', c.at) ORDER BY c.version), '[]')
        FROM (SELECT version, from_status, to_status, event_id, cause_id, at FROM orders.status_change WHERE order_id = o.order_id
              ORDER BY version DESC LIMIT ${SOME}) c) AS changes,
       (SELECT coalesce(json_agg(json_build_object('consumer', p.consumer, 'eventId', p.event_id, 'type', p.envelope::json ->> 'type', 'version', p.version,
                 'reason', p.reason, 'at', p.parked_at, 'appliedAt', p.applied_at)), '[]')
        FROM (SELECT consumer, event_id, envelope, version, reason, parked_at, applied_at FROM messaging.parked WHERE order_id = o.order_id
              ORDER BY parked_at DESC LIMIT ${SOME}) p) AS parked,
       (SELECT coalesce(json_agg(json_build_object('consumer', d.consumer, 'eventId', d.event_id, 'type', d.type, 'error', d.error, 'at', d.at, 'handledAt', d.handled_at)), '[]')
        FROM (SELECT l.consumer, l.event_id, l.type, l.error, l.at, l.handled_at FROM messaging.dead_letters(o.order_id) l
              UNION ALL
              SELECT 'bus', u.event_id, u.envelope::json ->> 'type', u.error, u.failed_at, NULL
              FROM messaging.outbox_dead u WHERE u.aggregate_id = o.order_id::text
              ORDER BY at DESC LIMIT ${SOME}) d) AS "deadLetters"
FROM orders.orders o`, order);

export interface StockRow {
  readonly sku: string;
  readonly name: string;
  readonly onHand: number;
  readonly reserved: number;
}

/** Over all locations. `float8` is exact up to 2^53, where a sum of `int` could overflow. */
export const stockBySku = (sku: string) => statement('stock-by-sku', `
SELECT p.sku, p.name, coalesce(sum(s.on_hand), 0)::float8 AS "onHand", coalesce(sum(s.reserved), 0)::float8 AS reserved
FROM inventory.product p LEFT JOIN inventory.stock_level s USING (sku)
WHERE p.sku = $1 GROUP BY p.sku, p.name`, [sku]);

export const isAurora = () => statement('is-aurora', 'SELECT to_regproc(\'aurora_replica_status\') IS NOT NULL AS "isAurora"', []);

/** Aurora replicates through its storage and says the lag itself. */
export const auroraLag = () => statement('aurora-lag', `
SELECT coalesce(max(replica_lag_in_msec), 0)::float8 / 1000 AS lag FROM aurora_replica_status()
WHERE server_id = aurora_db_instance_identifier()`, []);

/**
 * A replica that has replayed all it received from a writer it is connected to is not behind, however old the last
 * transaction; otherwise the age of that transaction says how far.
 */
export const streamingLag = () => statement('streaming-lag', `
SELECT CASE
  WHEN NOT pg_is_in_recovery() THEN 0
  WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() AND EXISTS (SELECT FROM pg_stat_wal_receiver) THEN 0
  ELSE coalesce(extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()), 0)
END::float8 AS lag`, []);
