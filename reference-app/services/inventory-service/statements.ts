import { isFirst, linesOf, wantedBy, type Caused, type Decision, type Known, type Unfounded } from './decide.ts';
import type { Entry, Level } from './ledger.ts';
import type { Queryable } from '../shared/database.ts';
import { newEvent, type EventEnvelope } from '../shared/events/index.ts';
import { arrayOf, lines, numberArray, textArray, uuidArray } from '../shared/sql-arrays.ts';

// Each is one call of a function, which stands in the file of its name beside this one: inventory.read.sql.

const READ = {
  name: 'inventory-read',
  text: `SELECT handled::text, entry_order_id::text, entry_version::text, entry_sku::text, entry_location::text, entry_on_hand::text, entry_reserved::text,
           entry_event_id::text, stock_sku::text, stock_location::text, stock_on_hand::text, stock_reserved::text,
           unfounded.events::text AS unfounded, unfounded.causes::text AS causes
         FROM inventory.read($1, $2::text::uuid[], $3::text::uuid[], $4::text::text[]),
           orders.unfounded($5::text::uuid[], $6::text::bigint[], $7::text::uuid[], $8::text::text[], $9) AS unfounded`,
};
const CLAIM = {
  name: 'inventory-claim',
  text: 'SELECT inventory.claim($1, $2::text::uuid[], $3::text::uuid[], $4::text::text[])::text AS claimed',
};
const FORGET = {
  name: 'inventory-forget',
  text: 'DELETE FROM messaging.inbox WHERE consumer = $1 AND event_id = ANY ($2::text::uuid[])',
};
const WRITE = {
  name: 'inventory-write',
  text: `SELECT inventory.write($1, $2::text::uuid[], $3::text::uuid[], $4, $5::text::int[], $6,
           $7::text::int[], $8::text::int[], $9::text::text[], $10::text::text[], $11::text::text[], $12::text::int[], $13::text::int[],
           $14::text::text[], $15::text::text[], $16::text::int[], $17::text::int[])`,
};

/** The location of a line that moves nothing. No real location has this name. */
const NOWHERE = '-';

type Column = `entry_${'order_id' | 'version' | 'sku' | 'location' | 'on_hand' | 'reserved' | 'event_id'}`
  | `stock_${'sku' | 'location' | 'on_hand' | 'reserved'}`;
type Row = Record<Column | 'unfounded' | 'causes', string | null> & { handled: string };
type Events = readonly EventEnvelope<Caused>[];

/** The facts for a first try. The key of the ledger shows whether an order was decided before, by another event. */
export async function read(database: Queryable, consumer: string, events: Events): Promise<Known> {
  const known = events.filter((event) => !isFirst(event));
  return ask(database, events, [consumer, uuidArray(events.map(({ id }) => id)), orderIds(known), skus(events)]);
}

/** All facts except the inbox, which is known from `claim`. */
export async function readClaimed(tx: Queryable, consumer: string, events: Events, handled: ReadonlySet<string>): Promise<Known> {
  return { ...await ask(tx, events, [consumer, '{}', orderIds(events), skus(events)]), handled };
}

async function ask(
  database: Queryable, events: Events, values: [consumer: string, eventIds: string, orderIds: string, skus: string],
): Promise<Known> {
  const { rows: [row] } = await database.query<Row>({ ...READ, values: [...values, ...foundations(events)] });
  const causes = arrayOf(row!.causes) as Unfounded[];
  const {
    handled, entry_order_id, entry_version, entry_sku, entry_location, entry_on_hand, entry_reserved, entry_event_id, stock_sku,
    stock_location, stock_on_hand, stock_reserved,
  } = row!;
  const [version, sku, location, movedOnHand, movedReserved, eventId] = [
    entry_version, entry_sku, entry_location, entry_on_hand, entry_reserved, entry_event_id,
  ].map(arrayOf) as Columns<6>;
  const [place, onHand, reserved] = [stock_location, stock_on_hand, stock_reserved].map(arrayOf) as Columns<3>;
  return {
    handled: new Set(arrayOf(handled)),
    unfounded: new Map(arrayOf(row!.unfounded).map((event, i) => [events[Number(event) - 1]!.id, causes[i]!])),
    entries: arrayOf(entry_order_id).map((orderId, i): Entry => ({
      orderId,
      version: Number(version[i]),
      sku: sku[i]!,
      location: location[i] === NOWHERE ? null : location[i]!,
      onHand: Number(movedOnHand[i]),
      reserved: Number(movedReserved[i]),
      eventId: eventId[i]!,
    })),
    stock: arrayOf(stock_sku).map((one, i): Level => ({
      sku: one, location: place[i]!, onHand: Number(onHand[i]), reserved: Number(reserved[i]),
    })),
  };
}

