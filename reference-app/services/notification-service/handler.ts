import type { Pool } from '../shared/database.ts';
import type { EventEnvelope } from '../shared/events/index.ts';
import { afterPrevious, gateIds, splitByTurn } from '../shared/messaging/gate.ts';
import type { Handler, Outcome } from '../shared/messaging/handler.ts';
import { handledIds } from '../shared/messaging/inbox.ts';
import { arrayOf, numberArray, textArray, uuidArray } from '../shared/sql-arrays.ts';

type Noticed = 'order.confirmed' | 'order.rejected' | 'order.update-requested' | 'order.updated' | 'order.update-rejected'
  | 'order.update-expired' | 'order.cancel-requested' | 'order.cancelled' | 'order.expired' | 'inventory.updated';

/** Customers get no notification of the creation, so its event is not sent here. */
const FIRST_VERSION = 2;

const NAME = 'notification-service';

const RECORD = {
  name: 'notification-record',
  text: `SELECT handled::text, recorded_order_ids::text, recorded_versions::text, recorded_outcomes::text
         FROM notification.record($1, $2::text::uuid[], $3::text::uuid[], $4::text::int[], $5::text::text[], $6::text::text[], $7::text::text[])`,
};

/** Records the notifications, one per version of an order and outcome; the delivery sends them. */
export function createNotificationHandler(onRecorded: () => void): Handler<Noticed> {
  return {
    name: NAME,
    types: [
      'order.confirmed', 'order.rejected', 'order.update-requested', 'order.updated', 'order.update-rejected',
      'order.update-expired', 'order.cancel-requested', 'order.cancelled', 'order.expired', 'inventory.updated',
    ],
    async handle(events, pool) {
      // Most orders never change: then there is nothing to wait for, and no need to look.
      const handled = events.some(isChange) ? await handledIds(NAME, gateIds(events, FIRST_VERSION), pool) : new Set<string>();
      const { turn, others } = splitByTurn(events, handled, afterPrevious(handled, FIRST_VERSION));
      return turn.length > 0 ? [...await record(turn, pool, onRecorded), ...others] : others;
    },
  };
}

function isChange({ previousid, sequence }: EventEnvelope): boolean {
  return previousid !== undefined && Number(sequence) > FIRST_VERSION;
}

async function record(events: readonly EventEnvelope<Noticed>[], pool: Pool, onRecorded: () => void): Promise<Outcome[]> {
  const { rows: [row] } = await pool.query<Record<'handled' | `recorded_${'order_ids' | 'versions' | 'outcomes'}`, string | null>>({
    ...RECORD,
    values: [
      NAME, uuidArray(events.map(({ id }) => id)), uuidArray(events.map(({ data }) => data.orderId)),
      numberArray(events.map(({ sequence }) => Number(sequence))),
      textArray(events.map(outcomeOf)), textArray(events.map((event) => (event.type === 'inventory.updated' ? null : event.data.customerId))),
      textArray(events.map(({ traceparent }) => traceparent ?? null)),
    ],
  });
  const known = new Set(arrayOf(row!.handled));
  const [versions, outcomes] = [arrayOf(row!.recorded_versions), arrayOf(row!.recorded_outcomes)];
  const recorded = new Set(arrayOf(row!.recorded_order_ids).map((orderId, i) => `${orderId} ${versions[i]} ${outcomes[i]}`));
  return events.map((event) => {
    const outcome = outcomeOf(event);
    if (known.has(event.id)) return { eventId: event.id, result: 'duplicate' };
    if (outcome === null) return { eventId: event.id, result: 'ignored', reason: 'customers get no notification of it' };
    // The first event of a key in the batch is the one that was recorded.
    return recorded.delete(`${event.data.orderId} ${Number(event.sequence)} ${outcome}`)
      ? { eventId: event.id, result: 'ok', committed: onRecorded }
      : { eventId: event.id, result: 'duplicate', reason: 'the customer gets this notification already' };
  });
}

function outcomeOf(event: EventEnvelope<Noticed>): string | null {
  switch (event.type) {
    case 'order.confirmed': return 'CONFIRMED';
    case 'order.rejected': return 'REJECTED';
    case 'order.updated': return 'UPDATED';
    case 'order.update-rejected': return 'UPDATE_REJECTED';
    case 'order.update-expired': return 'UPDATE_EXPIRED';
    case 'order.cancelled': return 'CANCELLED';
    case 'order.expired': return 'EXPIRED';
    case 'order.update-requested':
    case 'order.cancel-requested': return null;
    case 'inventory.updated': return event.data.outcome === 'DEDUCTED' ? 'DEDUCTED' : null;
  }
}
