import Type, { type Static, type TSchema } from 'typebox';
import { ORDER_STATUSES } from './list-request.ts';
import { TIMELINE_LIMIT, type OrderOf, type OrderRow, type StockRow, type TimelineRow } from './statements.ts';
import { OrderItem, StockLine, Timestamp, Uuid } from '../../shared/events/index.ts';

// The answers of the API; rows stay free to change.

const Status = Type.Enum(ORDER_STATUSES);
const Version = Type.Integer({ minimum: 1, description: 'grows by one with each change of the order' });
const orNull = <T extends TSchema>(schema: T) => Type.Union([schema, Type.Null()]);
const Pieces = Type.Integer({ minimum: 0 });

export const OrderView = Type.Object({
  orderId: Uuid,
  customerId: Type.String(),
  status: Status,
  version: Version,
  items: Type.Array(OrderItem),
  requestedItems: Type.Optional(Type.Array(OrderItem, { description: 'the items that an update asks for, until it is decided' })),
  reason: Type.Optional(Type.String({ description: 'why the order is as it is: why it ended, or why an update did not come about' })),
  shortages: Type.Optional(Type.Array(StockLine, { description: 'what was missing' })),
  createdAt: Timestamp,
  updatedAt: Timestamp,
}, { title: 'Order' });
export type OrderView = Static<typeof OrderView>;

export const OrderPage = Type.Object({
  orders: Type.Array(OrderView),
  next: orNull(Type.String({ description: 'cursor of the next page; null on the last one' })),
}, { title: 'OrderPage' });

export const StockView = Type.Object({
  sku: OrderItem.properties.sku,
  name: Type.String(),
  onHand: Pieces,
  reserved: Pieces,
  available: Pieces,
}, { title: 'Stock', description: 'sums over all locations' });

const Consumer = Type.Optional(Type.String({ description: 'for operators: whose turn it was; `bus` if the event was never published' }));
/** The errors themselves name parts of the system, and nothing that a customer can do. */
const ERROR_FOR_CUSTOMERS = 'The event could not be handled; the operators see why.';

const TimelineEntry = Type.Object({
  at: Timestamp,
  type: Type.Optional(Type.String({ description: 'type of the event' })),
  eventId: Type.Optional(Uuid),
  source: Type.Optional(Type.String({ description: 'the service that says it' })),
  causationId: orNull(Type.String({ description: 'the event, or for the first one the request, that led to this' })),
  status: Type.Optional(Type.Object({ from: orNull(Status), to: Status, version: Version }, {
    description: 'set where the status of the order changed with this event',
  })),
  command: Type.Optional(Type.Enum(['create', 'update', 'cancel'], { description: 'set where a client asked for it; the cause is the id of the request' })),
  parked: Type.Optional(Type.Object({
    consumer: Consumer, version: Version, reason: Type.Optional(orNull(Type.String({ description: 'for operators' }))), appliedAt: orNull(Timestamp),
  }, { description: 'the event came to a consumer before an earlier version of the order; it was applied when that had come, or waits still' })),
  deadLetter: Type.Optional(Type.Object({
    consumer: Consumer, error: Type.String({ description: 'for customers always the same sentence' }), handledAt: orNull(Timestamp),
  }, { description: 'the event is in a dead-letter queue, or was until it was handled' })),
  data: Type.Optional(Type.Record(Type.String(), Type.Unknown(), { description: 'of the event, without the order id' })),
}, { title: 'TimelineEntry' });
type TimelineEntry = Static<typeof TimelineEntry>;

export const TimelineView = Type.Object({
  orderId: Uuid,
  status: Status,
  version: Version,
  entries: Type.Array(TimelineEntry, {
    description: 'one per event, with the command that it records or the status change that it announces, '
      + 'and one for each time that an event was parked or given up',
    maxItems: TIMELINE_LIMIT,
  }),
  complete: Type.Boolean({ description: `false if there are earlier entries, too: an answer has the last ${TIMELINE_LIMIT}` }),
}, { title: 'Timeline' });

