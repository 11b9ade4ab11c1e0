import type { Outcome } from './handler.ts';
import type { EventEnvelope } from '../events/index.ts';

/** The reason why it is not the turn of an event. A parked event is asked about again when others have passed. */
export type Refusal = Pick<Outcome, 'result' | 'reason'>;

/** The way in which a consumer knows whose turn it is. */
export interface Strategy<E extends EventEnvelope> {
  /** Undefined if it is the turn of the event. */
  refuse(event: E): Refusal | undefined;
  /** Hears of each event that passes. */
  passed?(event: E): void;
}

/**
 * The gate of a consumer: each event once, the events of an order in the order of its versions, and no order waits for another. `handled`
 * are the ids in the consumer's inbox. `apply` gets each event in its turn, and what it does may be what the next one waits for. An
 * outcome for each event, in their order.
 */
export function applyInTurn<E extends EventEnvelope>(
  events: readonly E[], handled: ReadonlySet<string>, strategy: Strategy<NoInfer<E>>, apply: (event: E) => Outcome,
): Outcome[] {
  const outcomes = new Map<E, Outcome>();
  const isDone = (event: E): boolean => {
    const refusal = handled.has(event.id) ? DUPLICATE : strategy.refuse(event);
    if (refusal) {
      outcomes.set(event, { eventId: event.id, ...refusal });
      return refusal.result !== 'parked';
    }
    outcomes.set(event, apply(event));
    strategy.passed?.(event);
    return true;
  };
  // Again as long as one lets another pass.
  for (let open = events, before = Infinity; open.length > 0 && open.length < before;) {
    before = open.length;
    open = open.filter((event) => !isDone(event));
  }
  return events.map((event) => outcomes.get(event)!);
}

/** The events whose turn it is, in the order in which they pass, and the outcomes of the others. */
export function splitByTurn<E extends EventEnvelope>(
  events: readonly E[], handled: ReadonlySet<string>, strategy: Strategy<NoInfer<E>>,
): { turn: E[]; others: Outcome[] } {
  const turn: E[] = [];
  const outcomes = applyInTurn(events, handled, strategy, (event) => {
    turn.push(event);
    return { eventId: event.id, result: 'ok' };
  });
  return { turn, others: outcomes.filter(({ result }) => result !== 'ok') };
}

/**
 * For a consumer that keeps no state of an order: an event of an order names the one before it, and its turn is when that one was handled.
 * `handled` are the ids in the inbox, also of the events before these (see `gateIds`); `first` is the lowest version that the consumer
 * gets. Other events than the order's have no order among themselves.
 */
export function afterPrevious(handled: ReadonlySet<string>, first = 1): Strategy<EventEnvelope> {
  const passed = new Set<string>();
  return {
    refuse(event) {
      const isReady = !waitsForAnother(event, first) || passed.has(event.previousid!) || handled.has(event.previousid!);
      return isReady ? undefined : early(event);
    },
    passed: ({ id }) => void passed.add(id),
  };
}

/** The ids that have to be looked up for `afterPrevious`: those of the events and of the events before them. */
export function gateIds(events: readonly EventEnvelope[], first = 1): string[] {
  return [...new Set(events.flatMap((event) => (waitsForAnother(event, first) ? [event.id, event.previousid!] : [event.id])))];
}

function waitsForAnother({ previousid, sequence }: EventEnvelope, first: number): boolean {
  return previousid !== undefined && Number(sequence) > first;
}

/** For a consumer that keeps the version of each order that it has applied; 0 if none. What it applies changes what it answers. */
export function afterVersion<E extends EventEnvelope>(appliedOf: (event: E) => number): Strategy<E> {
  return {
    refuse(event) {
      const applied = appliedOf(event);
      const version = Number(event.sequence);
      if (version <= applied) return late(event);
      return version > applied + 1 ? early(event) : undefined;
    },
  };
}

/** For a consumer whose database keeps the versions, and has decided under its locks; ids of events. */
export function asDecided(
  { early: isEarly, late: isLate }: { early: ReadonlySet<string>; late: ReadonlySet<string> },
): Strategy<EventEnvelope> {
  return {
    refuse(event) {
      if (isLate.has(event.id)) return late(event);
      return isEarly.has(event.id) ? early(event) : undefined;
    },
  };
}

/**
 * The strategy of the owner of the orders, which gives them their versions: an event that answers the present version is applied, one that
 * answers another is of no use any more, and there can be no answer to a version that is still to come. `currentOf` is undefined for an
 * order that is not there yet.
 */
export function atVersion<E extends EventEnvelope>(currentOf: (event: E) => number | undefined): Strategy<E> {
  return {
    refuse(event) {
      const current = currentOf(event);
      if (current === undefined) return { result: 'retry', reason: 'the order is not there yet' };
      if (Number(event.sequence) === current) return undefined;
      return { result: 'ignored', reason: `the order is at version ${current} and waits for no answer to version ${Number(event.sequence)}` };
    },
  };
}

const DUPLICATE: Refusal = { result: 'duplicate' };

function early({ sequence }: EventEnvelope): Refusal {
  return { result: 'parked', reason: `version ${Number(sequence) - 1} of the order comes first` };
}

/** The inbox knows event ids; another event may still say the same of the order, and the first counts. */
function late({ sequence }: EventEnvelope): Refusal {
  return { result: 'duplicate', reason: `version ${Number(sequence)} of the order was applied before` };
}
