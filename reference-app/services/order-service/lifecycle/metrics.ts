import { Counter, Gauge, Histogram } from 'prom-client';
import type { Change, Order } from './decide.ts';
import { STATUSES, type Status } from './transitions.ts';
import { LATENCY_BUCKETS, registry } from '../../shared/telemetry.ts';

const terminal = new Counter({
  name: 'orders_terminal_total', help: 'Orders that reached the end of their profile', labelNames: ['status', 'reason'], registers: [registry],
});
const timeToTerminal = new Histogram({
  name: 'order_time_to_terminal_seconds', help: 'From acceptance to the decision', labelNames: ['status'], buckets: LATENCY_BUCKETS, registers: [registry],
});
const transitions = new Counter({ name: 'order_transitions_total', help: 'Changes of status by the event that says them', labelNames: ['type'], registers: [registry] });
export const ordersOverdue = new Gauge({ name: 'orders_overdue', help: 'Orders past the deadline of their status, not swept yet', labelNames: ['status'], registers: [registry] });

/** Counts a batch of changes once it is committed. */
export function countChanges(changes: readonly Change[], orders: ReadonlyMap<string, Order>, at: Date): void {
  const types = new Map<string, number>();
  const ends = new Map<string, { status: Status; reason: string; count: number }>();
  for (const { orderId, status, reason, event } of changes) {
    types.set(event.type, (types.get(event.type) ?? 0) + 1);
    // A change of a confirmed order and back is no second end.
    if (STATUSES[status] !== 'final' && event.type !== 'order.confirmed') continue;
    // A client's own words would be a label for each.
    const why = status === 'CANCELLED' ? '' : reason ?? '';
    const end = ends.get(`${status} ${why}`);
    if (end) end.count++;
    else ends.set(`${status} ${why}`, { status, reason: why, count: 1 });
    timeToTerminal.observe({ status }, Math.max(0, at.getTime() - orders.get(orderId)!.createdAt.getTime()) / 1000);
  }
  types.forEach((count, type) => transitions.inc({ type }, count));
  ends.forEach(({ status, reason, count }) => terminal.inc({ status, reason }, count));
}
