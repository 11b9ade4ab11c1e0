import { Counter } from 'prom-client';
import { decide, type Caused, type Decision, type Known } from './decide.ts';
import { claim, forget, read, readClaimed, write } from './statements.ts';
import { isRetryable } from '../shared/database-errors.ts';
import { withTransaction, type Pool } from '../shared/database.ts';
import type { EventEnvelope } from '../shared/events/index.ts';
import { isOpen, type Handler, type Outcome } from '../shared/messaging/handler.ts';
import { registry } from '../shared/telemetry.ts';

const reservations = new Counter({
  name: 'inventory_reservations_total', help: 'Reservations by result: reserved, rejected, deducted, released, returned', labelNames: ['result'], registers: [registry],
});

const NAME = 'inventory-service';

/**
 * Decides on stock: StockValidated, or OrderCreated itself where the rules send it → reserved or rejected; OrderConfirmed → deducted;
 * OrderUpdateRequested → what is wanted on top is reserved or rejected; OrderUpdated → the difference is deducted or returned; an event
 * that ends the order or an update → released or returned. Each answers InventoryUpdated. Whatever the advice in StockValidated says, the
 * writer decides; it is only a copy of the order's lines here.
 */
export const inventoryHandler: Handler<Caused> = {
  name: NAME,
  types: [
    'inventory.validated', 'order.created', 'order.confirmed', 'order.update-requested', 'order.updated', 'order.update-rejected',
    'order.update-expired', 'order.cancel-requested', 'order.expired',
  ],
  async handle(events, pool) {
    const known = await read(pool, NAME, events);
    const decision = decide(events, known);
    // Nobody is refused for what may have changed meanwhile.
    if (!decision.isShort) {
      try {
        await write(pool, NAME, done(decision, known), decision);
        return counted(decision);
      } catch (error) {
        if (!isOvertaken(error)) throw error;
      }
    }
    const open = events.filter(({ id }) => !known.handled.has(id));
    const before = events.filter(({ id }) => known.handled.has(id));
    return [...await handleExactly(open, pool), ...before.map(({ id }): Outcome => ({ eventId: id, result: 'duplicate' }))];
  },
};

/** Handles events with locks on the stock from before the read until the commit, so that the decision can be written. */
async function handleExactly(events: readonly EventEnvelope<Caused>[], pool: Pool): Promise<Outcome[]> {
  return counted(await withTransaction(pool, async (tx) => {
    const claimed = await claim(tx, NAME, events);
    const handled = new Set(events.map(({ id }) => id).filter((id) => !claimed.has(id)));
    const decision = decide(events, await readClaimed(tx, NAME, events, handled));
    await forget(tx, NAME, decision.outcomes.filter(isOpen).map(({ eventId }) => eventId));
    await write(tx, NAME, [], decision);
    return decision;
  }));
}

/** The ids to be remembered in the inbox. */
function done({ outcomes }: Decision, { handled }: Known): string[] {
  return outcomes.filter((outcome) => !isOpen(outcome) && !handled.has(outcome.eventId)).map(({ eventId }) => eventId);
}

/** Another transaction was first at an event, a reservation or the stock, or they stood in each other's way. */
function isOvertaken(error: unknown): boolean {
  return isRetryable(error) || ['23505', '23514'].includes((error as { code?: string }).code ?? '');
}

/** Counts for the whole batch once it is committed: counting one by one would cost more than deciding. */
function counted({ outcomes, changes }: Decision): Outcome[] {
  const counts = new Map<string, number>();
  for (const { data: { outcome } } of changes) counts.set(outcome, (counts.get(outcome) ?? 0) + 1);
  return outcomes.map((outcome, i) => (i > 0 ? outcome : {
    ...outcome, committed: () => counts.forEach((count, result) => reservations.inc({ result: result.toLowerCase() }, count)),
  }));
}
