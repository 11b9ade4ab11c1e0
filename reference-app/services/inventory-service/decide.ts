import { newId, type EventEnvelope, type InventoryLine, type InventoryUpdated, type StockLine } from '../shared/events/index.ts';
import type { Outcome } from '../shared/messaging/handler.ts';

export type Caused = 'inventory.validated' | 'order.confirmed' | 'order.update-requested' | 'order.updated' | 'order.update-rejected' | 'order.cancel-requested' | 'order.expired';
/** What a line of the ledger does. */
export type Step = 'RESERVE' | 'REJECT' | 'COMMIT' | 'RELEASE' | 'RETURN';

/** A line of the ledger about an order. */
export interface Entry {
  readonly orderId: string;
  readonly version: number;
  readonly sku: string;
  /** null: nothing moved. */
  readonly location: string | null;
  readonly onHand: number;
  readonly reserved: number;
  readonly eventId: string;
}

/** The stock of a SKU at a location. */
export interface Level {
  readonly sku: string;
  readonly location: string;
  readonly onHand: number;
  readonly reserved: number;
}

/** What a decision rests on. */
export interface Known {
  readonly handled: ReadonlySet<string>;
  readonly entries: readonly Entry[];
  /** Locations of a SKU are used up in the order in which they stand here. */
  readonly stock: readonly Level[];
}

/** What moves between an order and the stock of one location. */
export interface Movement {
  readonly type: Step;
  readonly sku: string;
  /** null: nothing moves, the version is only written down. */
  readonly location: string | null;
  readonly onHand: number;
  readonly reserved: number;
}

/** A new version of a reservation: the version of the order that it answers. */
export interface Change {
  readonly cause: EventEnvelope<Caused>;
  readonly eventId: string;
  readonly version: number;
  readonly movements: readonly Movement[];
  /** Of the event that says it. */
  readonly data: InventoryUpdated;
}

export interface Decision {
  readonly outcomes: Outcome[];
  readonly changes: Change[];
  /** What becomes of the counters, in sorted order. */
  readonly stock: Omit<Movement, 'type'>[];
  /** An order was refused because of what was known about stock. */
  readonly isShort: boolean;
}

interface Place { readonly sku: string; readonly location: string; free: number; onHand: number; reserved: number }
interface Stock { readonly places: Place[]; onHand: number; reserved: number }
/** What an order has at a place: promised to it, and taken out for it. */
interface Holding { readonly place: Place; held: number; taken: number }
/** `sku` is that of its first line in the ledger. */
interface Reservation { id: string; version: number; sku: string; readonly holdings: Holding[] }
interface Move { readonly type: Step; readonly holding: Holding; readonly quantity: number }

/** What a step does to the counters with each piece. */
const EFFECT = { RESERVE: { onHand: 0, reserved: 1 }, COMMIT: { onHand: -1, reserved: -1 }, RELEASE: { onHand: 0, reserved: -1 }, RETURN: { onHand: 1, reserved: 0 } } as const;
const OUTCOME = { RESERVE: 'RESERVED', REJECT: 'REJECTED', COMMIT: 'DEDUCTED', RELEASE: 'RELEASED', RETURN: 'RETURNED' } as const;

/**
 * Decides about the events one after the other, each knowing what those before it took: all lines of an order or none (greedy in the
 * order of arrival is exact; a running sum per SKU would refuse orders that fit). A reservation has a version for each of the order, so its
 * highest says what was applied: the next one is applied, a higher one is parked and a lower one dropped.
 */
