import { Ledger, type Entry, type Level, type Movement, type Posting, type Step, type Wanted } from './ledger.ts';
import { newId, type EventEnvelope, type InventoryUpdated, type StockLine } from '../shared/events/index.ts';
import { afterVersion, applyInTurn } from '../shared/messaging/gate.ts';
import type { Outcome } from '../shared/messaging/handler.ts';

/** The first two say the same of an order; the one that comes first decides. */
export type Caused = 'inventory.validated' | 'order.created' | 'order.confirmed' | 'order.update-requested' | 'order.updated' | 'order.update-rejected'
  | 'order.update-expired' | 'order.cancel-requested' | 'order.expired';

/** There is no such order, or not in this version; it came to it by another event; it asked for other items than the event says. */
export type Unfounded = 'absent' | 'other-change' | 'other-items';

const WRONG: Readonly<Record<Unfounded, string>> = {
  'absent': 'there is no such order, or not in this version',
  'other-change': 'the order came to this version by another event',
  'other-items': 'the order asked for other items',
};

/** The facts that a decision rests on. */
export interface Known {
  readonly handled: ReadonlySet<string>;
  /** Events that the orders do not support, by their ids, each with the reason. */
  readonly unfounded: ReadonlyMap<string, Unfounded>;
  readonly entries: readonly Entry[];
  /** Locations of a SKU are used up in the order in which they stand here. */
  readonly stock: readonly Level[];
}

/** A new version of a reservation: the version of the order that it answers. */
export interface Change {
  readonly cause: EventEnvelope<Caused>;
  readonly eventId: string;
  readonly version: number;
  readonly movements: readonly Movement[];
  /** The data of the event that publishes it. */
  readonly data: InventoryUpdated;
}

export interface Decision {
  readonly outcomes: Outcome[];
  readonly changes: Change[];
  /** The changes of the counters, in sorted order. */
  readonly stock: readonly Level[];
  /** An order was refused because of what was known about stock. */
  readonly isShort: boolean;
}

/**
 * Decides about the events one after the other, each knowing what those before it took: all lines of an order or none (greedy in the
 * order of arrival is exact; a running sum per SKU would refuse orders that fit). A reservation has a version for each of the order, so its
 * highest says what was applied: the next one is applied, a higher one is parked and a lower one dropped. What no order has said is
 * refused.
 */
export function decide(events: readonly EventEnvelope<Caused>[], known: Known, id: () => string = newId): Decision {
  const ledger = new Ledger(known);
  const changes: Change[] = [];
  const gate = afterVersion<EventEnvelope<Caused>>(({ subject }) => ledger.versionOf(subject));
  const turn: typeof gate = {
    refuse(event) {
      const wrong = known.unfounded.get(event.id);
      // Items may have changed since, if it is not the turn of the event.
      return wrong === undefined || wrong === 'other-items' ? gate.refuse(event) : { result: 'refused', reason: WRONG[wrong] };
    },
  };
  const outcomes = applyInTurn(events, known.handled, turn, (event): Outcome => {
    if (known.unfounded.has(event.id)) return { eventId: event.id, result: 'refused', reason: WRONG[known.unfounded.get(event.id)!] };
    const answer = answerTo(event, ledger, id);
    if ('ignored' in answer) return { eventId: event.id, result: 'ignored', reason: answer.ignored };
    changes.push(answer);
    return { eventId: event.id, result: 'ok' };
  });
  return { outcomes, changes, stock: ledger.changes(), isShort: changes.some(({ data }) => data.outcome === 'REJECTED') };
}

type First = EventEnvelope<'inventory.validated' | 'order.created'>;

/** It is about a new order, of which the ledger knows nothing. */
export function isFirst(event: EventEnvelope<Caused>): event is First {
  return event.type === 'inventory.validated' || event.type === 'order.created';
}

/** The lines of a new order. */
export function linesOf(event: First): readonly Wanted[] {
  return event.type === 'inventory.validated' ? event.data.lines : event.data.items.map(({ sku, quantity }) => ({ sku, requested: quantity }));
}

