import { withTransaction, type Queryable } from '../shared/database.ts';
import { EVENT_DATA, EventFormatError, type EventEnvelope, type EventType } from '../shared/events/index.ts';
import type { Handler, Outcome } from '../shared/messaging/handler.ts';
import { lines, numberArray, uuidArray } from '../shared/sql-arrays.ts';

export type OrderEventType = Extract<EventType, `order.${string}`>;
export type OrderEvent = EventEnvelope<OrderEventType>;

/** All of them: one that a consumer has no use for is a version of its order like the others. */
const TYPES = (Object.keys(EVENT_DATA) as EventType[]).filter((type): type is OrderEventType => type.startsWith('order.'));

const TAKE = {
  name: 'fan-out-take',
  text: 'SELECT handled, early, late, due FROM fan_out.take($1, $2::text::uuid[], $3::text::uuid[], $4::text::bigint[], $5)',
};

interface Taken {
  readonly handled: readonly string[];
  /** Kept until the versions before them are there. */
  readonly early: readonly string[];
  /** Of a version that was there already. */
  readonly late: readonly string[];
  readonly due: string | null;
}

/**
 * A consumer that applies the events of each order once and by their versions, however they come: what is early is kept in the
 * database, and applied with what closes the gap. `apply` gets the events whose turn it is and writes what follows from them.
 */
export function inOrder(name: string, apply: (events: readonly OrderEvent[], tx: Queryable) => Promise<void>, committed?: () => void): Handler<OrderEventType> {
  return {
    name,
    types: TYPES,
    async handle(events, pool) {
      const versions = events.map(versionOf);
      // One attempt: the host repeats what another transaction was in the way of.
      const taken = await withTransaction(pool, async (tx) => {
        const { rows: [row] } = await tx.query<Taken>({
          ...TAKE,
          values: [name, uuidArray(events.map(({ id }) => id)), uuidArray(events.map(({ subject }) => subject)), numberArray(versions), lines(events.map((event) => JSON.stringify(event)))],
        });
        const due = row!.due?.split('\n').map((line) => JSON.parse(line) as OrderEvent) ?? [];
        if (due.length > 0) await apply(due, tx);
        return row!;
      }, 1);
      const [handled, early, late] = [new Set(taken.handled), new Set(taken.early), new Set(taken.late)];
      return events.map(({ id }, i): Outcome => {
        const eventId = id.toLowerCase();
        if (handled.has(eventId)) return { eventId: id, result: 'duplicate' };
        if (late.has(eventId)) return { eventId: id, result: 'duplicate', reason: `version ${versions[i]} of the order was there already` };
        if (early.has(eventId)) return { eventId: id, result: 'ok', reason: `kept until version ${versions[i]! - 1} of the order is there` };
        return { eventId: id, result: 'ok', ...(committed && { committed }) };
      });
    },
  };
}

function versionOf({ sequence }: OrderEvent): number {
  const version = Number(sequence);
  if (version < 1) throw new EventFormatError('sequence', `must be the version of the order, from 1, not ${sequence}`);
  return version;
}
