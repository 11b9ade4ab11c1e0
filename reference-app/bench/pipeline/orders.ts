/** Orders and events of a benchmark. */
import type pg from 'pg';
import type { NewOrder } from '../../services/order-service/api-write-service/intake.ts';
import { newEvent, newId, type EventEnvelope } from '../../services/shared/events/index.ts';
import { newTraceparent } from '../../services/shared/telemetry.ts';

export interface Shape {
  /** Number of products of which orders are drawn. */
  readonly skus: number;
  /** Lines of an order, each with a different product. */
  readonly lines: number;
}

/** Two lines of a thousand products: a batch of 500 touches some 630 stock rows. */
export const UNIFORM: Shape = { skus: 1_000, lines: 2 };
export const HOT: Shape = { skus: 1, lines: 1 };

export interface Order {
  readonly orderId: string;
  readonly customerId: string;
  readonly items: readonly { readonly sku: string; readonly quantity: number }[];
}

export function skuName(index: number): string {
  return `SKU-${String(index).padStart(6, '0')}`;
}

export function randomOrder({ skus, lines }: Shape, random: () => number): Order {
  const picked = new Set<number>();
  while (picked.size < Math.min(lines, skus)) picked.add(Math.floor(random() * skus));
  return {
    orderId: newId(),
    customerId: `customer-${Math.floor(random() * 10_000)}`,
    items: [...picked].map((index) => ({ sku: skuName(index), quantity: 1 + Math.floor(random() * 3) })),
  };
}

/** Adds products with a receipt each, as the migration job does with the catalogue. */
export async function stockUp(admin: pg.Pool, skus: number, onHand: number): Promise<void> {
  const names = Array.from({ length: skus }, (_, i) => skuName(i));
  await admin.query('INSERT INTO inventory.product SELECT s, s FROM unnest($1::text[]) AS s', [names]);
  await admin.query('INSERT INTO inventory.stock_level (sku, on_hand) SELECT s, $2 FROM unnest($1::text[]) AS s', [names, onHand]);
  await admin.query(`INSERT INTO inventory.ledger (sku, location, type, delta_on_hand, delta_reserved)
    SELECT s, 'MAIN', 'RECEIPT', $2, 0 FROM unnest($1::text[]) AS s`, [names, onHand]);
  await admin.query('VACUUM (ANALYZE) inventory.product, inventory.stock_level, inventory.ledger');
}

/** More pieces than any run sells of one product, and few enough that no counter overflows. */
export const PLENTY = 500_000_000;

/** The order that the write API makes of a valid request (api-write-service/api.ts). */
export function newOrder(order: Order, createdAt = new Date()): NewOrder {
  const traceparent = newTraceparent();
  const causeId = newId();
  const event = createdEvent(order, createdAt, { id: causeId, correlationid: order.orderId, traceparent });
  return {
    orderId: order.orderId,
    customerId: order.customerId,
    items: order.items,
    createdAt,
    traceparent,
    causeId,
    idempotency: undefined,
    event: { id: event.id, envelope: JSON.stringify(event) },
  };
}

function createdEvent(order: Order, createdAt: Date, cause: Parameters<typeof newEvent>[0]['cause']): EventEnvelope<'order.created'> {
  return newEvent({
    type: 'order.created',
    source: '/order-service',
    subject: order.orderId,
    sequence: 1,
    time: createdAt,
    cause,
    data: { orderId: order.orderId, customerId: order.customerId, items: [...order.items], createdAt: createdAt.toISOString() },
  });
}

export function validatedEvent(order: Order): EventEnvelope<'inventory.validated'> {
  return newEvent({
    type: 'inventory.validated',
    source: '/stock-service',
    subject: order.orderId,
    sequence: 1,
    cause: { id: newId() },
    data: {
      orderId: order.orderId,
      sufficient: true,
      asOf: new Date().toISOString(),
      lines: order.items.map(({ sku, quantity }) => ({ sku, requested: quantity, available: PLENTY })),
    },
  });
}

export function confirmedEvent(order: Order): EventEnvelope<'order.confirmed'> {
  return newEvent({
    type: 'order.confirmed',
    source: '/order-service',
    subject: order.orderId,
    sequence: 2,
    cause: { id: newId() },
    data: { orderId: order.orderId, customerId: order.customerId, version: 2, confirmedAt: new Date().toISOString() },
  });
}

/**
 * Stores the orders of these events, without events of theirs in the outbox: for a benchmark of the inventory alone, which reserves for no
 * order that is not there.
 */
export async function storeOrders(pool: pg.Pool, events: readonly EventEnvelope<'inventory.validated' | 'order.confirmed'>[]): Promise<void> {
  for (const some of batches(events, 5_000)) {
    const items = some.map(({ data }) => {
      if (!('lines' in data)) return null;
      const lines = data.lines.map(({ sku, requested }) => ({ sku, quantity: requested }));
      return JSON.stringify(lines.sort((a, b) => (a.sku < b.sku ? -1 : 1)));
    });
    await pool.query(
      `WITH e AS (SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[]) AS t (order_id, event_id, items)),
            o AS (INSERT INTO orders.orders (order_id, customer_id, status, version, items) SELECT order_id, 'c', 'PENDING', 1, items::jsonb FROM e WHERE items IS NOT NULL)
       INSERT INTO orders.status_change (order_id, version, from_status, to_status, event_id)
       SELECT order_id, CASE WHEN items IS NULL THEN 2 ELSE 1 END, CASE WHEN items IS NULL THEN 'PENDING' END, CASE WHEN items IS NULL THEN 'CONFIRMED' ELSE 'PENDING' END, event_id
       FROM e`,
      [some.map(({ subject }) => subject), some.map(({ id }) => id), items],
    );
  }
}

/** Splits items into batches. */
export function batches<T>(items: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, i) => items.slice(i * size, (i + 1) * size));
}