/** The effect of an order's next event, or why it has none. */
function answerTo(event: EventEnvelope<Caused>, ledger: Ledger, id: () => string): Change | { ignored: string } {
  const { orderId } = event.data;
  if (isFirst(event)) {
    if (ledger.has(orderId)) return { ignored: 'only the first version of an order is decided on like this' };
    const eventId = id();
    const wanted = wantedBy(linesOf(event));
    ledger.open(orderId, eventId, wanted[0]!.sku);
    return reserve(event, ledger, eventId, wanted);
  }
  if (!ledger.has(orderId)) return { ignored: 'an order begins with its creation or the validation of its stock' };
  switch (event.type) {
    case 'order.confirmed': {
      const posting = ledger.deduct(orderId);
      return posting.movements.length > 0 ? change(event, ledger, id(), 'COMMIT', posting) : { ignored: 'nothing is reserved for the order' };
    }
    case 'order.update-requested': {
      const has = ledger.amounts(orderId);
      const onTop = event.data.new.map(({ sku, quantity }) => ({ sku, requested: quantity - (has.get(sku) ?? 0) }))
        .filter(({ requested }) => requested > 0);
      return reserve(event, ledger, id(), wantedBy(onTop));
    }
    case 'order.updated': {
      const deducted = ledger.deduct(orderId);
      const returned = ledger.return(orderId, new Map(event.data.new.map(({ sku, quantity }) => [sku, quantity])));
      const both = { movements: [...deducted.movements, ...returned.movements], lines: [...deducted.lines, ...returned.lines] };
      return change(event, ledger, id(), deducted.movements.length > 0 ? 'COMMIT' : 'RETURN', both);
    }
    case 'order.update-rejected':
    case 'order.update-expired':
      return change(event, ledger, id(), 'RELEASE', ledger.release(orderId));
    case 'order.cancel-requested':
    case 'order.expired': {
      const posting = ledger.clear(orderId);
      return change(event, ledger, id(), posting.movements.some(({ type }) => type === 'RETURN') ? 'RETURN' : 'RELEASE', posting);
    }
  }
}

function reserve(event: EventEnvelope<Caused>, ledger: Ledger, eventId: string, wanted: readonly Wanted[]): Change {
  const answer = ledger.reserve(event.data.orderId, wanted);
  if ('movements' in answer) return change(event, ledger, eventId, 'RESERVE', answer);
  const lines = wanted.map(({ sku, requested }) => ({
    sku, quantity: requested, deltaOnHand: 0, deltaReserved: 0, ...ledger.countersOf(sku),
  }));
  return change(event, ledger, eventId, 'REJECT', { movements: [], lines }, answer);
}

const OUTCOME = { RESERVE: 'RESERVED', REJECT: 'REJECTED', COMMIT: 'DEDUCTED', RELEASE: 'RELEASED', RETURN: 'RETURNED' } as const;

function change(
  cause: EventEnvelope<Caused>, ledger: Ledger, eventId: string, type: Step, { movements: moved, lines }: Posting,
  shortages: readonly StockLine[] = [],
): Change {
  const { orderId } = cause.data;
  const { reservationId, version, movements } = ledger.write(orderId, type, moved, shortages.map(({ sku }) => sku));
  return { cause, eventId, version, movements, data: { orderId, reservationId, outcome: OUTCOME[type], lines, shortages: [...shortages] } };
}

/** Quantities added up per SKU, since two lines that fit one by one may not fit together; in sorted order. */
export function wantedBy(lines: readonly Wanted[]): readonly Wanted[] {
  // As stock-service sends them.
  if (lines.every(({ sku }, i) => i === 0 || lines[i - 1]!.sku < sku)) return lines;
  const wanted = new Map<string, number>();
  for (const { sku, requested } of lines) wanted.set(sku, (wanted.get(sku) ?? 0) + requested);
  return [...wanted].sort(([a], [b]) => (a < b ? -1 : 1)).map(([sku, requested]) => ({ sku, requested }));
}