export function decide(events: readonly EventEnvelope<Caused>[], known: Known, id: () => string = newId): Decision {
  const stocks = stocksOf(known.stock);
  const reservations = reservationsOf(known.entries, stocks);
  const outcomes = new Map<EventEnvelope<Caused>, Outcome>();
  const changes: Change[] = [];
  const touched = new Set<Place>();
  let isShort = false;

  /** A version of a reservation: what moves, or, if nothing does, one line that says so. */
  const change = (cause: EventEnvelope<Caused>, reservation: Reservation, eventId: string, type: Step, moves: readonly Move[], lines: readonly InventoryLine[], shortages: readonly StockLine[] = []) => {
    reservation.version++;
    const movements = shortages.length > 0
      ? shortages.map(({ sku }): Movement => ({ type, sku, location: null, onHand: 0, reserved: 0 }))
      : moves.length > 0
        ? moves.map(({ type: own, holding: { place }, quantity }): Movement => {
          const effect = EFFECT[own as keyof typeof EFFECT];
          return { type: own, sku: place.sku, location: place.location, onHand: effect.onHand * quantity, reserved: effect.reserved * quantity };
        })
        : [{ type, sku: reservation.sku, location: null, onHand: 0, reserved: 0 }];
    if (reservation.version === 1) reservation.sku = movements[0]!.sku;
    changes.push({
      cause, eventId, version: reservation.version, movements,
      data: { orderId: cause.data.orderId, reservationId: reservation.id, outcome: OUTCOME[type], lines: [...lines], shortages: [...shortages] },
    });
    outcomes.set(cause, { eventId: cause.id, result: 'ok' });
  };

  /** Moves the pieces; answers the lines that say it, one per SKU. */
  const move = (moves: readonly Move[]): InventoryLine[] => {
    const lines: Mutable<InventoryLine>[] = [];
    for (const { type, holding, quantity } of moves) {
      const { place } = holding;
      const stock = stocks.get(place.sku)!;
      const effect = EFFECT[type as keyof typeof EFFECT];
      const onHand = effect.onHand * quantity;
      const reserved = effect.reserved * quantity;
      holding.held += reserved;
      holding.taken -= onHand;
      place.onHand += onHand;
      place.reserved += reserved;
      place.free += onHand - reserved;
      stock.onHand += onHand;
      stock.reserved += reserved;
      touched.add(place);
      let line = lines.at(-1);
      if (line?.sku !== place.sku) line = lines.find(({ sku }) => sku === place.sku);
      if (!line) {
        line = { sku: place.sku, quantity: 0, deltaOnHand: 0, deltaReserved: 0, onHand: 0, reserved: 0 };
        lines.push(line);
      }
      line.quantity += quantity;
      line.deltaOnHand += onHand;
      line.deltaReserved += reserved;
      line.onHand = stock.onHand;
      line.reserved = stock.reserved;
    }
    return lines;
  };

  /** Promises the order all that is wanted on top of what it has, or nothing. */
  const reserve = (event: EventEnvelope<Caused>, reservation: Reservation, eventId: string, wanted: readonly Wanted[]) => {
    const shortages: StockLine[] = [];
    for (const { sku, requested } of wanted) {
      const stock = stocks.get(sku);
      const available = stock ? stock.onHand - stock.reserved : 0;
      if (available < requested) shortages.push({ sku, requested, available });
    }
    if (shortages.length > 0) {
      isShort = true;
      change(event, reservation, eventId, 'REJECT', [], wanted.map(({ sku, requested }) => {
        const { onHand, reserved } = stocks.get(sku) ?? { onHand: 0, reserved: 0 };
        return { sku, quantity: requested, deltaOnHand: 0, deltaReserved: 0, onHand, reserved };
      }), shortages);
      return;
    }
    const moves: Move[] = [];
    for (const { sku, requested } of wanted) {
      let missing = requested;
      for (const place of stocks.get(sku)!.places) {
        const quantity = Math.min(missing, place.free);
        if (quantity > 0) moves.push({ type: 'RESERVE', holding: holdingAt(reservation, place), quantity });
        missing -= quantity;
        if (missing === 0) break;
      }
    }
    change(event, reservation, eventId, 'RESERVE', moves, move(moves));
  };

  const decideNext = (event: EventEnvelope<Caused>, reservation: Reservation) => {
    switch (event.type) {
      case 'inventory.validated':
        outcomes.set(event, { eventId: event.id, result: 'ignored', reason: 'only the first version of an order is validated' });
        return;
      case 'order.confirmed': {
        const moves = movesOf(reservation, 'COMMIT', ({ held }) => held);
        if (moves.length > 0) change(event, reservation, id(), 'COMMIT', moves, move(moves));
        else outcomes.set(event, { eventId: event.id, result: 'ignored', reason: 'nothing is reserved for the order' });
        return;
      }
      case 'order.update-requested': {
        const has = amounts(reservation);
        const onTop = wantedBy(event.data.new.map(({ sku, quantity }) => ({ sku, requested: quantity - (has.get(sku) ?? 0) })).filter(({ requested }) => requested > 0));
        reserve(event, reservation, id(), onTop);
        return;
      }
      case 'order.updated': {
        const taken = movesOf(reservation, 'COMMIT', ({ held }) => held);
        const lines = move(taken);
        const target = new Map(event.data.new.map(({ sku, quantity }) => [sku, quantity]));
        const surplus = new Map([...amounts(reservation)].map(([sku, quantity]) => [sku, quantity - (target.get(sku) ?? 0)]));
        const returned = movesOf(reservation, 'RETURN', ({ place: { sku }, taken: own }) => {
          const quantity = Math.max(0, Math.min(own, surplus.get(sku)!));
          surplus.set(sku, surplus.get(sku)! - quantity);
          return quantity;
        });
        change(event, reservation, id(), taken.length > 0 ? 'COMMIT' : 'RETURN', [...taken, ...returned], [...lines, ...move(returned)]);
        return;
      }
      case 'order.update-rejected': {
        const moves = movesOf(reservation, 'RELEASE', ({ held }) => held);
        change(event, reservation, id(), 'RELEASE', moves, move(moves));
        return;
      }
      case 'order.cancel-requested':
      case 'order.expired': {
        const moves = reservation.holdings.flatMap((holding): Move[] => [
          ...(holding.held > 0 ? [{ type: 'RELEASE' as const, holding, quantity: holding.held }] : []),
          ...(holding.taken > 0 ? [{ type: 'RETURN' as const, holding, quantity: holding.taken }] : []),
        ]);
        change(event, reservation, id(), moves.some(({ type }) => type === 'RETURN') ? 'RETURN' : 'RELEASE', moves, move(moves));
      }
    }
  };

  /** False if its turn has not come. */
  const decideOne = (event: EventEnvelope<Caused>): boolean => {
    const { orderId } = event.data;
    const reservation = reservations.get(orderId);
    const version = Number(event.sequence);
    const applied = reservation?.version ?? 0;
    if (known.handled.has(event.id)) {
      outcomes.set(event, { eventId: event.id, result: 'duplicate' });
    } else if (version <= applied) {
      // The inbox knows event ids; another event may still say the same of the order, and the first counts.
      outcomes.set(event, { eventId: event.id, result: 'duplicate', reason: `version ${version} of the order was applied before` });
    } else if (version > applied + 1) {
      outcomes.set(event, { eventId: event.id, result: 'parked', reason: `version ${applied + 1} of the order comes first` });
      return false;
    } else if (reservation) {
      decideNext(event, reservation);
    } else if (event.type === 'inventory.validated') {
      const eventId = id();
      const first: Reservation = { id: eventId, version: 0, sku: event.data.lines[0]!.sku, holdings: [] };
      reservations.set(orderId, first);
      reserve(event, first, eventId, wantedBy(event.data.lines));
    } else {
      outcomes.set(event, { eventId: event.id, result: 'ignored', reason: 'an order begins with the validation of its stock' });
    }
    return true;
  };

  // Again as long as one closes the gap that another waits for.
  for (let open = events, before = Infinity; open.length > 0 && open.length < before;) {
    before = open.length;
    open = open.filter((event) => !decideOne(event));
  }
  const stock = [...touched].filter(({ onHand, reserved }) => onHand !== 0 || reserved !== 0).sort(byPlace);
  return { outcomes: events.map((event) => outcomes.get(event)!), changes, stock, isShort };
}

