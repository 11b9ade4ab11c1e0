import type { OrderItem } from '../../shared/events/index.ts';
import { numberArray, textArray, uuidArray } from '../../shared/sql-arrays.ts';
import { inOrder, type OrderEvent } from '../in-order.ts';

const SAVE = {
  name: 'order-consumer-save',
  // What the events do not say is as it was. An order without a creation has no items, which its table refuses.
  text: `INSERT INTO fan_out.orders AS o (order_id, customer_id, version, status, items)
         SELECT n.order_id, n.customer_id, n.version, coalesce(n.status, b.status), coalesce(n.items::jsonb, b.items)
         FROM unnest($1::text::uuid[], $2::text::text[], $3::text::bigint[], $4::text::text[], $5::text::text[]) AS n (order_id, customer_id, version, status, items)
         LEFT JOIN fan_out.orders b ON b.order_id = n.order_id
         ORDER BY n.order_id
         ON CONFLICT (order_id) DO UPDATE SET version = excluded.version, status = excluded.status, items = excluded.items
         WHERE o.status <> ALL ($6)`,
};

/** Events that leave the status as it is are not here. */
const STATUS: { readonly [type: string]: string } = {
  'order.created': 'PENDING', 'order.confirmed': 'CONFIRMED', 'order.rejected': 'REJECTED', 'order.cancelled': 'CANCELLED', 'order.expired': 'EXPIRED',
};
/** No later event changes such an order. */
const TERMINAL = ['REJECTED', 'CANCELLED', 'EXPIRED'];

interface OrderState {
  readonly orderId: string;
  readonly customerId: string;
  readonly version: number;
  readonly status: string | undefined;
  readonly items: readonly OrderItem[] | undefined;
}

/** Keeps what an order is: its items, and whether it still stands. */
export const orderHandler = inOrder('order-consumer', async (events, tx) => {
  const states = new Map<string, OrderState>();
  for (const event of events) {
    const { orderId, customerId } = event.data;
    const before = states.get(orderId);
    if (before?.status && TERMINAL.includes(before.status)) continue;
    states.set(orderId, {
      orderId, customerId, version: Number(event.sequence), status: STATUS[event.type] ?? before?.status, items: itemsOf(event) ?? before?.items,
    });
  }
  const orders = [...states.values()];
  await tx.query({
    ...SAVE,
    values: [
      uuidArray(orders.map(({ orderId }) => orderId)), textArray(orders.map(({ customerId }) => customerId)), numberArray(orders.map(({ version }) => version)),
      textArray(orders.map(({ status }) => status ?? null)), textArray(orders.map(({ items }) => (items ? JSON.stringify(items) : null))), TERMINAL,
    ],
  });
});

function itemsOf(event: OrderEvent): readonly OrderItem[] | undefined {
  switch (event.type) {
    case 'order.created': return event.data.items;
    case 'order.updated': return event.data.new;
    default: return undefined;
  }
}
