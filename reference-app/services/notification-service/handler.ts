import type { EventEnvelope } from '../shared/events/index.ts';
import { transactional } from '../shared/messaging/inbox.ts';
import type { Handler } from '../shared/messaging/handler.ts';

type Noticed = 'order.confirmed' | 'order.rejected' | 'inventory.updated';

const RECORD = {
  name: 'notification-record',
  text: 'SELECT order_id, outcome FROM notification.record($1::uuid[], $2::text[], $3::text[], $4::text[])',
};

/** Records what a customer is to be told, once per order and outcome; the delivery sends it. */
export function createNotificationHandler(onRecorded: () => void): Handler<Noticed> {
  return transactional<Noticed>({
    name: 'notification-service',
    types: ['order.confirmed', 'order.rejected', 'inventory.updated'],
    async handle(events, tx) {
      const notices = events.flatMap((event) => {
        const outcome = outcomeOf(event);
        return outcome ? [{ event, outcome, key: `${event.data.orderId.toLowerCase()} ${outcome}` }] : [];
      });
      const { rows } = await tx.query<{ order_id: string; outcome: string }>({
        ...RECORD,
        values: [
          notices.map(({ event }) => event.data.orderId),
          notices.map(({ outcome }) => outcome),
          notices.map(({ event }) => (event.type === 'inventory.updated' ? null : event.data.customerId)),
          notices.map(({ event }) => event.traceparent ?? null),
        ],
      });
      const recorded = new Set(rows.map(({ order_id, outcome }) => `${order_id} ${outcome}`));
      const keys = new Map(notices.map(({ event, key }) => [event.id, key]));
      return events.map(({ id }) => {
        const key = keys.get(id);
        if (key === undefined) return { eventId: id, result: 'ignored', reason: 'no customer is told of it' };
        // The first event of a key in the batch is the one that was recorded.
        return recorded.delete(key)
          ? { eventId: id, result: 'ok', committed: onRecorded }
          : { eventId: id, result: 'duplicate', reason: 'the customer is told of it already' };
      });
    },
  });
}

function outcomeOf(event: EventEnvelope<Noticed>): string | undefined {
  switch (event.type) {
    case 'order.confirmed': return 'CONFIRMED';
    case 'order.rejected': return 'REJECTED';
    case 'inventory.updated': return event.data.outcome === 'DEDUCTED' ? 'DEDUCTED' : undefined;
  }
}