type Wanted = Pick<StockLine, 'sku' | 'requested'>;
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
  for (const { orderId, version, sku, location, onHand, reserved, eventId } of entries) {
    let reservation = reservations.get(orderId);
    if (!reservation) reservations.set(orderId, reservation = { id: eventId, version: 0, sku, holdings: [] });
    if (version === 1) reservation.id = eventId;
    reservation.version = Math.max(reservation.version, version);
    if (location === null) continue;
    const holding = holdingAt(reservation, placeOf(stocks, sku, location));
    holding.held += reserved;
    holding.taken -= onHand;
  }
  return reservations;
}

function holdingAt(reservation: Reservation, place: Place): Holding {
  let holding = reservation.holdings.find((one) => one.place === place);
  if (!holding) reservation.holdings.push(holding = { place, held: 0, taken: 0 });
  return holding;
}

/** What the order has of each SKU, promised or taken. */
function amounts({ holdings }: Reservation): Map<string, number> {
  const has = new Map<string, number>();
  for (const { place: { sku }, held, taken } of holdings) has.set(sku, (has.get(sku) ?? 0) + held + taken);
  return has;
}

function movesOf({ holdings }: Reservation, type: Step, quantityOf: (holding: Holding) => number): Move[] {
  return holdings.map((holding) => ({ type, holding, quantity: quantityOf(holding) })).filter(({ quantity }) => quantity > 0);
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
function wantedBy(lines: readonly Wanted[]): readonly Wanted[] {
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
