import { allowedCommands, transitionOf, type Command, type Status, type Trigger } from './transitions.ts';
import { newEvent, type Cause, type ChangedItem, type EventEnvelope } from '../../shared/events/index.ts';

export type Items = readonly { readonly sku: string; readonly quantity: number }[];

/** The facts that a decision about an order rests on. */
export interface Order {
  readonly orderId: string;
  readonly status: Status;
  readonly version: number;
  readonly customerId: string;
  readonly createdAt: Date;
  /** The event of its version. */
  readonly lastEventId?: string | undefined;
  /** Known where a change needs them. */
  readonly items?: Items;
  readonly requested?: Items;
  readonly reason?: string;
}

/** A step of an order by the table, ready to be written. */
export interface Change {
  readonly orderId: string;
  /** The version of the order before the step. */
  readonly version: number;
  readonly from: Status;
  readonly status: Status;
  /** null: they stay. */
  readonly items: Items | null;
  readonly requested: Items | null;
  readonly reason: string | null;
  readonly shortages: unknown;
  /** The id of the event or the request that it follows from. */
  readonly causeId: string;
  readonly event: EventEnvelope;
}

const SOURCE = '/order-service';
const SHORT = 'INSUFFICIENT_STOCK';
const UPDATE_SHORT = 'UPDATE_REJECTED';

export type CommandRequest =
  | { readonly command: 'update'; readonly items: Items }
  | { readonly command: 'cancel'; readonly reason: string };

export type CommandDecision =
  | { readonly result: 'change'; readonly change: Change }
  /** It is so already. */
  | { readonly result: 'same' }
  | { readonly result: 'illegal'; readonly allowed: readonly Command[] };

/** A client's command: refused if the status does not allow it, else the order is locked until the inventory has answered. */
export function decideCommand(order: Order, request: CommandRequest, cause: Cause, at: Date): CommandDecision {
  if (!transitionOf(order.status, request.command)) return { result: 'illegal', allowed: allowedCommands(order.status) };
  const said = { orderId: order.orderId, customerId: order.customerId, version: order.version + 1, requestedAt: at.toISOString() };
  if (request.command === 'cancel') {
    const { reason } = request;
    return { result: 'change', change: changeOf(order, 'cancel', cause, at, { type: 'order.cancel-requested', data: { ...said, reason } }, { reason }) };
  }
  const old = sorted(order.items!);
  const wanted = sorted(request.items);
  const changed = difference(old, wanted);
  if (changed.length === 0) return { result: 'same' };
  const event = { type: 'order.update-requested', data: { ...said, old, new: wanted, changed } } as const;
  return { result: 'change', change: changeOf(order, 'update', cause, at, event, { requested: wanted }) };
}

/** The triggers by the inventory's outcomes. A deduction, for example, triggers nothing. */
const ANSWERS: Readonly<Partial<Record<EventEnvelope<'inventory.updated'>['data']['outcome'], Trigger>>> = {
  RESERVED: 'reserved', REJECTED: 'rejected', RELEASED: 'released', RETURNED: 'released',
};

/** An answer of the inventory to the present version of the order: undefined if the order does not wait for it. */
export function decideAnswer(order: Order, answer: EventEnvelope<'inventory.updated'>, at: Date): Change | undefined {
  const trigger = ANSWERS[answer.data.outcome];
  if (trigger === undefined || !transitionOf(order.status, trigger)) return undefined;
  const { shortages } = answer.data;
  const time = at.toISOString();
  const said = {
    orderId: order.orderId, customerId: order.customerId, version: order.version + 1, createdAt: order.createdAt.toISOString(),
  };
  const write = (event: Saying, writes?: Partial<Change>) => changeOf(order, trigger, answer, at, event, writes);
  switch (transitionOf(order.status, trigger)!.event) {
    case 'order.confirmed':
      return write({ type: 'order.confirmed', data: { ...said, confirmedAt: time } });
    case 'order.rejected':
      return write({ type: 'order.rejected', data: { ...said, reason: SHORT, shortages, rejectedAt: time } }, { reason: SHORT, shortages });
    case 'order.updated': {
      const old = sorted(order.items!);
      const wanted = sorted(order.requested!);
      return write({ type: 'order.updated', data: { ...said, old, new: wanted, changed: difference(old, wanted), updatedAt: time } }, { items: wanted });
    }
    case 'order.update-rejected':
      return write({ type: 'order.update-rejected', data: { ...said, reason: SHORT, shortages, rejectedAt: time } }, { reason: UPDATE_SHORT, shortages });
    case 'order.cancelled': {
      const reason = order.reason!;
      return write({ type: 'order.cancelled', data: { ...said, reason, cancelledAt: time } }, { reason });
    }
    default:
      return undefined;
  }
}

/**
 * The time of the status is over: undefined if it has no end. An update ends with the items of before. The inventory gives back what it
 * holds for it, also if it comes to the request only later; its answer then is to a former version.
 */
export function decideExpiry(order: Order, at: Date): Change | undefined {
  const { orderId, customerId, status } = order;
  const said = { orderId, customerId, version: order.version + 1, createdAt: order.createdAt.toISOString() };
  const time = at.toISOString();
  const write = (event: Saying) => changeOf(
    order, 'deadline', { id: `deadline of ${status}`, correlationid: orderId }, at, event, { reason: `DEADLINE_OF_${status}` });
  switch (transitionOf(status, 'deadline')?.event) {
    case 'order.expired':
      return write({ type: 'order.expired', data: { ...said, status, expiredAt: time } });
    case 'order.update-expired':
      return write({ type: 'order.update-expired', data: { ...said, expiredAt: time } });
    default:
      return undefined;
  }
}

type Saying = { [T in EventEnvelope['type']]: { readonly type: T; readonly data: EventEnvelope<T>['data'] } }[EventEnvelope['type']];

function changeOf(order: Order, trigger: Trigger, cause: Cause, at: Date, { type, data }: Saying, writes: Partial<Change> = {}): Change {
  const { orderId, version, status, lastEventId } = order;
  return {
    orderId,
    version,
    from: status,
    status: transitionOf(status, trigger)!.to,
    items: null,
    requested: null,
    reason: null,
    shortages: null,
    causeId: cause.id,
    event: newEvent({
      type, source: SOURCE, subject: orderId, sequence: version + 1, previous: lastEventId, cause, time: at, data,
    } as Parameters<typeof newEvent>[0]) as EventEnvelope,
    ...writes,
  };
}

function sorted(items: Items): { sku: string; quantity: number }[] {
  return items.map(({ sku, quantity }) => ({ sku, quantity })).sort((a, b) => (a.sku < b.sku ? -1 : 1));
}

/** The changed items by SKU. The quantity 0 means that the item is not there. */
function difference(old: Items, wanted: Items): ChangedItem[] {
  const from = new Map(old.map(({ sku, quantity }) => [sku, quantity]));
  const to = new Map(wanted.map(({ sku, quantity }) => [sku, quantity]));
  return [...new Set([...from.keys(), ...to.keys()])].sort()
    .map((sku) => ({ sku, from: from.get(sku) ?? 0, to: to.get(sku) ?? 0 }))
    .filter((one) => one.from !== one.to);
}
