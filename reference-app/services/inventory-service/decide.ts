import { newId, type EventEnvelope, type InventoryLine, type InventoryUpdated, type StockLine } from '../shared/events/index.ts';
import type { Outcome } from '../shared/messaging/handler.ts';

export type Caused = 'inventory.validated' | 'order.confirmed' | 'order.cancelled';
/** What a version of a reservation is; the latest is its state. */
export type Step = 'RESERVE' | 'REJECT' | 'COMMIT' | 'RELEASE' | 'RETURN';

/** A line of the ledger about an order. */
export interface Entry {
  readonly orderId: string;
  readonly version: number;
  readonly type: Step;
  readonly sku: string;
  readonly location: string;
  readonly quantity: number;
  readonly eventId: string;
}

/** The stock of a SKU at a location. */
export interface Level {
  readonly sku: string;
  readonly location: string;
  readonly onHand: number;
  readonly reserved: number;
}

/** What a decision rests on. Ids in lower case. */
export interface Known {
  readonly handled: ReadonlySet<string>;
  readonly entries: readonly Entry[];
  /** Locations of a SKU are used up in the order in which they stand here. */
  readonly stock: readonly Level[];
}

/** What moves between an order and the stock of one location. */
export interface Movement {
  readonly sku: string;
  /** null: nowhere, since it was rejected. */
  readonly location: string | null;
  readonly onHand: number;
  readonly reserved: number;
}

/** A new version of a reservation. */
export interface Change {
  readonly cause: EventEnvelope<Caused>;
  readonly eventId: string;
  readonly version: number;
  readonly type: Step;
  readonly movements: readonly Movement[];
  /** Of the event that says it. */
  readonly data: InventoryUpdated;
}

export interface Decision {
  readonly outcomes: Outcome[];
  readonly changes: Change[];
  /** What becomes of the counters, in sorted order. */
  readonly stock: Movement[];
  /** An order was refused because of what was known about stock. */
  readonly isShort: boolean;
}

interface Place { readonly sku: string; readonly location: string; free: number; onHand: number; reserved: number }
interface Stock { readonly places: Place[]; onHand: number; reserved: number }
interface Reservation { id: string; version: number; type: Step; pieces: { readonly place: Place; readonly quantity: number }[] }

/** By event and state: the next step, or that it was taken before. Anything else is not for this reservation any more. */
const NEXT: Record<Exclude<Caused, 'inventory.validated'>, Partial<Record<Step, Step | 'before'>>> = {
  'order.confirmed': { RESERVE: 'COMMIT', COMMIT: 'before' },
  'order.cancelled': { RESERVE: 'RELEASE', COMMIT: 'RETURN', RELEASE: 'before', RETURN: 'before' },
};
/** What a step does to the counters with each piece of the reservation. */
const EFFECT = { RESERVE: { onHand: 0, reserved: 1 }, COMMIT: { onHand: -1, reserved: -1 }, RELEASE: { onHand: 0, reserved: -1 }, RETURN: { onHand: 1, reserved: 0 } };
const OUTCOME = { RESERVE: 'RESERVED', REJECT: 'REJECTED', COMMIT: 'DEDUCTED', RELEASE: 'RELEASED', RETURN: 'RETURNED' } as const;

/**
 * Decides about the events one after the other, each knowing what those before it took: all lines of an order or none (greedy in the
 * order of arrival is exact; a running sum per SKU would refuse orders that fit).
 */
