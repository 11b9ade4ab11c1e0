import { isRetryable } from '../database-errors.ts';
import type { Pool } from '../database.ts';
import type { EventEnvelope, EventType } from '../events/index.ts';
import { uuidArray } from '../sql-arrays.ts';
import type { Handler, Outcome } from './handler.ts';
import { publishParameters, publishValues } from './outbox.ts';
import { applyOverdue, applyWaiting, park } from './parking.ts';

const HANDLED = { name: 'inbox-handled', text: 'SELECT messaging.handled($1, $2::text::uuid[]) AS handled' };
const REMEMBER = { name: 'inbox-remember', text: 'SELECT messaging.remember($1, $2::text::uuid[])' };
const ANSWER = { name: 'inbox-answer', text: `SELECT messaging.remember($1, $2::text::uuid[]), messaging.publish(${publishParameters(3)})` };
const UNREMEMBERED = { name: 'inbox-unremembered', text: 'SELECT messaging.unremembered($1, $2::text::uuid[]) AS forgotten' };
/** The inbox remembers longer than this. */
const YOUNG_MS = 3_600_000;
const ATTEMPTS = 4;

/**
 * Lets the handler handle the events, each with effect once, and after them the events that waited for them. Events of other types
 * are remembered too: a rule may be wider than its consumer, and nothing it sent may look lost.
 */
export async function handleOnce<T extends EventType>(
  handler: Handler<T>, events: readonly EventEnvelope<T>[], pool: Pool,
): Promise<Outcome[]> {
  const wanted: EventEnvelope<T>[] = [];
  const others: EventEnvelope<T>[] = [];
  for (const event of events) ((handler.types as readonly EventType[]).includes(event.type) ? wanted : others).push(event);
  const known = wanted.length > 0 ? await handleWanted(handler, wanted, pool) : [];
  if (others.length > 0) known.push(...await again(() => ignore(handler.name, others, pool)));
  const outcomes = await tellForgotten(handler.name, known, pool);
  await park(handler, wanted, outcomes, pool);
  outcomes.forEach((outcome) => outcome.committed?.());
  try {
    await applyWaiting(handler, wanted, outcomes, (waiting) => handleWanted(handler, waiting, pool), pool);
  } catch {
    // The batch is done with. What waits goes on waiting; the poll tries it again and says why it can't.
  }
  return outcomes;
}

/** Tries the parked events that are due, with 0 seconds all of them; see `applyOverdue`. */
export async function handleOverdue<T extends EventType>(
  handler: Handler<T>, firstSeconds: number, pool: Pool, failed: (event: EventEnvelope, error: unknown) => void, giveUpSeconds = Infinity,
): Promise<void> {
  await applyOverdue(handler, (waiting) => handleWanted(handler, waiting, pool), { firstSeconds, giveUpSeconds }, pool, failed);
}

async function handleWanted<T extends EventType>(handler: Handler<T>, events: readonly EventEnvelope<T>[], pool: Pool): Promise<Outcome[]> {
  const outcomes = await again(() => handler.handle(events, pool));
  const answered = new Set(outcomes.map(({ eventId }) => eventId));
  for (const { id } of events) {
    if (!answered.has(id)) throw new Error(`The handler ${handler.name} gave no outcome for the event ${id}.`);
  }
  return outcomes;
}

/** The ids of those events that were handled before. */
export async function handledBefore(consumer: string, events: readonly EventEnvelope[], pool: Pool): Promise<Set<string>> {
  return handledIds(consumer, events.map(({ id }) => id), pool);
}

/** Those of the ids that the consumer has handled. */
export async function handledIds(consumer: string, ids: readonly string[], pool: Pool): Promise<Set<string>> {
  const { rows: [row] } = await pool.query<{ handled: string[] }>({ ...HANDLED, values: [consumer, uuidArray(ids)] });
  return new Set(row!.handled);
}

/** Remembers the events and publishes what they lead to: the write of a handler that has no other state. */
export async function writeAnswers(
  consumer: string, events: readonly EventEnvelope[], answers: readonly EventEnvelope[], pool: Pool,
): Promise<void> {
  if (events.length === 0) return;
  await pool.query({ ...ANSWER, values: [consumer, uuidArray(events.map(({ id }) => id)), ...publishValues(answers)] });
}

/** Handlers take what they can't know any more for a duplicate; a replay of history should not look as if all of it had been handled. */
async function tellForgotten(consumer: string, outcomes: Outcome[], pool: Pool): Promise<Outcome[]> {
  const old = outcomes.filter(({ eventId, result }) => result === 'duplicate' && !isYoung(eventId));
  if (old.length === 0) return outcomes;
  const values = [consumer, uuidArray(old.map(({ eventId }) => eventId))];
  const { rows: [row] } = await pool.query<{ forgotten: string[] }>({ ...UNREMEMBERED, values });
  const forgotten = new Set(row!.forgotten);
  const reason = 'the event is older than the inbox remembers';
  return outcomes.map((outcome) => (forgotten.has(outcome.eventId) ? { ...outcome, result: 'forgotten', reason } : outcome));
}

/** Whether the event is so new that the inbox would know it, by the time in its id of version 7. */
export function isYoung(eventId: string): boolean {
  return parseInt(eventId.slice(0, 8) + eventId.slice(9, 13), 16) >= Date.now() - YOUNG_MS;
}

async function ignore(consumer: string, events: readonly EventEnvelope[], pool: Pool): Promise<Outcome[]> {
  const known = await handledBefore(consumer, events, pool);
  const fresh = events.filter(({ id }) => !known.has(id));
  if (fresh.length > 0) await pool.query({ ...REMEMBER, values: [consumer, uuidArray(fresh.map(({ id }) => id))] });
  return events.map(({ id }) => ({ eventId: id, result: known.has(id) ? 'duplicate' : 'ignored' }));
}

/** The state may have changed between read and write; the next read sees how. */
async function again<R>(work: () => Promise<R>): Promise<R> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      if (attempt >= ATTEMPTS || !(isRetryable(error) || isDuplicate(error))) throw error;
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 10 * 2 ** attempt));
    }
  }
}

function isDuplicate(error: unknown): boolean {
  return (error as { code?: unknown } | null)?.code === '23505';
}

export type Failure = { readonly event: EventEnvelope; readonly error: unknown };

/**
 * Handles a batch whatever single events do: if its transaction fails, the halves are tried, down to the events that are
 * to blame (log₂ n more transactions for each). `giveUp` says which errors are nobody's fault, of several events or of one alone; they
 * end the search.
 */
export async function handleIsolating<T extends EventType>(
  handler: Handler<T>, events: readonly EventEnvelope<T>[], pool: Pool, giveUp: (error: unknown, alone: boolean) => boolean,
): Promise<{ outcomes: Outcome[]; failures: Failure[] }> {
  try {
    return { outcomes: await handleOnce(handler, events, pool), failures: [] };
  } catch (error) {
    if (giveUp(error, events.length === 1)) throw error;
    if (events.length === 1) return { outcomes: [], failures: [{ event: events[0]!, error }] };
    const middle = Math.ceil(events.length / 2);
    // One after the other: the first half may be what the second follows from.
    const first = await handleIsolating(handler, events.slice(0, middle), pool, giveUp);
    const second = await handleIsolating(handler, events.slice(middle), pool, giveUp);
    return { outcomes: [...first.outcomes, ...second.outcomes], failures: [...first.failures, ...second.failures] };
  }
}
