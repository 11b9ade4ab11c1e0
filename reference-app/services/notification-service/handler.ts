import type { EventEnvelope } from '../shared/events/index.ts';
import type { Handler } from '../shared/messaging/handler.ts';
import { arrayOf, textArray, uuidArray } from '../shared/sql-arrays.ts';

type Noticed = 'order.confirmed' | 'order.rejected' | 'inventory.updated';

const NAME = 'notification-service';

const RECORD = {
  name: 'notification-record',
  text: `SELECT handled::text, recorded_order_ids::text, recorded_outcomes::text
         FROM notification.record($1, $2::text::uuid[], $3::text::uuid[], $4::text::text[], $5::text::text[], $6::text::text[])`,
};

/** Records what a customer is to be told, once per order and outcome; the delivery sends it. */
export function createNotificationHandler(onRecorded: () => void): Handler<Noticed> {
  return {
    name: NAME,
    types: ['order.confirmed', 'order.rejected', 'inventory.updated'],
    async handle(events, pool) {
      const { rows: [row] } = await pool.query<Record<'handled' | 'recorded_order_ids' | 'recorded_outcomes', string | null>>({
        ...RECORD,
        values: [
          NAME, uuidArray(events.map(({ id }) => id)), uuidArray(events.map(({ data }) => data.orderId)), textArray(events.map(outcomeOf)),
          textArray(events.map((event) => (event.type === 'inventory.updated' ? null : event.data.customerId))),
          textArray(events.map(({ traceparent }) => traceparent ?? null)),
        ],
      });
      const known = new Set(arrayOf(row!.handled));
      const outcomes = arrayOf(row!.recorded_outcomes);
      const recorded = new Set(arrayOf(row!.recorded_order_ids).map((orderId, i) => `${orderId} ${outcomes[i]}`));
      return events.map((event) => {
        const outcome = outcomeOf(event);
        if (known.has(event.id.toLowerCase())) return { eventId: event.id, result: 'duplicate' };
        if (outcome === null) return { eventId: event.id, result: 'ignored', reason: 'no customer is told of it' };
        // The first event of a key in the batch is the one that was recorded.
        return recorded.delete(`${event.data.orderId.toLowerCase()} ${outcome}`)
          ? { eventId: event.id, result: 'ok', committed: onRecorded }
          : { eventId: event.id, result: 'duplicate', reason: 'the customer is told of it already' };
      });
    },
  };
}

function outcomeOf(event: EventEnvelope<Noticed>): string | null {
  switch (event.type) {
    case 'order.confirmed': return 'CONFIRMED';
    case 'order.rejected': return 'REJECTED';
    case 'inventory.updated': return event.data.outcome === 'DEDUCTED' ? 'DEDUCTED' : null;
  }
}
