import Type, { type Static } from 'typebox';
import Format from 'typebox/format';

// The one place that says what an event may hold, and so also a request field of the same name.
// Objects are open: a field added within a major version must not stop an older consumer.

/** Any RFC 9562 version: our own ids are version 7, a team's own order ids may not be. */
export const Uuid = Type.String({ format: 'uuid', description: 'UUID' });
/**
 * RFC 3339 and not the suffixes of RFC 9557, which PostgreSQL can't read; the pattern saves nearly all of the time of the thorough check,
 * which is left with 29 February and offsets.
 */
const PLAIN_DATE = /(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])|(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31/;
const PLAIN_TIME = new RegExp(String.raw`^\d{4}-(?:${PLAIN_DATE.source})T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,9})?Z$`);
Format.Set('date-time', (value) => PLAIN_TIME.test(value) || (!value.includes('[') && Format.IsDateTime(value)));
export const Timestamp = Type.String({ format: 'date-time', description: 'RFC 3339 time' });
export const Sku = Type.String({ pattern: '^[A-Za-z0-9._-]{1,64}$', description: 'stock keeping unit', examples: ['SKU-123', 'SKU-124'] });
/** No control characters: PostgreSQL text can't hold U+0000 and logs should not hold the others. */
const CustomerId = Type.String({ minLength: 1, maxLength: 64, pattern: '^[^\\u0000-\\u001f\\u007f]*$', description: 'customer id', examples: ['cust-42'] });
const Quantity = Type.Integer({ minimum: 1, maximum: 10_000, description: 'pieces' });
export const OrderItem = Type.Object({ sku: Sku, quantity: Quantity });
export type OrderItem = Static<typeof OrderItem>;
export const MAX_ITEMS = 100;
const Items = Type.Array(OrderItem, { minItems: 1, maxItems: MAX_ITEMS });

const Count = Type.Integer({ minimum: 0, maximum: 2_147_483_647 });
const Delta = Type.Integer({ minimum: -2_147_483_647, maximum: 2_147_483_647 });
const lines = <T extends Type.TSchema>(line: T) => Type.Array(line, { maxItems: MAX_ITEMS });

export const StockLine = Type.Object({ sku: Sku, requested: Type.Integer({ minimum: 1, maximum: 1_000_000 }), available: Count });
export type StockLine = Static<typeof StockLine>;

export const OrderCreated = Type.Object({
  orderId: Uuid,
  customerId: CustomerId,
  items: Items,
  createdAt: Timestamp,
}, { description: 'An order was taken in.' });
export type OrderCreated = Static<typeof OrderCreated>;

export const StockValidated = Type.Object({
  orderId: Uuid,
  lines: Type.Array(StockLine, { minItems: 1, maxItems: MAX_ITEMS }),
  sufficient: Type.Boolean(),
  asOf: Timestamp,
}, { description: 'The stock that there seems to be for an order. It is advice, read from a replica: `sufficient` never decides.' });
export type StockValidated = Static<typeof StockValidated>;

export const InventoryLine = Type.Object({
  sku: Sku,
  quantity: Type.Integer({ minimum: 1, maximum: 1_000_000 }),
  deltaOnHand: Delta,
  deltaReserved: Delta,
  onHand: Count,
  reserved: Count,
});
export type InventoryLine = Static<typeof InventoryLine>;

export const InventoryUpdated = Type.Object({
  orderId: Uuid,
  reservationId: Uuid,
  outcome: Type.Enum(['RESERVED', 'REJECTED', 'DEDUCTED', 'RELEASED', 'RETURNED']),
  lines: lines(InventoryLine),
  shortages: lines(StockLine),
}, {
  description: 'The effect of a decision on the stock of an order. `lines` holds the movements: every line of a new order (deltas are zero when REJECTED), the '
    + 'differences of an update. Counts are sums over all locations, as the deciding transaction knew and changed them; where stock was not scarce, others may '
    + 'have changed it meanwhile. The sequence of the event is the version of the order that it answers.',
});
export type InventoryUpdated = Static<typeof InventoryUpdated>;

/** The first fields of every event of a change. */
const CHANGE = { orderId: Uuid, customerId: CustomerId, version: Type.Integer({ minimum: 1 }) };
const SHORT_OF_STOCK = { reason: Type.Enum(['INSUFFICIENT_STOCK']), shortages: lines(StockLine), rejectedAt: Timestamp, createdAt: Type.Optional(Timestamp) };
const Reason = Type.String({ minLength: 1, maxLength: 200 });

export const OrderConfirmed = Type.Object({
  ...CHANGE,
  confirmedAt: Timestamp,
  createdAt: Type.Optional(Timestamp),
}, { description: 'The stock of the order is reserved; it will be delivered.' });
export type OrderConfirmed = Static<typeof OrderConfirmed>;

export const OrderRejected = Type.Object({
  ...CHANGE,
  ...SHORT_OF_STOCK,
}, { description: 'The order cannot be fulfilled.' });
export type OrderRejected = Static<typeof OrderRejected>;

export const OrderCancelled = Type.Object({
  ...CHANGE,
  reason: Reason,
  cancelledAt: Timestamp,
  createdAt: Type.Optional(Timestamp),
}, { description: 'The order was cancelled; it holds no stock any more.' });
export type OrderCancelled = Static<typeof OrderCancelled>;

const Pieces = Type.Integer({ minimum: 0, maximum: 10_000, description: 'pieces; 0 if the order does not have the SKU' });
const ChangedItem = Type.Object({ sku: Sku, from: Pieces, to: Pieces });
export type ChangedItem = Static<typeof ChangedItem>;
const ITEMS_CHANGED = { old: Items, new: Items, changed: Type.Array(ChangedItem, { minItems: 1, maxItems: MAX_ITEMS }) };

export const OrderUpdateRequested = Type.Object({
  ...CHANGE,
  ...ITEMS_CHANGED,
  requestedAt: Timestamp,
}, { description: 'Other items are asked for. The order is locked until the inventory has answered.' });
export type OrderUpdateRequested = Static<typeof OrderUpdateRequested>;

export const OrderUpdated = Type.Object({
  ...CHANGE,
  ...ITEMS_CHANGED,
  updatedAt: Timestamp,
  createdAt: Type.Optional(Timestamp),
}, { description: 'The order has the items that were asked for; the additional stock is reserved.' });
export type OrderUpdated = Static<typeof OrderUpdated>;

export const OrderUpdateRejected = Type.Object({
  ...CHANGE,
  ...SHORT_OF_STOCK,
}, { description: 'The order stays as it was before it was asked to change.' });
export type OrderUpdateRejected = Static<typeof OrderUpdateRejected>;

export const OrderUpdateExpired = Type.Object({
  ...CHANGE,
  expiredAt: Timestamp,
  createdAt: Type.Optional(Timestamp),
}, { description: 'Nobody answered the request for other items in time; the order stays as it was before. What is held for the request is to be released.' });
export type OrderUpdateExpired = Static<typeof OrderUpdateExpired>;

export const OrderCancelRequested = Type.Object({
  ...CHANGE,
  reason: Reason,
  requestedAt: Timestamp,
}, { description: 'The order shall be cancelled. It is locked until the inventory has given its stock back.' });
export type OrderCancelRequested = Static<typeof OrderCancelRequested>;

export const OrderExpired = Type.Object({
  ...CHANGE,
  status: Type.String({ minLength: 1, maxLength: 32, description: 'the status of the order until then' }),
  expiredAt: Timestamp,
  createdAt: Type.Optional(Timestamp),
}, { description: 'The order waited too long for an answer; its stock is to be released.' });
export type OrderExpired = Static<typeof OrderExpired>;

/** The data of every event of the stock-only and the fan-out profile, by its CloudEvents type. */
export const EVENT_DATA = {
  'order.created': OrderCreated,
  'inventory.validated': StockValidated,
  'inventory.updated': InventoryUpdated,
  'order.confirmed': OrderConfirmed,
  'order.rejected': OrderRejected,
  'order.cancelled': OrderCancelled,
  'order.update-requested': OrderUpdateRequested,
  'order.updated': OrderUpdated,
  'order.update-rejected': OrderUpdateRejected,
  'order.update-expired': OrderUpdateExpired,
  'order.cancel-requested': OrderCancelRequested,
  'order.expired': OrderExpired,
} as const;
export type EventType = keyof typeof EVENT_DATA;
export type EventData<T extends EventType> = Static<(typeof EVENT_DATA)[T]>;

/**
 * CloudEvents type → EventBridge detail-type, which is the same words in another case. The validation of stock breaks the rule: the type
 * names the aggregate, the detail-type its part; both are in published contracts, so both stay.
 */
export const DETAIL_TYPES = {
  'order.created': 'OrderCreated',
  'inventory.validated': 'StockValidated',
  'inventory.updated': 'InventoryUpdated',
  'order.confirmed': 'OrderConfirmed',
  'order.rejected': 'OrderRejected',
  'order.cancelled': 'OrderCancelled',
  'order.update-requested': 'OrderUpdateRequested',
  'order.updated': 'OrderUpdated',
  'order.update-rejected': 'OrderUpdateRejected',
  'order.update-expired': 'OrderUpdateExpired',
  'order.cancel-requested': 'OrderCancelRequested',
  'order.expired': 'OrderExpired',
} as const satisfies Record<EventType, string>;
export type DetailType = (typeof DETAIL_TYPES)[EventType];
