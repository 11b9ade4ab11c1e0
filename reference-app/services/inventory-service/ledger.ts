import type { InventoryLine, StockLine } from '../shared/events/index.ts';

/** The kind of a line of the ledger. */
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

/** A movement between an order and the stock of one location. */
export interface Movement {
  readonly type: Step;
  readonly sku: string;
  /** null: nothing moves, the version is only written down. */
  readonly location: string | null;
  readonly onHand: number;
  readonly reserved: number;
}

/** The movements of one operation, and the lines that publish them, one per SKU. */
export interface Posting {
  readonly movements: readonly Movement[];
  readonly lines: InventoryLine[];
}

/** A version of a reservation in the ledger. */
export interface Version {
  readonly reservationId: string;
  readonly version: number;
  readonly movements: readonly Movement[];
}

export type Wanted = Pick<StockLine, 'sku' | 'requested'>;

interface Place { readonly sku: string; readonly location: string; free: number; onHand: number; reserved: number }
interface Stock { readonly places: Place[]; onHand: number; reserved: number }
/** The pieces of an order at a place: promised to it, and taken out for it. */
interface Holding { readonly place: Place; held: number; taken: number }
/** `sku` is that of its first line in the ledger. */
interface Reservation { readonly holdings: Holding[]; id: string; version: number; sku: string }
type Moving = Exclude<Step, 'REJECT'>;
interface Move { readonly type: Moving; readonly holding: Holding; readonly quantity: number }
type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** The effect of a step on the counters, for each piece. */
const EFFECT: Readonly<Record<Moving, { onHand: number; reserved: number }>> = {
  RESERVE: { onHand: 0, reserved: 1 },
  COMMIT: { onHand: -1, reserved: -1 },
  RELEASE: { onHand: 0, reserved: -1 },
  RETURN: { onHand: 1, reserved: 0 },
};

/**
 * Stock and reservations of some orders and SKUs in memory. Whatever is done, in whatever order:
 * - at no place is more reserved than is on hand, nor less than nothing (I3);
 * - the counters are those at the start plus the sum of all movements, and reserved is the sum of what the orders hold (I4);
 * - an order gives back only what it has.
 */
export class Ledger {
  readonly #stocks = new Map<string, Stock>();
  readonly #reservations = new Map<string, Reservation>();
  readonly #touched = new Set<Place>();

