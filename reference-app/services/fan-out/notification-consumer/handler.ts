import type { Handler } from '../../shared/messaging/handler.ts';
import { numberArray, textArray, uuidArray } from '../../shared/sql-arrays.ts';
import { inOrder, type OrderEvent, type OrderEventType } from '../in-order.ts';

const RECORD = {
  name: 'notification-consumer-record',
  text: `INSERT INTO fan_out.notification (order_id, version, outcome, customer_id, traceparent)
         SELECT * FROM unnest($1::text::uuid[], $2::text::bigint[], $3::text::text[], $4::text::text[], $5::text::text[])`,
};

/** The events of which customers get a notification. */
const OUTCOMES: { readonly [type: string]: string } = {
  'order.created': 'CREATED', 'order.updated': 'UPDATED', 'order.confirmed': 'CONFIRMED', 'order.rejected': 'REJECTED', 'order.cancelled': 'CANCELLED', 'order.expired': 'EXPIRED',
};

/** Records the notifications, one per version of an order; the delivery sends them. */
export function createNotificationHandler(onRecorded: () => void): Handler<OrderEventType> {
  return inOrder('notification-consumer', async (events, tx) => {
    const notified = events.filter(({ type }) => type in OUTCOMES);
    const of = <T>(read: (event: OrderEvent) => T) => notified.map(read);
    await tx.query({
      ...RECORD,
      values: [
        uuidArray(of(({ subject }) => subject)), numberArray(of(({ sequence }) => Number(sequence))),
        textArray(of(({ type }) => OUTCOMES[type]!)),
        textArray(of(({ data }) => data.customerId)), textArray(of(({ traceparent }) => traceparent ?? null)),
      ],
    });
  }, onRecorded);
}
