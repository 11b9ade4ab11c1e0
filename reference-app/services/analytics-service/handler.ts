import type { EventEnvelope, InventoryUpdated } from '../shared/events/index.ts';
import { afterPrevious, gateIds, splitByTurn } from '../shared/messaging/gate.ts';
import type { Handler, Outcome } from '../shared/messaging/handler.ts';
import { handledIds } from '../shared/messaging/inbox.ts';
import { numberArray, textArray, uuidArray } from '../shared/sql-arrays.ts';

type Counted = 'order.created' | 'order.confirmed' | 'order.rejected' | 'order.update-requested' | 'order.updated' | 'order.update-rejected'
  | 'order.update-expired' | 'order.cancel-requested' | 'order.cancelled' | 'order.expired' | 'inventory.updated';

const NAME = 'analytics-service';

const ADD = {
  name: 'analytics-add',
  text: `SELECT analytics.add($1, $2::text::uuid[],
           $3::text::timestamptz[], $4::text::text[], $5::text::bigint[], $6::text::bigint[], $7::text::bigint[], $8::text::int[],
           $9::text::timestamptz[], $10::text::int[], $11::text::int[], $12::text::int[], $13::text::int[], $14::text::int[], $15::text::int[],
           $16::text::bigint[], $17::text::bigint[], $18::text::bigint[], $19::text::bigint[], $20::text::float8[], $21::text::float8[])`,
};

/** Counts what happened, by the minute in which it happened, whenever it is heard of. */
export const analyticsHandler: Handler<Counted> = {
  name: NAME,
  types: [
    'order.created', 'order.confirmed', 'order.rejected', 'order.update-requested', 'order.updated', 'order.update-rejected',
    'order.update-expired', 'order.cancel-requested', 'order.cancelled', 'order.expired', 'inventory.updated',
  ],
  async handle(events, pool) {
    const handled = await handledIds(NAME, gateIds(events), pool);
    const { turn, others } = splitByTurn(events, handled, afterPrevious(handled));
    if (turn.length > 0) await pool.query({ ...ADD, values: [NAME, uuidArray(turn.map(({ id }) => id)), ...countsOf(turn)] });
    return [...turn.map(({ id }): Outcome => ({ eventId: id, result: 'ok' })), ...others];
  },
};

interface Minute {
  readonly at: string;
  readonly hour: string;
  accepted: number;
  confirmed: number;
  rejected: number;
  updated: number;
  cancelled: number;
  expired: number;
  unitsAccepted: number;
  unitsConfirmed: number;
  unitsRejected: number;
  unitsDeducted: number;
  secondsSum: number;
  secondsMax: number;
  /** Those of its hour. */
  readonly skus: Map<string, Sku>;
}

interface Sku { readonly hour: string; readonly sku: string; ordered: number; reserved: number; deducted: number; rejections: number }

/** A row for each minute, and the counts of each hour and SKU: the arguments of `analytics.add`. */
function countsOf(events: readonly EventEnvelope<Counted>[]): string[] {
  const minutes = new Map<number, Minute>();
  const hours = new Map<string, Map<string, Sku>>();
  for (const event of events) count(event, minuteOf(minutes, hours, event.time));
  const sorted = [...minutes].sort(([a], [b]) => a - b).map(([, minute]) => minute);
  const skus = [...hours.values()].flatMap((hour) => [...hour.values()]);
  const ofSku = (read: (sku: Sku) => number) => numberArray(skus.map(read));
  const of = (read: (minute: Minute) => number) => numberArray(sorted.map(read));
  return [
    textArray(skus.map(({ hour }) => hour)), textArray(skus.map(({ sku }) => sku)),
    ofSku(({ ordered }) => ordered), ofSku(({ reserved }) => reserved), ofSku(({ deducted }) => deducted),
    ofSku(({ rejections }) => rejections),
    textArray(sorted.map(({ at }) => at)),
    of(({ accepted }) => accepted), of(({ confirmed }) => confirmed), of(({ rejected }) => rejected),
    of(({ updated }) => updated), of(({ cancelled }) => cancelled), of(({ expired }) => expired),
    of(({ unitsAccepted }) => unitsAccepted), of(({ unitsConfirmed }) => unitsConfirmed), of(({ unitsRejected }) => unitsRejected),
    of(({ unitsDeducted }) => unitsDeducted), of(({ secondsSum }) => secondsSum), of(({ secondsMax }) => secondsMax),
  ];
}

