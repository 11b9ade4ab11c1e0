import type { EventEnvelope, EventType } from '../events/index.ts';
import type { Outcome } from './handler.ts';

/**
 * The version gate of a consumer that keeps no state of an order: an event of an order names the one before it, and its turn is when
 * that one was handled. `handled` are the ids in the consumer's inbox (events and those before them), `first` is the lowest version that
 * it gets. Other events than the order's have no order among themselves.
 */
export function gate<T extends EventType>(events: readonly EventEnvelope<T>[], handled: ReadonlySet<string>, first = 1): { turn: EventEnvelope<T>[]; others: Outcome[] } {
  const turn: EventEnvelope<T>[] = [];
  const others: Outcome[] = [];
  const passed = new Set<string>();
  const isTurn = ({ previousid, sequence }: EventEnvelope<T>) =>
    previousid === undefined || Number(sequence) <= first || passed.has(previousid) || handled.has(previousid);
  let open = events.filter((event) => {
    if (!handled.has(event.id)) return true;
    others.push({ eventId: event.id, result: 'duplicate' });
    return false;
  });
  // Again as long as one lets another pass.
  for (let before = Infinity; open.length > 0 && open.length < before;) {
    before = open.length;
    open = open.filter((event) => {
      if (!isTurn(event)) return true;
      passed.add(event.id);
      turn.push(event);
      return false;
    });
  }
  for (const { id, sequence } of open) others.push({ eventId: id, result: 'parked', reason: `version ${Number(sequence) - 1} of the order comes first` });
  return { turn, others };
}

/** The ids that the gate has to know of. */
export function gateIds(events: readonly EventEnvelope[], first = 1): string[] {
  return [...new Set([...events.map(({ id }) => id), ...events.flatMap(({ previousid, sequence }) => (previousid === undefined || Number(sequence) <= first ? [] : [previousid]))])];
}
