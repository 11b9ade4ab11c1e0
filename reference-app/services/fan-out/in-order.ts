import { withTransaction, type Queryable } from '../shared/database.ts';
import { EVENT_DATA, EventFormatError, type EventEnvelope, type EventType } from '../shared/events/index.ts';
import { asDecided, splitByTurn } from '../shared/messaging/gate.ts';
import type { Handler, Outcome } from '../shared/messaging/handler.ts';
import { numberArray, uuidArray } from '../shared/sql-arrays.ts';

export type OrderEventType = Extract<EventType, `order.${string}`>;
export type OrderEvent = EventEnvelope<OrderEventType>;

/** All of them: one that a consumer has no use for is a version of its order like the others. */
const TYPES = (Object.keys(EVENT_DATA) as EventType[]).filter((type): type is OrderEventType => type.startsWith('order.'));

const TAKE = {
  name: 'fan-out-take',
  text: 'SELECT handled, early, late FROM fan_out.take($1, $2::text::uuid[], $3::text::uuid[], $4::text::bigint[])',
};

/** Ids of events whose turn it is not. */
interface Taken {
  readonly handled: readonly string[];
  /** A version before it is missing. */
  readonly early: readonly string[];
  /** Its version was applied before. */
  readonly late: readonly string[];
}

/**
 * A consumer that applies the events of each order once and by their versions, however they come; the host keeps what is early. `apply`
 * gets the events whose turn it is, those of an order by their versions, and writes what follows from them.
 */
export function inOrder(
  name: string, apply: (events: readonly OrderEvent[], tx: Queryable) => Promise<void>, committed?: () => void,
): Handler<OrderEventType> {
  return {
    name,
    types: TYPES,
    // One attempt: the host repeats what another transaction was in the way of.
    handle: (events, pool) => withTransaction(pool, async (tx) => {
      const versions = new Map(events.map((event) => [event.id, versionOf(event)]));
      const { rows: [taken] } = await tx.query<Taken>({
        ...TAKE,
        values: [
          name, uuidArray(events.map(({ id }) => id)), uuidArray(events.map(({ subject }) => subject)), numberArray([...versions.values()]),
        ],
      });
      const { turn, others } = splitByTurn(
        events, new Set(taken!.handled), asDecided({ early: new Set(taken!.early), late: new Set(taken!.late) }),
      );
      if (turn.length > 0) await apply(turn.sort((a, b) => versions.get(a.id)! - versions.get(b.id)!), tx);
      return [...turn.map(({ id }): Outcome => ({ eventId: id, result: 'ok', ...(committed && { committed }) })), ...others];
    }, 1),
  };
}

function versionOf({ sequence }: OrderEvent): number {
  const version = Number(sequence);
  if (version < 1) throw new EventFormatError('sequence', `must be the version of the order, from 1, not ${sequence}`);
  return version;
}