function minuteOf(minutes: Map<number, Minute>, hours: Map<string, Map<string, Sku>>, time: string): Minute {
  const start = Math.floor(Date.parse(time) / 60_000);
  let minute = minutes.get(start);
  if (!minute) {
    const at = new Date(start * 60_000).toISOString();
    const hour = `${at.slice(0, 13)}:00:00Z`;
    const skus = hours.get(hour) ?? new Map<string, Sku>();
    hours.set(hour, skus);
    minute = {
      at,
      hour,
      accepted: 0,
      confirmed: 0,
      rejected: 0,
      updated: 0,
      cancelled: 0,
      expired: 0,
      unitsAccepted: 0,
      unitsConfirmed: 0,
      unitsRejected: 0,
      unitsDeducted: 0,
      secondsSum: 0,
      secondsMax: 0,
      skus,
    };
    minutes.set(start, minute);
  }
  return minute;
}

function count(event: EventEnvelope<Counted>, minute: Minute): void {
  switch (event.type) {
    case 'order.created':
      minute.accepted++;
      for (const { sku, quantity } of event.data.items) {
        minute.unitsAccepted += quantity;
        skuOf(minute, sku).ordered += quantity;
      }
      return;
    case 'order.confirmed':
      minute.confirmed++;
      return addSeconds(minute, event.data.createdAt, event.data.confirmedAt);
    case 'order.rejected':
      minute.rejected++;
      return addSeconds(minute, event.data.createdAt, event.data.rejectedAt);
    case 'order.updated':
      minute.updated++;
      return;
    case 'order.cancelled':
      minute.cancelled++;
      return;
    case 'order.expired':
      minute.expired++;
      return;
    case 'order.update-requested':
    case 'order.update-rejected':
    case 'order.update-expired':
    case 'order.cancel-requested':
      return;
    case 'inventory.updated':
      countStock(event.data, minute);
  }
}

/** The decision on stock is the one on the order; only it knows the units. */
function countStock({ outcome, lines, shortages }: InventoryUpdated, minute: Minute): void {
  switch (outcome) {
    case 'RESERVED':
      for (const { sku, quantity } of lines) {
        minute.unitsConfirmed += quantity;
        skuOf(minute, sku).reserved += quantity;
      }
      return;
    case 'DEDUCTED':
      // An update may take of one product and return of another.
      for (const { sku, deltaOnHand } of lines) {
        const quantity = Math.max(0, -deltaOnHand);
        minute.unitsDeducted += quantity;
        skuOf(minute, sku).deducted += quantity;
      }
      return;
    case 'REJECTED':
      for (const { quantity } of lines) minute.unitsRejected += quantity;
      for (const { sku } of shortages) skuOf(minute, sku).rejections++;
      return;
    case 'RELEASED':
    case 'RETURNED':
      // The decision before it was counted, and it did happen.
  }
}

function skuOf({ hour, skus }: Minute, sku: string): Sku {
  let counts = skus.get(sku);
  if (!counts) skus.set(sku, counts = { hour, sku, ordered: 0, reserved: 0, deducted: 0, rejections: 0 });
  return counts;
}

function addSeconds(minute: Minute, from: string | undefined, to: string): void {
  const seconds = from === undefined ? 0 : Math.max(0, Date.parse(to) - Date.parse(from)) / 1000;
  minute.secondsSum += seconds;
  minute.secondsMax = Math.max(minute.secondsMax, seconds);
}
