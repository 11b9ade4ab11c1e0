/**
 * The naive design with which the pipeline is compared: one message at a time, one transaction per order, SELECT … FOR UPDATE per line,
 * then an update and a ledger entry per line, and the outbox. It has the same schema and durability, prepared statements, and lines in
 * sorted order so that several workers do not deadlock. No service imports it.
 */
import type { PoolClient, QueryResultRow } from 'pg';
import type { NewOrder } from '../../services/order-service/api-write-service/intake.ts';
import type { Pool } from '../../services/shared/database.ts';
import { newEvent, newId, type EventEnvelope, type InventoryLine } from '../../services/shared/events/index.ts';

const statement = <R extends QueryResultRow>(name: string, text: string) =>
  (tx: Pick<PoolClient, 'query'>, ...values: unknown[]) => tx.query<R>({ name: `naive-${name}`, text, values });

const remember = statement('inbox', 'INSERT INTO messaging.inbox (consumer, event_id) VALUES ($1, $2) ON CONFLICT DO NOTHING');
const publish = statement('outbox', 'INSERT INTO messaging.outbox (event_id, aggregate_id, detail_type, envelope) VALUES ($1, $2, $3, $4)');

// --- intake ------------------------------------------------------------------------------------------------------

const insertOrder = statement('order', `
  INSERT INTO orders.orders (order_id, customer_id, status, version, created_at, updated_at, items, traceparent)
  VALUES ($1, $2, 'PENDING', 1, $3, $3, $4, $5)`);
const readProduct = statement('product', 'SELECT FROM inventory.product WHERE sku = $1');
const insertChange = statement('change', `
  INSERT INTO orders.status_change (order_id, version, from_status, to_status, event_id, cause_id, at)
  VALUES ($1, $2, $3, $4, $5, $6, $7)`);

/** An order with two lines takes 7 round trips. */
export async function takeOrder(pool: Pool, order: NewOrder): Promise<void> {
  await inTransaction(pool, async (tx) => {
    for (const { sku } of order.items) {
      if ((await readProduct(tx, sku)).rowCount === 0) throw new Error(`unknown SKU ${sku}`);
    }
    await insertOrder(tx, order.orderId, order.customerId, order.createdAt, JSON.stringify(order.items), order.traceparent);
    await insertChange(tx, order.orderId, 1, null, 'PENDING', order.event.id, order.causeId, order.createdAt);
    await publish(tx, order.event.id, order.orderId, 'OrderCreated', order.event.envelope);
  });
}

// --- stock-service -----------------------------------------------------------------------------------------------

const readStock = statement<{ available: number | null }>('available', 'SELECT sum(on_hand - reserved)::int AS available FROM inventory.stock_level WHERE sku = $1');

/** An order with two lines takes 6 round trips. */
export async function validate(pool: Pool, event: EventEnvelope<'order.created'>): Promise<EventEnvelope[]> {
  return once(pool, 'stock-service', event, async (tx) => {
    const lines: { sku: string; requested: number; available: number }[] = [];
    for (const { sku, quantity } of sorted(event.data.items)) {
      const { rows: [stock] } = await readStock(tx, sku);
      lines.push({ sku, requested: quantity, available: stock?.available ?? 0 });
    }
    const answer = newEvent({
      type: 'inventory.validated',
      source: '/stock-service',
      subject: event.subject,
      sequence: event.sequence,
      cause: event,
      data: {
        orderId: event.data.orderId,
        lines,
        sufficient: lines.every((line) => line.requested <= line.available),
        asOf: new Date().toISOString(),
      },
    });
    await publish(tx, answer.id, answer.subject, 'StockValidated', JSON.stringify(answer));
    return [answer];
  });
}

// --- inventory-service -------------------------------------------------------------------------------------------

interface Level { on_hand: number; reserved: number }

const lockStock = statement<Level>('lock-stock', `
  SELECT on_hand, reserved FROM inventory.stock_level WHERE sku = $1 AND location = 'MAIN' FOR UPDATE`);
const reserveLine = statement('reserve-line', `
  WITH stock AS (
    UPDATE inventory.stock_level SET reserved = reserved + $3 WHERE sku = $2 AND location = 'MAIN'
  )
  INSERT INTO inventory.ledger (document_id, version, line, type, sku, location, delta_on_hand, delta_reserved, event_id)
  VALUES ($1, 1, $4, 'RESERVE', $2, 'MAIN', 0, $3, $5)`);
