import type { EventEnvelope } from '../../shared/events/index.ts';
import type { Handler, Outcome } from '../../shared/messaging/handler.ts';
import { decideAnswer, type Change } from '../lifecycle/decide.ts';
import { countChanges } from '../lifecycle/metrics.ts';
import { readStates, settle, type Known } from '../lifecycle/statements.ts';

const NAME = 'order-status';

type Updated = EventEnvelope<'inventory.updated'>;

/** InventoryUpdated → what the order waited for: it is confirmed or rejected, updated or not, cancelled. */
export const orderStatusHandler: Handler<'inventory.updated'> = {
  name: NAME,
  types: ['inventory.updated'],
  async handle(events, pool) {
    const known = await readStates(pool, NAME, events);
    const at = new Date();
    const { outcomes, changes } = decide(events, known, at);
    const done = outcomes.filter(({ result }) => result === 'ok' || result === 'ignored').map(({ eventId }) => eventId);
    await settle(pool, NAME, done, changes, at);
    // For the whole batch: counting one by one would cost more than deciding.
    return outcomes.map((outcome, i) => (i > 0 ? outcome : { ...outcome, committed: () => countChanges(changes, known.orders, at) }));
  },
};

/**
 * The order's version is the gate: what answers it is applied, what answers a lower one is late and dropped, and there can be no answer to
 * one that the writer does not have yet.
 */
export function decide(events: readonly Updated[], { handled, orders }: Known, at: Date): { outcomes: Outcome[]; changes: Change[] } {
  const changes: Change[] = [];
  const settled = new Set<string>();
  const outcomes = events.map((event): Outcome => {
    const eventId = event.id;
    const orderId = event.data.orderId;
    if (handled.has(eventId)) return { eventId, result: 'duplicate' };
    const order = orders.get(orderId);
    if (!order) return { eventId, result: 'retry', reason: 'the order is not there yet' };
    const change = settled.has(orderId) ? undefined : decideAnswer(order, event, at);
    if (!change) return { eventId, result: 'ignored', reason: `the order is ${order.status}, version ${order.version}, and does not wait for it` };
    settled.add(orderId);
    changes.push(change);
    return { eventId, result: 'ok' };
  });
  return { outcomes, changes };
}
