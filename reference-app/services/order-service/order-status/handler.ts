import { Counter, Histogram } from 'prom-client';
import { newEvent, newId, type EventEnvelope } from '../../shared/events/index.ts';
import { transactional } from '../../shared/messaging/inbox.ts';
import type { Handler, Outcome } from '../../shared/messaging/handler.ts';
import { appendToOutbox } from '../../shared/messaging/outbox.ts';
import { LATENCY_BUCKETS, registry } from '../../shared/telemetry.ts';

const terminal = new Counter({
  name: 'orders_terminal_total', help: 'Orders that reached the end of their profile', labelNames: ['status', 'reason'], registers: [registry],
});
const timeToTerminal = new Histogram({
  name: 'order_time_to_terminal_seconds', help: 'From acceptance to the decision', labelNames: ['status'], buckets: LATENCY_BUCKETS, registers: [registry],
});

/** Guarded by the state that the row has under its lock: only a pending order is settled (migrations/002-orders.sql). */
const SETTLE = {
  name: 'orders-settle',
  text: `SELECT order_id, customer_id, from_status, version, created_at, settled_at
         FROM orders.settle($1::uuid[], $2::text[], $3::text[], $4::jsonb[], $5::uuid[], $6::text[])`,
};

const REASON = 'INSUFFICIENT_STOCK';

interface Settled {
  order_id: string;
  customer_id: string;
  from_status: string;
  version: number;
  created_at: Date;
  /** Null when the order was not pending any more. */
  settled_at: Date | null;
}

/** InventoryUpdated (reserved or rejected) → the order is confirmed or rejected. Any other outcome is none of its business. */
export const orderStatusHandler: Handler<'inventory.updated'> = transactional<'inventory.updated'>({
  name: 'order-status',
  types: ['inventory.updated'],
  async handle(events, tx) {
    const outcomes: Outcome[] = [];
    const decisions = new Map<string, { event: EventEnvelope<'inventory.updated'>; confirms: boolean; newEventId: string }>();
    for (const event of events) {
      const orderId = event.data.orderId.toLowerCase();
      if (event.data.outcome === 'DEDUCTED') {
        outcomes.push({ eventId: event.id, result: 'ignored', reason: 'a deduction changes no order' });
      } else if (decisions.has(orderId)) {
        outcomes.push({ eventId: event.id, result: 'ignored', reason: 'the order stands twice in the batch; the first decides' });
      } else {
        decisions.set(orderId, { event, confirms: event.data.outcome === 'RESERVED', newEventId: newId() });
      }
    }
    if (decisions.size === 0) return outcomes;

    const all = [...decisions.values()];
    const { rows } = await tx.query<Settled>({
      ...SETTLE,
      values: [
        [...decisions.keys()],
        all.map(({ confirms }) => (confirms ? 'CONFIRMED' : 'REJECTED')),
        all.map(({ confirms }) => (confirms ? null : REASON)),
        all.map(({ event, confirms }) => (confirms ? null : JSON.stringify(event.data.shortages))),
        all.map(({ newEventId }) => newEventId),
        all.map(({ event }) => event.id),
      ],
    });
    const orders = new Map(rows.map((row) => [row.order_id, row]));
    const answers: EventEnvelope[] = [];
    for (const [orderId, { event, confirms, newEventId }] of decisions) {
      const order = orders.get(orderId);
      if (!order) {
        outcomes.push({ eventId: event.id, result: 'retry', reason: 'the order is not there yet' });
      } else if (!order.settled_at) {
        outcomes.push({ eventId: event.id, result: 'ignored', reason: `the order is ${order.from_status}` });
      } else {
        const status = confirms ? 'CONFIRMED' : 'REJECTED';
        const seconds = Math.max(0, order.settled_at.getTime() - order.created_at.getTime()) / 1000;
        answers.push(answer(event, order, order.settled_at, confirms, newEventId));
        outcomes.push({
          eventId: event.id, result: 'ok',
          committed: () => {
            terminal.inc({ status, reason: confirms ? '' : REASON });
            timeToTerminal.observe({ status }, seconds);
          },
        });
      }
    }
    await appendToOutbox(tx, answers);
    return outcomes;
  },
});

function answer(cause: EventEnvelope<'inventory.updated'>, order: Settled, at: Date, confirms: boolean, id: string): EventEnvelope {
  const common = { id, source: '/order-service', subject: order.order_id, sequence: order.version, cause, time: at };
  const data = { orderId: order.order_id, customerId: order.customer_id, version: order.version, createdAt: order.created_at.toISOString() };
  return confirms
    ? newEvent({ ...common, type: 'order.confirmed', data: { ...data, confirmedAt: at.toISOString() } })
    : newEvent({ ...common, type: 'order.rejected', data: { ...data, reason: REASON, shortages: cause.data.shortages, rejectedAt: at.toISOString() } });
}
