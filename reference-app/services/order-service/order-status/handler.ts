import { Counter, Histogram } from 'prom-client';
import { newEvent, type EventEnvelope } from '../../shared/events/index.ts';
import type { Handler, Outcome } from '../../shared/messaging/handler.ts';
import { LATENCY_BUCKETS, registry } from '../../shared/telemetry.ts';
import { readStates, settle, type Known, type Order, type Settlement } from './statements.ts';

const terminal = new Counter({
  name: 'orders_terminal_total', help: 'Orders that reached the end of their profile', labelNames: ['status', 'reason'], registers: [registry],
});
const timeToTerminal = new Histogram({
  name: 'order_time_to_terminal_seconds', help: 'From acceptance to the decision', labelNames: ['status'], buckets: LATENCY_BUCKETS, registers: [registry],
});

const NAME = 'order-status';
const REASON = 'INSUFFICIENT_STOCK';

type Updated = EventEnvelope<'inventory.updated'>;

/** InventoryUpdated (reserved or rejected) → the order is confirmed or rejected. Any other outcome is none of its business. */
export const orderStatusHandler: Handler<'inventory.updated'> = {
  name: NAME,
  types: ['inventory.updated'],
  async handle(events, pool) {
    const known = await readStates(pool, NAME, events);
    const at = new Date();
    const { outcomes, settlements, seconds } = decide(events, known, at);
    const done = outcomes.filter(({ result }) => result === 'ok' || result === 'ignored').map(({ eventId }) => eventId);
    await settle(pool, NAME, done, settlements, at);
    // For the whole batch: counting one by one would cost more than deciding.
    return outcomes.map((outcome, i) => (i > 0 ? outcome : { ...outcome, committed: () => count(settlements, seconds) }));
  },
};

/** Only a pending order is settled, by the first event about it; every other state absorbs what comes later. */
function decide(events: readonly Updated[], { handled, orders }: Known, at: Date): { outcomes: Outcome[]; settlements: Settlement[]; seconds: number[] } {
  const settlements: Settlement[] = [];
  const seconds: number[] = [];
  const settled = new Set<string>();
  const outcomes = events.map((event): Outcome => {
    const eventId = event.id;
    const orderId = event.data.orderId.toLowerCase();
    const { outcome } = event.data;
    if (handled.has(eventId.toLowerCase())) return { eventId, result: 'duplicate' };
    if (outcome !== 'RESERVED' && outcome !== 'REJECTED') return { eventId, result: 'ignored', reason: 'only the decision about the reservation settles an order' };
    const order = orders.get(orderId);
    if (!order) return { eventId, result: 'retry', reason: 'the order is not there yet' };
    if (order.status !== 'PENDING') return { eventId, result: 'ignored', reason: `the order is ${order.status}` };
    if (settled.has(orderId)) return { eventId, result: 'ignored', reason: 'another event of the batch settles the order' };
    settled.add(orderId);
    settlements.push(settlement(event, orderId, order, at));
    seconds.push(Math.max(0, at.getTime() - order.createdAt.getTime()) / 1000);
    return { eventId, result: 'ok' };
  });
  return { outcomes, settlements, seconds };
}

function settlement(cause: Updated, orderId: string, { version: before, customerId, createdAt }: Order, at: Date): Settlement {
  const version = before + 1;
  const common = { source: '/order-service', subject: orderId, sequence: version, cause, time: at };
  const data = { orderId, customerId, version, createdAt: createdAt.toISOString() };
  const { shortages } = cause.data;
  return cause.data.outcome === 'RESERVED'
    ? {
      orderId, version: before, causeId: cause.id, status: 'CONFIRMED', reason: null, shortages: null,
      event: newEvent({ ...common, type: 'order.confirmed', data: { ...data, confirmedAt: at.toISOString() } }),
    }
    : {
      orderId, version: before, causeId: cause.id, status: 'REJECTED', reason: REASON, shortages,
      event: newEvent({ ...common, type: 'order.rejected', data: { ...data, reason: REASON, shortages, rejectedAt: at.toISOString() } }),
    };
}

function count(settlements: readonly Settlement[], seconds: readonly number[]): void {
  for (const status of ['CONFIRMED', 'REJECTED'] as const) {
    const times = seconds.filter((_, i) => settlements[i]!.status === status);
    if (times.length === 0) continue;
    terminal.inc({ status, reason: status === 'CONFIRMED' ? '' : REASON }, times.length);
    for (const time of times) timeToTerminal.observe({ status }, time);
  }
}
