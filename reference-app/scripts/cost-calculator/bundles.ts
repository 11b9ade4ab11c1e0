import { compilePattern, matchesPattern } from 'cdk-local-run/eventbridge/pattern';
import { defaultSettings } from '../../lib/settings.ts';
import { DETAIL_TYPES, type EventType } from '../../services/shared/events/schemas.ts';

/** Bundles of the relay: events of one kind go in one entry of the bus. */
export interface Bundles {
  /** The most that an entry holds, in KB; 0 for an entry per event. */
  readonly bundleKb: number;
  /** The longest time between two moments of sending, in which events gather, in milliseconds. */
  readonly lingerMs: number;
  /** Events that are published per order. */
  readonly events: number;
}

/** The mean of the events of an order with two lines. */
const EVENT_BYTES = 820;
/** The bytes of a request that SQS bills as one. */
const REQUEST_BYTES = 64 * 1024;

/** The events of a sending from which on the relay waits for less, down to half of the longest time (outbox-relay/term.ts). */
const ENOUGH_EVENTS = 25;

/** The most events of an entry. */
function mostEvents({ bundleKb }: Bundles): number {
  return Math.max(1, Math.floor((bundleKb * 1024) / EVENT_BYTES));
}

/**
 * Events in an entry: those of a kind that are there at a moment of sending, when their times are random. Events that are committed
 * together make bundles larger, so there are fewer entries than this says.
 *
 * @param rate orders per second; each order has one event of each kind
 */
export function eventsPerEntry(rate: number, bundles: Bundles): number {
  const { lingerMs, events } = bundles;
  const interval = Math.max(lingerMs / 2, Math.min(lingerMs, (ENOUGH_EVENTS * 1000) / (rate * events)));
  const gathered = (rate * interval) / 1000;
  // A moment without an event sends no entry.
  return Math.min(mostEvents(bundles), gathered > 0 ? gathered / (1 - Math.exp(-gathered)) : 1);
}

/** The rate of orders that needs all of a number of invocations per second. */
export function ordersPerSecondAt(invocations: number, deliveries: number, bundles: Bundles): number {
  let [low, high] = [0, (invocations * mostEvents(bundles)) / deliveries];
  const fits = (rate: number) => (rate * deliveries) / eventsPerEntry(rate, bundles) <= invocations;
  if (fits(high)) return high;
  for (let i = 0; i < 60; i++) {
    const middle = (low + high) / 2;
    if (fits(middle)) low = middle;
    else high = middle;
  }
  return low;
}

/** Requests of SQS per message: the send of EventBridge, and its share of a receive and a delete of several. */
export function requestsPerMessage(events: number, batch: number): number {
  const receive = Math.ceil((batch * events * EVENT_BYTES) / REQUEST_BYTES);
  return 1 + (receive + 1) / batch;
}

/** The events of an order that is confirmed, with the data that rules look at. */
const CONFIRMED: readonly { readonly type: EventType; readonly outcome?: string }[] = [
  { type: 'order.created' },
  { type: 'inventory.validated' },
  { type: 'inventory.updated', outcome: 'RESERVED' },
  { type: 'order.confirmed' },
  { type: 'inventory.updated', outcome: 'DEDUCTED' },
];

/** Events that the reference app publishes for an order, and the queues that they reach, all events together. */
export function messagesOfAnOrder(): { events: number; deliveries: number } {
  const deliveries = CONFIRMED.map(({ type, outcome }) => Object.values(defaultSettings.consumers).filter(({ events }) => {
    if (Array.isArray(events)) return events.includes(type);
    const pattern = compilePattern({ 'detail-type': events.detailType, ...(events.detail && { detail: events.detail }) });
    const data = outcome === undefined ? {} : { outcome };
    return matchesPattern(pattern, { 'detail-type': DETAIL_TYPES[type], 'detail': { data } });
  }).length);
  return { events: CONFIRMED.length, deliveries: deliveries.reduce((sum, count) => sum + count, 0) };
}