  /** Locations of a SKU are used up in the order in which they stand in `stock`. */
  constructor({ stock, entries }: { readonly stock: readonly Level[]; readonly entries: readonly Entry[] }) {
    for (const { sku, location, onHand, reserved } of stock) {
      const own = this.#stockOf(sku);
      own.places.push({ sku, location, free: onHand - reserved, onHand: 0, reserved: 0 });
      own.onHand += onHand;
      own.reserved += reserved;
    }
    for (const { orderId, version, sku, location, onHand, reserved, eventId } of entries) {
      const reservation = this.#reservations.get(orderId) ?? this.open(orderId, eventId, sku);
      if (version === 1) reservation.id = eventId;
      reservation.version = Math.max(reservation.version, version);
      if (location === null) continue;
      const holding = holdingAt(reservation, this.#placeAt(sku, location));
      holding.held += reserved;
      holding.taken -= onHand;
    }
  }

  /** The last version of the order's reservation; 0 if it has none. */
  versionOf(orderId: string): number {
    return this.#reservations.get(orderId)?.version ?? 0;
  }

  has(orderId: string): boolean {
    return this.#reservations.has(orderId);
  }

  /** Begins a reservation. */
  open(orderId: string, id: string, sku: string): Reservation {
    const reservation: Reservation = { id, version: 0, sku, holdings: [] };
    this.#reservations.set(orderId, reservation);
    return reservation;
  }

  /**
   * Promises the order all that is wanted on top of what it has, or nothing: then the answer is what is missing. `wanted` has each SKU
   * once.
   */
  reserve(orderId: string, wanted: readonly Wanted[]): Posting | readonly StockLine[] {
    const shortages: StockLine[] = [];
    for (const { sku, requested } of wanted) {
      const available = this.#available(sku);
      if (available < requested) shortages.push({ sku, requested, available });
    }
    if (shortages.length > 0) return shortages;
    const reservation = this.#reservationOf(orderId);
    const moves: Move[] = [];
    for (const { sku, requested } of wanted) {
      let missing = requested;
      for (const place of this.#stocks.get(sku)!.places) {
        const quantity = Math.min(missing, place.free);
        if (quantity > 0) moves.push({ type: 'RESERVE', holding: holdingAt(reservation, place), quantity });
        missing -= quantity;
        if (missing === 0) break;
      }
    }
    return this.#post(moves);
  }

  /** Takes out what is promised to the order. */
  deduct(orderId: string): Posting {
    return this.#post(movesOf(this.#reservationOf(orderId), 'COMMIT', ({ held }) => held));
  }

  /** Gives back what is promised to the order. */
  release(orderId: string): Posting {
    return this.#post(movesOf(this.#reservationOf(orderId), 'RELEASE', ({ held }) => held));
  }

  /** Puts back what was taken out for the order beyond what it is to have; a SKU that `target` does not name, whole. */
  return(orderId: string, target: ReadonlyMap<string, number>): Posting {
    const surplus = this.amounts(orderId);
    for (const [sku, quantity] of surplus) surplus.set(sku, quantity - (target.get(sku) ?? 0));
    return this.#post(movesOf(this.#reservationOf(orderId), 'RETURN', ({ place: { sku }, taken }) => {
      const quantity = Math.max(0, Math.min(taken, surplus.get(sku)!));
      surplus.set(sku, surplus.get(sku)! - quantity);
      return quantity;
    }));
  }

  /** Gives and puts back all that the order has. */
  clear(orderId: string): Posting {
    return this.#post(this.#reservationOf(orderId).holdings.flatMap((holding) => [
      ...(holding.held > 0 ? [{ type: 'RELEASE' as const, holding, quantity: holding.held }] : []),
      ...(holding.taken > 0 ? [{ type: 'RETURN' as const, holding, quantity: holding.taken }] : []),
    ]));
  }

  /** The order's next version, with what moved; if nothing did, lines for `skus`, or one line, say so. */
  write(orderId: string, type: Step, moved: readonly Movement[], skus: readonly string[] = []): Version {
    const reservation = this.#reservationOf(orderId);
    reservation.version++;
    const nothing = (sku: string): Movement => ({ type, sku, location: null, onHand: 0, reserved: 0 });
    const movements = moved.length > 0 ? moved : (skus.length > 0 ? skus : [reservation.sku]).map(nothing);
    if (reservation.version === 1) reservation.sku = movements[0]!.sku;
    return { reservationId: reservation.id, version: reservation.version, movements };
  }

  /** The pieces of each SKU that the order has, promised or taken. */
  amounts(orderId: string): Map<string, number> {
    const has = new Map<string, number>();
    for (const { place: { sku }, held, taken } of this.#reservationOf(orderId).holdings) has.set(sku, (has.get(sku) ?? 0) + held + taken);
    return has;
  }

  /** The counters of a SKU over all locations. */
  countersOf(sku: string): { onHand: number; reserved: number } {
    const { onHand, reserved } = this.#stocks.get(sku) ?? { onHand: 0, reserved: 0 };
    return { onHand, reserved };
  }

  /** The changes of the counters of each place, in sorted order. */
  changes(): Level[] {
    return [...this.#touched].filter(({ onHand, reserved }) => onHand !== 0 || reserved !== 0).sort(byPlace)
      .map(({ sku, location, onHand, reserved }) => ({ sku, location, onHand, reserved }));
  }

  #post(moves: readonly Move[]): Posting {
    const movements: Movement[] = [];
    const lines: Mutable<InventoryLine>[] = [];
    for (const { type, holding, quantity } of moves) {
      const { place } = holding;
      const stock = this.#stocks.get(place.sku)!;
      const onHand = EFFECT[type].onHand * quantity;
      const reserved = EFFECT[type].reserved * quantity;
      holding.held += reserved;
      holding.taken -= onHand;
      place.onHand += onHand;
      place.reserved += reserved;
      place.free += onHand - reserved;
      stock.onHand += onHand;
      stock.reserved += reserved;
      this.#touched.add(place);
      movements.push({ type, sku: place.sku, location: place.location, onHand, reserved });
      let line = lines.find(({ sku }) => sku === place.sku);
      if (!line) lines.push(line = { sku: place.sku, quantity: 0, deltaOnHand: 0, deltaReserved: 0, onHand: 0, reserved: 0 });
      line.quantity += quantity;
      line.deltaOnHand += onHand;
      line.deltaReserved += reserved;
      line.onHand = stock.onHand;
      line.reserved = stock.reserved;
    }
    return { movements, lines };
  }

  #available(sku: string): number {
    const { onHand, reserved } = this.countersOf(sku);
    return onHand - reserved;
  }

  #reservationOf(orderId: string): Reservation {
    const reservation = this.#reservations.get(orderId);
    if (!reservation) throw new Error(`The order ${orderId} has no reservation.`);
    return reservation;
  }

  #stockOf(sku: string): Stock {
    let stock = this.#stocks.get(sku);
    if (!stock) this.#stocks.set(sku, stock = { places: [], onHand: 0, reserved: 0 });
    return stock;
  }

  /** A place that is reserved but not there any more is made up; writing it fails and says so. */
  #placeAt(sku: string, location: string): Place {
    const { places } = this.#stockOf(sku);
    let place = places.find((one) => one.location === location);
    if (!place) places.push(place = { sku, location, free: 0, onHand: 0, reserved: 0 });
    return place;
  }
}

function holdingAt(reservation: Reservation, place: Place): Holding {
  let holding = reservation.holdings.find((one) => one.place === place);
  if (!holding) reservation.holdings.push(holding = { place, held: 0, taken: 0 });
  return holding;
}

function movesOf({ holdings }: Reservation, type: Moving, quantityOf: (holding: Holding) => number): Move[] {
  return holdings.map((holding) => ({ type, holding, quantity: quantityOf(holding) })).filter(({ quantity }) => quantity > 0);
}

/** The order of COLLATE "C". */
function byPlace(a: Place, b: Place): number {
  if (a.sku !== b.sku) return a.sku < b.sku ? -1 : 1;
  return a.location < b.location ? -1 : 1;
}