const rejectLine = statement('reject-line', `
  INSERT INTO inventory.ledger (document_id, version, line, type, sku, location, delta_on_hand, delta_reserved, event_id)
  VALUES ($1, 1, $3, 'REJECT', $2, NULL, 0, 0, $4)`);

/** An order with two lines takes 8 round trips. */
export async function reserve(pool: Pool, event: EventEnvelope<'inventory.validated'>): Promise<EventEnvelope[]> {
  return once(pool, 'inventory-service', event, async (tx) => {
    const ordered = sorted(event.data.lines).map(({ sku, requested }) => ({ sku, quantity: requested }));
    const levels: { sku: string; quantity: number; onHand: number; reserved: number }[] = [];
    for (const line of ordered) {
      const { rows: [stock] } = await lockStock(tx, line.sku);
      levels.push({ ...line, onHand: stock?.on_hand ?? 0, reserved: stock?.reserved ?? 0 });
    }
    const short = levels.filter(({ quantity, onHand, reserved }) => onHand - reserved < quantity);
    const fits = short.length === 0;
    const id = newId();
    if (fits) for (const [i, { sku, quantity }] of levels.entries()) await reserveLine(tx, event.subject, sku, quantity, i + 1, id);
    else for (const [i, { sku }] of short.entries()) await rejectLine(tx, event.subject, sku, i + 1, id);
    const answer = newEvent({
      id,
      type: 'inventory.updated',
      source: '/inventory-service',
      subject: event.subject,
      sequence: 1,
      cause: event,
      data: {
        orderId: event.subject,
        reservationId: id,
        outcome: fits ? 'RESERVED' : 'REJECTED',
        lines: levels.map((level) => {
          const deltaReserved = fits ? level.quantity : 0;
          return { ...level, reserved: level.reserved + deltaReserved, deltaOnHand: 0, deltaReserved };
        }),
        shortages: short.map((level) => ({ sku: level.sku, requested: level.quantity, available: level.onHand - level.reserved })),
      },
    });
    await publish(tx, answer.id, answer.subject, 'InventoryUpdated', JSON.stringify(answer));
    return [answer];
  });
}

interface ReservedLine { version: number; type: string; sku: string; quantity: number; event_id: string }

const readReservation = statement<ReservedLine>('reservation', `SELECT version, type, sku, delta_reserved AS quantity, event_id
  FROM inventory.ledger WHERE document_id = $1 ORDER BY version DESC, sku`);
const deductLine = statement<Level>('deduct-line', `
  WITH stock AS (
    UPDATE inventory.stock_level SET on_hand = on_hand - $3, reserved = reserved - $3
    WHERE sku = $2 AND location = 'MAIN' RETURNING on_hand, reserved
  ), entry AS (
    INSERT INTO inventory.ledger (document_id, version, line, type, sku, location, delta_on_hand, delta_reserved, event_id)
    VALUES ($1, 2, $4, 'COMMIT', $2, 'MAIN', -$3::int, -$3::int, $5)
  )
  SELECT on_hand, reserved FROM stock`);

/** An order with two lines takes 9 round trips. */
export async function deduct(pool: Pool, event: EventEnvelope<'order.confirmed'>): Promise<EventEnvelope[]> {
  return once(pool, 'inventory-service', event, async (tx) => {
    const { rows } = await readReservation(tx, event.subject);
    if (rows[0]?.type !== 'RESERVE') return [];
    const id = newId();
    const lines: InventoryLine[] = [];
    for (const { sku } of rows) await lockStock(tx, sku);
    for (const [i, { sku, quantity }] of rows.entries()) {
      const { rows: [level] } = await deductLine(tx, event.subject, sku, quantity, i + 1, id);
      lines.push({ sku, quantity, deltaOnHand: -quantity, deltaReserved: -quantity, onHand: level!.on_hand, reserved: level!.reserved });
    }
    const answer = newEvent({
      id,
      type: 'inventory.updated',
      source: '/inventory-service',
      subject: event.subject,
      sequence: 2,
      cause: event,
      data: { orderId: event.subject, reservationId: rows[0].event_id, outcome: 'DEDUCTED', lines, shortages: [] },
    });
    await publish(tx, answer.id, answer.subject, 'InventoryUpdated', JSON.stringify(answer));
    return [answer];
  });
}

// --- order status ------------------------------------------------------------------------------------------------

