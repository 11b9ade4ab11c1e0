import { decide, type Caused, type Decision } from '../inventory-service/decide.ts';
import { readClaimed, write } from '../inventory-service/statements.ts';
import { withTransaction, type Pool, type Queryable } from '../shared/database.ts';
import { newEvent, newId, type EventEnvelope } from '../shared/events/index.ts';
import { uuidArray } from '../shared/sql-arrays.ts';

/** Stock at one location that belongs to an order which does not exist. */
export interface Stray {
  readonly orderId: string;
  readonly sku: string;
  readonly location: string;
  /** Pieces that are promised to the order. */
  readonly held: number;
  /** Pieces that were taken out for it. */
  readonly taken: number;
  readonly since: Date;
}

const FIND = `
  SELECT l.document_id::text AS "orderId", l.sku, l.location, sum(l.delta_reserved)::int AS held, -sum(l.delta_on_hand)::int AS taken, min(l.at) AS since
    FROM inventory.ledger l
   WHERE ($1::text::uuid[] IS NULL OR l.document_id = ANY ($1::text::uuid[])) AND l.event_id IS NOT NULL AND l.location IS NOT NULL
     AND NOT EXISTS (SELECT FROM orders.orders o WHERE o.order_id = l.document_id)
   GROUP BY l.document_id, l.sku, l.location HAVING sum(l.delta_reserved) <> 0 OR sum(l.delta_on_hand) <> 0
   ORDER BY l.document_id, l.sku, l.location`;
/** In the order of the services, which lock the same rows. */
const LOCK = `
  SELECT FROM inventory.stock_level s WHERE s.sku IN (SELECT l.sku FROM inventory.ledger l WHERE l.document_id = ANY ($1::text::uuid[]))
   ORDER BY s.sku, s.location FOR NO KEY UPDATE`;
/** Marks the answers to orders that do not exist as handled, since nobody waits for them. */
const SKIP = 'INSERT INTO messaging.inbox (consumer, event_id) SELECT \'order-status\', e FROM unnest($1::text::uuid[]) AS e ORDER BY e';
const BATCH = 100;
const ATTEMPTS = 5;

/** @param orderIds look at these only */
export async function findStrays(database: Queryable, orderIds?: readonly string[]): Promise<Stray[]> {
  return (await database.query<Stray>(FIND, [orderIds === undefined ? null : uuidArray(orderIds)])).rows;
}

/**
 * Gives this stock back through the ledger, each order in its next version with its InventoryUpdated, as if the order had expired. Safe
 * beside running services and beside itself: what another transaction gave back or changed meanwhile is looked at again under the locks.
 * Answers the number of orders.
 */
export async function giveBack(pool: Pool, strays: readonly Stray[]): Promise<number> {
  const orderIds = [...new Set(strays.map(({ orderId }) => orderId))];
  let count = 0;
  for (let at = 0; at < orderIds.length; at += BATCH) {
    count += await giveBackOf(pool, orderIds.slice(at, at + BATCH));
  }
  return count;
}

async function giveBackOf(pool: Pool, orderIds: readonly string[]): Promise<number> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await withTransaction(pool, async (tx) => {
        await tx.query(LOCK, [uuidArray(orderIds)]);
        const still = new Set((await findStrays(tx, orderIds)).map(({ orderId }) => orderId));
        const decision = await clear(tx, [...still]);
        await write(tx, '', [], decision);
        await tx.query(SKIP, [uuidArray(decision.changes.map(({ eventId }) => eventId))]);
        return decision.changes.length;
      });
    } catch (error) {
      // The inventory was first at the next version of one of them.
      if (attempt >= ATTEMPTS || (error as { code?: string }).code !== '23505') throw error;
    }
  }
}

/** The inventory's own decision about the end of an order. The event that it would follow from is never published. */
async function clear(tx: Queryable, orderIds: readonly string[]): Promise<Decision> {
  const ended = (orderId: string, version: number): EventEnvelope<Caused> => newEvent({
    type: 'order.expired',
    source: '/reconcile',
    subject: orderId,
    sequence: version,
    cause: { id: 'reconcile', correlationid: orderId },
    data: { orderId, customerId: 'unknown', version, status: 'UNKNOWN', expiredAt: new Date().toISOString() },
  });
  const known = await readClaimed(tx, '', orderIds.map((orderId) => ended(orderId, 1)), new Set());
  const last = new Map<string, number>();
  for (const { orderId, version } of known.entries) last.set(orderId, Math.max(version, last.get(orderId) ?? 0));
  // No order says so: that is the reason to give the stock back.
  return decide(orderIds.map((orderId) => ended(orderId, (last.get(orderId) ?? 0) + 1)), { ...known, unfounded: new Map() }, newId);
}