export function orderView(row: OrderRow): OrderView {
  return {
    orderId: row.orderId,
    customerId: row.customerId,
    status: row.status,
    version: row.version,
    items: row.items,
    ...(row.requested === null ? {} : { requestedItems: row.requested }),
    ...(row.reason === null ? {} : { reason: row.reason }),
    ...(row.shortages === null ? {} : { shortages: row.shortages as StockLine[] }),
    createdAt: row.createdAt.toISOString(),
    updatedAt: row.updatedAt.toISOString(),
  };
}

export function stockView({ sku, name, onHand, reserved }: StockRow): Static<typeof StockView> {
  return { sku, name, onHand, reserved, available: onHand - reserved };
}

/** Events that record what a client asked for. */
const COMMANDS: Readonly<Record<string, TimelineEntry['command']>> = { 'order.created': 'create', 'order.update-requested': 'update', 'order.cancel-requested': 'cancel' };

/**
 * One entry per event, with the status change that it announces; a change whose event is no longer kept stands alone. The names of the
 * parts that did not get on, and their errors, are for operators.
 */
export function timelineView({ orderId, customerId }: OrderOf, row: TimelineRow): Static<typeof TimelineView> {
  const isOperator = customerId === undefined;
  const open = new Map(row.changes.map((change) => [change.eventId ?? `version ${change.version}`, change]));
  const entries: TimelineEntry[] = row.events.map((event) => {
    const change = open.get(event.id);
    open.delete(event.id);
    const { orderId: _same, ...data } = event.data;
    const command = COMMANDS[event.type];
    return {
      at: event.time,
      type: event.type,
      eventId: event.id,
      source: event.source,
      causationId: event.causationid,
      ...(change ? { status: { from: change.from, to: change.to, version: change.version } } : {}),
      ...(command ? { command } : {}),
      data,
    };
  });
  const time = (at: string) => new Date(at).toISOString();
  const others: TimelineEntry[] = [
    ...[...open.values()].map(({ at, causeId, from, to, version }) => ({
      at: time(at), causationId: causeId, status: { from, to, version },
    })),
    ...row.parked.map(({ at, type, eventId, consumer, version, reason, appliedAt }) => ({
      at: time(at),
      type,
      eventId,
      causationId: eventId,
      parked: { ...(isOperator && { consumer, reason }), version, appliedAt: appliedAt && time(appliedAt) },
    })),
    ...row.deadLetters.map(({ at, type, eventId, consumer, error, handledAt }) => ({
      at: time(at),
      type,
      eventId,
      causationId: eventId,
      deadLetter: {
        ...(isOperator && { consumer }), error: isOperator ? error : ERROR_FOR_CUSTOMERS, handledAt: handledAt && time(handledAt),
      },
    })),
  ];
  if (others.length > 0) {
    entries.push(...others);
    entries.sort((a, b) => Date.parse(a.at) - Date.parse(b.at));
  }
  const last = entries.slice(-TIMELINE_LIMIT);
  return { orderId, status: row.status, version: row.version, entries: last, complete: last.length === entries.length };
}

/** The same answer for clients that speak snake_case; what we call a SKU they call a product id. */
export function toSnake(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(toSnake);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [snakeName(key), toSnake(inner)]));
}

function snakeName(name: string): string {
  return name === 'sku' ? 'product_id' : name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/** The schema of what `toSnake` makes of a value of a schema. */
export function snakeSchema(schema: TSchema): TSchema {
  const named = (node: unknown): unknown => {
    if (Array.isArray(node)) return node.map(named);
    if (typeof node !== 'object' || node === null) return node;
    const { title, properties, required, ...rest } = node as { title?: string; properties?: object; required?: string[] };
    return {
      ...(title === undefined ? {} : { title: `${title}Snake` }),
      ...Object.fromEntries(Object.entries(rest).map(([key, inner]) => [key, named(inner)])),
      ...(required === undefined ? {} : { required: required.map(snakeName) }),
      ...(properties === undefined ? {} : {
        properties: Object.fromEntries(Object.entries(properties).map(([key, inner]) => [snakeName(key), named(inner)])),
      }),
    };
  };
  return named(schema) as TSchema;
}
