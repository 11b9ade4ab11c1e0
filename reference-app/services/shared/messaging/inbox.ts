import type { PoolClient } from 'pg';
import { withTransaction, type Pool } from '../database.ts';
import type { EventEnvelope, EventType } from '../events/index.ts';
import type { Handler, Outcome } from './handler.ts';

const REMEMBER = {
  name: 'inbox-remember',
  // Sorted, so that two transactions with the same events wait for each other instead of deadlocking.
  text: `INSERT INTO messaging.inbox (consumer, event_id) SELECT $1, e FROM unnest($2::uuid[]) AS e ORDER BY e
         ON CONFLICT DO NOTHING RETURNING event_id`,
};
const FORGET = {
  name: 'inbox-forget',
  text: 'DELETE FROM messaging.inbox WHERE consumer = $1 AND event_id = ANY ($2::uuid[])',
};

/**
 * Handles the events in one transaction together with the inbox, so that each takes effect once. The ids are distinct. Events of types
 * that the handler does not want are remembered too: a rule may be wider than its consumer, and nothing it sent may look lost.
 */
export async function handleOnce<T extends EventType, P>(handler: Handler<T, P>, events: readonly EventEnvelope<T>[], pool: Pool): Promise<Outcome[]> {
  const wanted = events.filter(({ type }) => (handler.types as readonly EventType[]).includes(type));
  const prepared = (wanted.length > 0 ? await handler.prepare?.(wanted) : undefined) as P;
  const outcomes = await withTransaction(pool, async (tx: PoolClient) => {
    const { rows } = await tx.query<{ event_id: string }>({ ...REMEMBER, values: [handler.name, events.map(({ id }) => id)] });
    const isNew = new Set(rows.map(({ event_id }) => event_id));
    const fresh = wanted.filter(({ id }) => isNew.has(id.toLowerCase()));
    const handled = fresh.length > 0 ? await handler.handle(fresh, tx, prepared) : [];
    const byId = new Map(handled.map((outcome) => [outcome.eventId, outcome]));
    for (const { id } of fresh) {
      if (!byId.has(id)) throw new Error(`The handler ${handler.name} gave no outcome for the event ${id}.`);
    }
    const again = handled.filter(({ result }) => result === 'retry').map(({ eventId }) => eventId);
    if (again.length > 0) await tx.query({ ...FORGET, values: [handler.name, again] });
    return events.map(({ id }): Outcome => byId.get(id) ?? { eventId: id, result: isNew.has(id.toLowerCase()) ? 'ignored' : 'duplicate' });
  });
  outcomes.forEach((outcome) => outcome.committed?.());
  return outcomes;
}

export type Failure = { readonly event: EventEnvelope; readonly error: unknown };

/**
 * Handles a batch whatever single events do: if its transaction fails, the halves are tried, down to the events that are
 * to blame (log₂ n more transactions for each). `giveUp` says which errors are nobody's fault; they end the search.
 */
export async function handleIsolating<T extends EventType, P>(
  handler: Handler<T, P>, events: readonly EventEnvelope<T>[], pool: Pool, giveUp: (error: unknown) => boolean,
): Promise<{ outcomes: Outcome[]; failures: Failure[] }> {
  try {
    return { outcomes: await handleOnce(handler, events, pool), failures: [] };
  } catch (error) {
    if (giveUp(error)) throw error;
    if (events.length === 1) return { outcomes: [], failures: [{ event: events[0]!, error }] };
    const middle = Math.ceil(events.length / 2);
    // One after the other: the first half may be what the second follows from.
    const first = await handleIsolating(handler, events.slice(0, middle), pool, giveUp);
    const second = await handleIsolating(handler, events.slice(middle), pool, giveUp);
    return { outcomes: [...first.outcomes, ...second.outcomes], failures: [...first.failures, ...second.failures] };
  }
}