/** The status that an order gets with the event, or has while the advice about it is under way. */
const STATUS: Readonly<Record<Caused, string>> = {
  'inventory.validated': 'PENDING',
  'order.created': 'PENDING',
  'order.confirmed': 'CONFIRMED',
  'order.update-requested': 'UPDATE_PENDING',
  'order.updated': 'CONFIRMED',
  'order.update-rejected': 'CONFIRMED',
  'order.update-expired': 'CONFIRMED',
  'order.cancel-requested': 'CANCEL_PENDING',
  'order.expired': 'EXPIRED',
};

/** The facts that must be in the orders for these events to count, as the values of orders.unfounded. */
function foundations(events: Events): [string, string, string, string, string] {
  return [
    orderIds(events),
    numberArray(events.map(({ sequence }) => Math.min(Number(sequence), Number.MAX_SAFE_INTEGER))),
    uuidArray(events.map(({ id, type }) => (type === 'inventory.validated' ? 'NULL' : id))),
    textArray(events.map(({ type }) => STATUS[type])),
    lines(events.map(itemsOf)),
  ];
}

/** The items that the order has by the event, as the order keeps them; empty if the event names none. */
function itemsOf(event: EventEnvelope<Caused>): string {
  if (isFirst(event)) return JSON.stringify(wantedBy(linesOf(event)).map(({ sku, requested }) => ({ sku, quantity: requested })));
  if (event.type !== 'order.update-requested' && event.type !== 'order.updated') return '';
  const items = [...event.data.new].sort((a, b) => (a.sku < b.sku ? -1 : 1));
  return JSON.stringify(items.map(({ sku, quantity }) => ({ sku, quantity })));
}

type Columns<N extends number, A extends string[][] = []> = A['length'] extends N ? A : Columns<N, [...A, string[]]>;

/** Remembers the events and locks what their decisions may change; returns the ids that were not known before. */
export async function claim(tx: Queryable, consumer: string, events: Events): Promise<Set<string>> {
  const { rows: [row] } = await tx.query<{ claimed: string }>({
    ...CLAIM, values: [consumer, uuidArray(events.map(({ id }) => id)), orderIds(events), skus(events)],
  });
  return new Set(arrayOf(row!.claimed));
}

export async function forget(tx: Queryable, consumer: string, eventIds: readonly string[]): Promise<void> {
  if (eventIds.length > 0) await tx.query({ ...FORGET, values: [consumer, uuidArray(eventIds)] });
}

/** `handled` are the ids to be remembered. */
export async function write(
  database: Queryable, consumer: string, handled: readonly string[], { changes, stock }: Decision,
): Promise<void> {
  if (handled.length === 0 && changes.length === 0) return;
  const movements = changes.flatMap((change) => change.movements);
  const entryEvents: number[] = [];
  const entryLines: number[] = [];
  const entryTypes: string[] = [];
  changes.forEach(({ movements: own }, i) => own.forEach(({ type }, line) => {
    entryEvents.push(i + 1);
    entryLines.push(line + 1);
    entryTypes.push(type);
  }));
  await database.query({
    ...WRITE,
    values: [
      consumer, uuidArray(handled),
      uuidArray(changes.map(({ eventId }) => eventId)), uuidArray(changes.map(({ data }) => data.orderId)),
      numberArray(changes.map(({ version }) => version)),
      lines(changes.map(({ cause, eventId, version, data }) => JSON.stringify(newEvent({
        id: eventId, type: 'inventory.updated', source: '/inventory-service', subject: data.orderId, sequence: version, cause, data,
      })))),
      numberArray(entryEvents), numberArray(entryLines), textArray(entryTypes),
      textArray(movements.map(({ sku }) => sku)), textArray(movements.map(({ location }) => location)),
      numberArray(movements.map(({ onHand }) => onHand)), numberArray(movements.map(({ reserved }) => reserved)),
      textArray(stock.map(({ sku }) => sku)), textArray(stock.map(({ location }) => location)),
      numberArray(stock.map(({ onHand }) => onHand)), numberArray(stock.map(({ reserved }) => reserved)),
    ],
  });
}

function orderIds(events: Events): string {
  return uuidArray(events.map(({ data }) => data.orderId));
}

function skus(events: Events): string {
  const all = new Set<string>();
  for (const event of events) {
    if (isFirst(event)) for (const { sku } of linesOf(event)) all.add(sku);
    else if (event.type === 'order.update-requested') for (const { sku } of event.data.new) all.add(sku);
  }
  return textArray([...all]);
}
