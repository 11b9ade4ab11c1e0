import type { QueryConfig } from 'pg';
import type { Queryable } from '../../shared/database.ts';

/** An order that passed validation, with everything that is stored for it. */
export interface NewOrder {
  readonly orderId: string;
  readonly customerId: string;
  readonly items: readonly { readonly sku: string; readonly quantity: number }[];
  readonly createdAt: Date;
  readonly traceparent: string;
  /** Id of the request, the cause of the order's first event. */
  readonly causeId: string;
  readonly idempotencyKey: string | undefined;
  readonly fingerprint: Buffer;
  /** The OrderCreated event. */
  readonly event: { readonly id: string; readonly envelope: string };
}

export type IntakeOutcome =
  | { readonly result: 'accepted'; readonly orderId: string }
  /** The key was used before for the same request: this is its order. */
  | { readonly result: 'replayed'; readonly orderId: string }
  /** The key was used before for another request. */
  | { readonly result: 'mismatch' }
  | { readonly result: 'unknown-sku'; readonly skus: readonly string[] };

/**
 * One statement for any number of orders: known keys and unknown SKUs are sorted out first, the rest is stored as order,
 * lines, first status change, key and outbox event, all or nothing. Keys are claimed in sorted order, so that two batches
 * with the same keys queue up instead of deadlocking. An order id that is there already counts as accepted: that makes
 * it safe to send the same orders again when the answer got lost.
 *
 * The look-ups are written so that the planner can only probe an index per row: a plan is made when the tables are small
 * and kept while they grow, and a join would scan them whole by then.
 */
const ACCEPT = `
WITH input AS MATERIALIZED (
  SELECT i.*, k.order_id AS key_order_id, k.body_hash = i.body_hash AS same,
         (SELECT o.order_id FROM orders.orders o WHERE o.order_id = i.order_id) IS NOT NULL AS stored
  FROM unnest($1::uuid[], $2::text[], $3::timestamptz[], $4::text[], $5::text[], $6::text[], $7::bytea[], $8::uuid[], $9::text[])
    AS i (order_id, customer_id, created_at, traceparent, cause_id, key, body_hash, event_id, envelope)
  LEFT JOIN LATERAL (SELECT order_id, body_hash FROM orders.idempotency_key WHERE key = i.key OFFSET 0) k ON true
), line AS MATERIALIZED (
  SELECT l.*, (SELECT p.sku FROM inventory.product p WHERE p.sku = l.sku) IS NULL AS unknown
  FROM unnest($10::uuid[], $11::text[], $12::int[]) AS l (order_id, sku, quantity)
), unknown AS (
  SELECT order_id, array_agg(sku) AS skus FROM line WHERE unknown GROUP BY order_id
), valid AS (
  SELECT i.* FROM input i LEFT JOIN unknown u USING (order_id) WHERE NOT i.stored AND i.key_order_id IS NULL AND u.order_id IS NULL
), claimed AS (
  INSERT INTO orders.idempotency_key (key, body_hash, order_id, created_at)
  SELECT key, body_hash, order_id, created_at FROM valid WHERE key IS NOT NULL ORDER BY key
  ON CONFLICT (key) DO NOTHING
  RETURNING order_id
), fresh AS (
  SELECT * FROM valid v WHERE v.key IS NULL OR EXISTS (SELECT FROM claimed c WHERE c.order_id = v.order_id)
), new_order AS (
  INSERT INTO orders.orders (order_id, customer_id, status, version, created_at, updated_at, traceparent)
  SELECT order_id, customer_id, 'PENDING', 1, created_at, created_at, traceparent FROM fresh
), new_line AS (
  INSERT INTO orders.order_line (order_id, sku, quantity)
  SELECT l.order_id, l.sku, l.quantity FROM line l JOIN fresh USING (order_id)
), new_status AS (
  INSERT INTO orders.status_change (order_id, version, from_status, to_status, event_id, cause_id, at)
  SELECT order_id, 1, NULL, 'PENDING', event_id, cause_id, created_at FROM fresh
), new_event AS (
  INSERT INTO messaging.outbox (event_id, aggregate_id, detail_type, envelope)
  SELECT event_id, order_id::text, 'OrderCreated', envelope FROM fresh ORDER BY order_id
)
SELECT i.order_id AS "orderId", (f.order_id IS NOT NULL OR i.stored) AS accepted, i.key_order_id AS "keyOrderId", i.same, u.skus
FROM input i
LEFT JOIN fresh f ON f.order_id = i.order_id
LEFT JOIN unknown u ON u.order_id = i.order_id`;