const lockOrder = statement<{ customer_id: string; version: number; created_at: Date }>('lock-order', `
  SELECT customer_id, version, created_at FROM orders.orders WHERE order_id = $1 AND status = 'PENDING' FOR UPDATE`);
const settleOrder = statement('settle', `
  UPDATE orders.orders SET status = $2, version = version + 1, updated_at = $3, reason = $4, shortages = $5 WHERE order_id = $1`);

/** 7 round trips. */
export async function settle(pool: Pool, event: EventEnvelope<'inventory.updated'>): Promise<EventEnvelope[]> {
  return once(pool, 'order-status', event, async (tx) => {
    const { rows: [order] } = await lockOrder(tx, event.subject);
    if (!order) return [];
    const confirms = event.data.outcome === 'RESERVED';
    const at = new Date();
    const version = order.version + 1;
    const data = { orderId: event.subject, customerId: order.customer_id, version, createdAt: order.created_at.toISOString() };
    const common = { source: '/order-service', subject: event.subject, sequence: version, cause: event, time: at };
    const { shortages } = event.data;
    const reason = 'INSUFFICIENT_STOCK';
    const answer = confirms
      ? newEvent({ ...common, type: 'order.confirmed', data: { ...data, confirmedAt: at.toISOString() } })
      : newEvent({ ...common, type: 'order.rejected', data: { ...data, reason, shortages, rejectedAt: at.toISOString() } });
    const status = confirms ? 'CONFIRMED' : 'REJECTED';
    await settleOrder(tx, event.subject, status, at, confirms ? null : reason, confirms ? null : JSON.stringify(shortages));
    await insertChange(tx, event.subject, version, 'PENDING', status, answer.id, event.id, at);
    await publish(tx, answer.id, answer.subject, confirms ? 'OrderConfirmed' : 'OrderRejected', JSON.stringify(answer));
    return [answer];
  });
}

// --- outbox relay ------------------------------------------------------------------------------------------------

const lockCursor = statement<{ xid: string; id: string }>('cursor', 'SELECT xid::text, id::text FROM messaging.relay_cursor WHERE shard = 0 FOR UPDATE');
interface OutboxRow { xid: string; id: string; detail_type: string; envelope: string }

const readNext = statement<OutboxRow>('next', `SELECT o.xid::text, o.id::text, o.detail_type, o.envelope FROM messaging.outbox o
  WHERE (o.xid, o.id) > ($1::xid8, $2::bigint) AND o.xid < pg_snapshot_xmin(pg_current_snapshot()) ORDER BY o.xid, o.id LIMIT $3`);
const moveCursor = statement('move-cursor', `
  UPDATE messaging.relay_cursor SET xid = $1::xid8, id = $2::bigint, updated_at = now() WHERE shard = 0`);

/** 5 round trips for any number of events. Returns how many there were. */
export async function relaySome(pool: Pool, most: number, send: (envelope: string, detailType: string) => void): Promise<number> {
  return inTransaction(pool, async (tx) => {
    const { rows: [cursor] } = await lockCursor(tx);
    const { rows } = await readNext(tx, cursor!.xid, cursor!.id, most);
    const last = rows.at(-1);
    if (!last) return 0;
    for (const row of rows) send(row.envelope, row.detail_type);
    await moveCursor(tx, last.xid, last.id);
    return rows.length;
  });
}

export async function relayOne(pool: Pool, send: (envelope: string, detailType: string) => void): Promise<boolean> {
  return await relaySome(pool, 1, send) === 1;
}

// --- common ------------------------------------------------------------------------------------------------------

async function once(
  pool: Pool, consumer: string, event: EventEnvelope, work: (tx: PoolClient) => Promise<EventEnvelope[]>,
): Promise<EventEnvelope[]> {
  return inTransaction(pool, async (tx) => ((await remember(tx, consumer, event.id)).rowCount === 0 ? [] : work(tx)));
}

async function inTransaction<T>(pool: Pool, work: (tx: PoolClient) => Promise<T>): Promise<T> {
  const tx = await pool.connect();
  try {
    await tx.query('BEGIN');
    const result = await work(tx);
    await tx.query('COMMIT');
    return result;
  } catch (error) {
    await tx.query('ROLLBACK').catch(() => undefined);
    throw error;
  } finally {
    tx.release();
  }
}

function sorted<L extends { readonly sku: string }>(lines: readonly L[]): L[] {
  return [...lines].sort((a, b) => (a.sku < b.sku ? -1 : 1));
}
