import type { EventEnvelope } from '../../shared/events/index.ts';
import { applyInTurn, atVersion, type Refusal } from '../../shared/messaging/gate.ts';
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

const UNFOUNDED: Refusal = { result: 'refused', reason: 'the ledger has no such answer to the order' };

/** The order's version is the gate, and each change is a new one. */
export function decide(
  events: readonly Updated[], { handled, unfounded, orders }: Known, at: Date,
): { outcomes: Outcome[]; changes: Change[] } {
  const changes: Change[] = [];
  const versions = new Map<string, number>();
  const versionOf = ({ subject }: Updated) => versions.get(subject) ?? orders.get(subject)?.version;
  const turn = atVersion(versionOf);
  const founded: typeof turn = { refuse: (event) => (unfounded.has(event.id) ? UNFOUNDED : turn.refuse(event)) };
  const outcomes = applyInTurn(events, handled, founded, (event): Outcome => {
    const order = orders.get(event.subject)!;
    const change = decideAnswer(order, event, at);
    if (!change) return { eventId: event.id, result: 'ignored', reason: `an order that is ${order.status} does not wait for stock that is ${event.data.outcome}` };
    versions.set(order.orderId, order.version + 1);
    changes.push(change);
    return { eventId: event.id, result: 'ok' };
  });
  return { outcomes, changes };
}