/** The owner of a key that another request claimed while ours ran; our statement's snapshot could not show it. */
const KEY_OWNERS = `
SELECT i.order_id AS "orderId", k.order_id AS "keyOrderId", k.body_hash = i.body_hash AS same
FROM unnest($1::uuid[], $2::text[], $3::bytea[]) AS i (order_id, key, body_hash)
JOIN orders.idempotency_key k USING (key)`;

/** Above the statement timeout of the server: this one is for a server that says nothing any more. */
const TIMEOUT_MS = 6_000;

const statement = (name: string, text: string): QueryConfig & { query_timeout: number } => ({ name, text, query_timeout: TIMEOUT_MS });

interface KeyRow {
  readonly orderId: string;
  readonly keyOrderId: string | null;
  readonly same: boolean | null;
}

interface AcceptRow extends KeyRow {
  readonly accepted: boolean;
  readonly skus: string[] | null;
}

/**
 * Stores the orders and their events; answers for each, in the order given. Order ids must be unique within the call. Over a
 * pool the statement is its own transaction; over a client it is part of the caller's.
 */
export async function acceptOrders(orders: readonly NewOrder[], db: Queryable): Promise<IntakeOutcome[]> {
  const lines = orders.flatMap((order) => order.items.map((item) => ({ orderId: order.orderId, ...item })));
  const { rows } = await db.query<AcceptRow>({
    ...statement('accept-orders', ACCEPT),
    values: [
      orders.map((o) => o.orderId),
      orders.map((o) => o.customerId),
      orders.map((o) => o.createdAt.toISOString()),
      orders.map((o) => o.traceparent),
      orders.map((o) => o.causeId),
      orders.map((o) => o.idempotencyKey ?? null),
      orders.map((o) => o.fingerprint),
      orders.map((o) => o.event.id),
      orders.map((o) => o.event.envelope),
      lines.map((l) => l.orderId),
      lines.map((l) => l.sku),
      lines.map((l) => l.quantity),
    ],
  });
  const outcomes = new Map<string, IntakeOutcome>();
  for (const row of rows) {
    if (row.accepted) outcomes.set(row.orderId, { result: 'accepted', orderId: row.orderId });
    else if (row.keyOrderId) outcomes.set(row.orderId, ofKey(row.keyOrderId, row.same));
    else if (row.skus) outcomes.set(row.orderId, { result: 'unknown-sku', skus: row.skus });
  }

  const late = orders.filter((order) => !outcomes.has(order.orderId));
  if (late.length > 0) {
    const owners = await db.query<KeyRow>({
      ...statement('idempotency-key-owners', KEY_OWNERS),
      values: [late.map((o) => o.orderId), late.map((o) => o.idempotencyKey ?? null), late.map((o) => o.fingerprint)],
    });
    for (const row of owners.rows) {
      if (row.keyOrderId) outcomes.set(row.orderId, ofKey(row.keyOrderId, row.same));
    }
  }
  return orders.map((order) => {
    const outcome = outcomes.get(order.orderId);
    if (!outcome) throw new Error(`No outcome for order ${order.orderId}.`);
    return outcome;
  });
}

function ofKey(orderId: string, same: boolean | null): IntakeOutcome {
  return same ? { result: 'replayed', orderId } : { result: 'mismatch' };
}
