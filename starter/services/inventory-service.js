// Decides about new orders: reserves their stock and confirms them, or rejects them.
import { connect, consume, publish, run } from './shared.js';

const pool = await connect();

await run({ pool, work: consume('inventory', pool, handle) });

/** Handles one event. Its writes and the record of the handled event are committed together, or not at all. */
async function handle(event, tx) {
  // A rule may send other events. They become dead letters instead of being lost silently.
  if (event.type !== 'order.created') throw new Error(`There is no code for events of type ${event.type}.`);
  const { orderId, customerId, items } = event.data;

  // The rows are locked in the order of their SKUs, so that two orders with the same products can't wait for each other.
  const { rows } = await tx.query('SELECT sku, on_hand - reserved AS available FROM stock WHERE sku = ANY($1) ORDER BY sku FOR UPDATE', [items.map(({ sku }) => sku)]);
  const available = new Map(rows.map((row) => [row.sku, row.available]));
  const shortages = items
    .map(({ sku, quantity }) => ({ sku, requested: quantity, available: available.get(sku) ?? 0 }))
    .filter((line) => line.requested > line.available);
  const status = shortages.length === 0 ? 'CONFIRMED' : 'REJECTED';

  if (status === 'CONFIRMED') {
    for (const { sku, quantity } of items) await tx.query('UPDATE stock SET reserved = reserved + $2 WHERE sku = $1', [sku, quantity]);
  }
  const { rows: [order] } = await tx.query(
    `UPDATE orders SET status = $2, version = version + 1, updated_at = now() WHERE id = $1 AND status = 'PENDING' RETURNING version`, [orderId, status]);
  // An event on the bus may be forged.
  if (!order) throw new Error(`There is no pending order ${orderId}.`);

  const { version } = order;
  const now = new Date().toISOString();
  await publish(tx, status === 'CONFIRMED'
    ? { type: 'order.confirmed', orderId, version, cause: event, data: { customerId, version, confirmedAt: now } }
    : { type: 'order.rejected', orderId, version, cause: event, data: { customerId, version, reason: 'INSUFFICIENT_STOCK', shortages, rejectedAt: now } });
}