export function decide(events: readonly EventEnvelope<Caused>[], known: Known, id: () => string = newId): Decision {
  const stocks = stocksOf(known.stock);
  const reservations = reservationsOf(known.entries, stocks);
  const outcomes: Outcome[] = [];
  const changes: Change[] = [];
  const touched = new Set<Place>();
  let isShort = false;

  const change = (cause: EventEnvelope<Caused>, orderId: string, reservation: Reservation, eventId: string) => {
    const { version, type, pieces } = reservation;
    const effect = EFFECT[type as keyof typeof EFFECT];
    const movements: Movement[] = [];
    const lines: Mutable<InventoryLine>[] = [];
    for (const { place, quantity } of pieces) {
      const { sku, location } = place;
      const stock = stocks.get(sku)!;
      const onHand = effect.onHand * quantity;
      const reserved = effect.reserved * quantity;
      place.onHand += onHand;
      place.reserved += reserved;
      place.free += onHand - reserved;
      stock.onHand += onHand;
      stock.reserved += reserved;
      touched.add(place);
      movements.push({ sku, location, onHand, reserved });
      // Pieces of a SKU stand one after the other.
      let line = lines.at(-1);
      if (line?.sku !== sku) {
        line = { sku, quantity: 0, deltaOnHand: 0, deltaReserved: 0, onHand: 0, reserved: 0 };
        lines.push(line);
      }
      line.quantity += quantity;
      line.deltaOnHand += onHand;
      line.deltaReserved += reserved;
      line.onHand = stock.onHand;
      line.reserved = stock.reserved;
    }
    changes.push({ cause, eventId, version, type, movements, data: { orderId, reservationId: reservation.id, outcome: OUTCOME[type], lines, shortages: [] } });
    outcomes.push({ eventId: cause.id, result: 'ok' });
  };

  const decideFirst = (event: EventEnvelope<'inventory.validated'>, key: string) => {
    const { orderId } = event.data;
    const wanted = wantedBy(event.data.lines);
    const shortages: StockLine[] = [];
    for (const { sku, requested } of wanted) {
      const stock = stocks.get(sku);
      const available = stock ? stock.onHand - stock.reserved : 0;
      if (available < requested) shortages.push({ sku, requested, available });
    }
    const eventId = id();
    if (shortages.length === 0) {
      const pieces: Reservation['pieces'] = [];
      for (const { sku, requested } of wanted) {
        let missing = requested;
        for (const place of stocks.get(sku)!.places) {
          const quantity = Math.min(missing, place.free);
          if (quantity > 0) pieces.push({ place, quantity });
          missing -= quantity;
          if (missing === 0) break;
        }
      }
      const reservation: Reservation = { id: eventId, version: 1, type: 'RESERVE', pieces };
      reservations.set(key, reservation);
      change(event, orderId, reservation, eventId);
      return;
    }
    isShort = true;
    reservations.set(key, { id: eventId, version: 1, type: 'REJECT', pieces: [] });
    changes.push({
      cause: event, eventId, version: 1, type: 'REJECT',
      movements: shortages.map(({ sku }) => ({ sku, location: null, onHand: 0, reserved: 0 })),
      data: {
        orderId, reservationId: eventId, outcome: 'REJECTED', shortages,
        lines: wanted.map(({ sku, requested }) => {
          const { onHand, reserved } = stocks.get(sku) ?? { onHand: 0, reserved: 0 };
          return { sku, quantity: requested, deltaOnHand: 0, deltaReserved: 0, onHand, reserved };
        }),
      },
    });
    outcomes.push({ eventId: event.id, result: 'ok' });
  };

  for (const event of events) {
    const { orderId } = event.data;
    const key = orderId.toLowerCase();
    const reservation = reservations.get(key);
    if (known.handled.has(event.id.toLowerCase())) {
      outcomes.push({ eventId: event.id, result: 'duplicate' });
    } else if (event.type === 'inventory.validated') {
      // The inbox knows event ids; another event may still be about the same order, and the first counts.
      if (reservation) outcomes.push({ eventId: event.id, result: 'duplicate', reason: 'the order was decided before' });
      else decideFirst(event, key);
    } else if (!reservation) {
      outcomes.push({ eventId: event.id, result: 'retry', reason: 'the reservation of the order is not there yet' });
    } else {
      const next = NEXT[event.type][reservation.type];
      if (next === undefined) {
        outcomes.push({ eventId: event.id, result: 'ignored', reason: `the reservation is ${OUTCOME[reservation.type]}` });
      } else if (next === 'before') {
        outcomes.push({ eventId: event.id, result: 'duplicate', reason: `the reservation was ${OUTCOME[reservation.type]} before` });
      } else {
        reservation.version++;
        reservation.type = next;
        change(event, orderId, reservation, id());
      }
    }
  }
  const stock = [...touched].filter(({ onHand, reserved }) => onHand !== 0 || reserved !== 0).sort(byPlace);
  return { outcomes, changes, stock, isShort };
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

function stocksOf(levels: readonly Level[]): Map<string, Stock> {
  const stocks = new Map<string, Stock>();
  for (const { sku, location, onHand, reserved } of levels) {
    let stock = stocks.get(sku);
    if (!stock) stocks.set(sku, stock = { places: [], onHand: 0, reserved: 0 });
    stock.places.push({ sku, location, free: onHand - reserved, onHand: 0, reserved: 0 });
    stock.onHand += onHand;
    stock.reserved += reserved;
  }
  return stocks;
}

function reservationsOf(entries: readonly Entry[], stocks: Map<string, Stock>): Map<string, Reservation> {
  const reservations = new Map<string, Reservation>();
  for (const { orderId, version, type, sku, location, quantity, eventId } of entries) {
    let reservation = reservations.get(orderId);
    if (!reservation) reservations.set(orderId, reservation = { id: eventId, version: 0, type, pieces: [] });
    if (version === 1) reservation.id = eventId;
    if (version > reservation.version) {
      reservation.version = version;
      reservation.type = type;
      reservation.pieces = [];
    }
    if (version === reservation.version && type !== 'REJECT') reservation.pieces.push({ place: placeOf(stocks, sku, location), quantity });
  }
  return reservations;
}

/** A place that is reserved but not there any more is made up; writing it fails and says so. */
function placeOf(stocks: Map<string, Stock>, sku: string, location: string): Place {
  let stock = stocks.get(sku);
  if (!stock) stocks.set(sku, stock = { places: [], onHand: 0, reserved: 0 });
  let place = stock.places.find((one) => one.location === location);
  if (!place) stock.places.push(place = { sku, location, free: 0, onHand: 0, reserved: 0 });
  return place;
}

/** Quantities added up per SKU, since two lines that fit one by one may not fit together; in sorted order. */
function wantedBy(lines: readonly StockLine[]): readonly { sku: string; requested: number }[] {
  // As stock-service sends them.
  if (lines.every(({ sku }, i) => i === 0 || lines[i - 1]!.sku < sku)) return lines;
  const wanted = new Map<string, number>();
  for (const { sku, requested } of lines) wanted.set(sku, (wanted.get(sku) ?? 0) + requested);
  return [...wanted].sort(([a], [b]) => (a < b ? -1 : 1)).map(([sku, requested]) => ({ sku, requested }));
}

/** As COLLATE "C" sorts them. */
function byPlace(a: Place, b: Place): number {
  if (a.sku !== b.sku) return a.sku < b.sku ? -1 : 1;
  return a.location < b.location ? -1 : 1;
}
