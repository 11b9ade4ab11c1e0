import type { OrderItem } from '../../shared/events/index.ts';
import { numberArray, textArray, uuidArray } from '../../shared/sql-arrays.ts';
import { inOrder, type OrderEvent } from '../in-order.ts';

const SAVE = {
  name: 'order-consumer-save',
  text: 'SELECT fan_out.save($1::text::uuid[], $2::text::text[], $3::text::bigint[], $4::text::text[], $5::text::text[])',
};

/** Events that leave the status as it is are not here. */
const STATUS: { readonly [type: string]: string } = {
  'order.created': 'PENDING', 'order.confirmed': 'CONFIRMED', 'order.rejected': 'REJECTED', 'order.cancelled': 'CANCELLED', 'order.expired': 'EXPIRED',
};
/** No later event changes such an order; its table says the same. */
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
      orderId,
      customerId,
      version: Number(event.sequence),
      status: STATUS[event.type] ?? before?.status,
      items: itemsOf(event) ?? before?.items,
    });
  }
  const orders = [...states.values()];
  await tx.query({
    ...SAVE,
    values: [
      uuidArray(orders.map(({ orderId }) => orderId)), textArray(orders.map(({ customerId }) => customerId)),
      numberArray(orders.map(({ version }) => version)),
      textArray(orders.map(({ status }) => status ?? null)), textArray(orders.map(({ items }) => (items ? JSON.stringify(items) : null))),
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
