import { Gauge } from 'prom-client';
import type { Pool } from '../database.ts';
import type { EventEnvelope, EventType } from '../events/index.ts';
import { lines, numberArray, textArray, uuidArray } from '../sql-arrays.ts';
import { registry } from '../telemetry.ts';
import { isOpen, type Handler, type Outcome } from './handler.ts';
import { eventsConsumed } from './metrics.ts';

const parked = new Gauge({ name: 'events_parked', help: 'Events that wait for an earlier version of their order', labelNames: ['consumer'], registers: [registry] });
const oldest = new Gauge({ name: 'events_parked_oldest_age_seconds', help: 'Since when the oldest of them waits', labelNames: ['consumer'], registers: [registry] });

const PARK = {
  name: 'parking-park',
  text: 'SELECT messaging.park($1, $2::text::uuid[], $3::text::uuid[], $4::text::bigint[], $5, $6::text::text[])',
};
const WAITING = { name: 'parking-waiting', text: 'SELECT e AS envelope FROM messaging.waiting($1, $2, $3) AS e' };
const WAITING_SINCE = { name: 'parking-waiting-since', text: 'SELECT e AS envelope FROM messaging.waiting_since($1, $2, $3) AS e' };
const UNPARK = { name: 'parking-unpark', text: 'SELECT messaging.unpark($1, $2::text::uuid[])' };
const MEASURE = {
  name: 'parking-measure',
  text: `SELECT count(*)::int AS count, coalesce(extract(epoch FROM clock_timestamp() - min(parked_at)), 0)::float8 AS age
         FROM messaging.parked WHERE consumer = $1 AND applied_at IS NULL`,
};
const LIMIT = 500;

type Handle<T extends EventType> = (events: readonly EventEnvelope<T>[]) => Promise<Outcome[]>;

/** Keeps the events whose turn has not come. */
export async function park(consumer: string, events: readonly EventEnvelope[], outcomes: readonly Outcome[], pool: Pool): Promise<void> {
  const reasons = new Map(outcomes.filter(({ result }) => result === 'parked').map(({ eventId, reason }) => [eventId, reason ?? null]));
  const early = events.filter(({ id }) => reasons.has(id));
  if (early.length === 0) return;
  await pool.query({
    ...PARK,
    values: [
      consumer, uuidArray(early.map(({ id }) => id)), uuidArray(early.map(({ subject }) => subject)),
      numberArray(early.map(({ sequence }) => Number(sequence))),
      lines(early.map((event) => JSON.stringify(event))), textArray(early.map(({ id }) => reasons.get(id)!)),
    ],
  });
}

/**
 * Applies what waits for the orders of a batch, after its commit. Who parks looks too, after that commit: so, of one that closes a gap and
 * one that parks behind it at the same moment, the one that commits last sees what the other did.
 */
export async function applyWaiting<T extends EventType>(
  consumer: string, events: readonly EventEnvelope<T>[], outcomes: readonly Outcome[], handle: Handle<T>, pool: Pool,
): Promise<void> {
  const still = new Set<string>();
  for (const { eventId, result } of outcomes) if (result === 'duplicate' || result === 'retry') still.add(eventId);
  let orders = new Set<string>();
  for (const { id, subject } of events) if (!still.has(id)) orders.add(subject);
  while (orders.size > 0) {
    const { rows } = await pool.query<{ envelope: string }>({ ...WAITING, values: [consumer, uuidArray([...orders]), LIMIT] });
    if (rows.length === 0) return;
    const waiting = rows.map(({ envelope }) => JSON.parse(envelope) as EventEnvelope<T>);
    const applied = await applyParked(consumer, waiting, handle, pool);
    // Each round gets at least one further, or it is the last.
    orders = new Set(waiting.filter(({ id }) => applied.has(id)).map(({ subject }) => subject));
  }
}

/** The ids of those whose turn had come; the others wait on. */
async function applyParked<T extends EventType>(
  consumer: string, events: readonly EventEnvelope<T>[], handle: Handle<T>, pool: Pool,
): Promise<Set<string>> {
  const outcomes = await handle(events);
  const applied = outcomes.filter((outcome) => !isOpen(outcome));
  if (applied.length > 0) await pool.query({ ...UNPARK, values: [consumer, uuidArray(applied.map(({ eventId }) => eventId))] });
  applied.forEach((outcome) => {
    outcome.committed?.();
    eventsConsumed.inc({ type: events.find(({ id }) => id === outcome.eventId)!.type, consumer, result: outcome.result });
  });
  return new Set(applied.map(({ eventId }) => eventId));
}

/**
 * Tries what has waited for a while, whatever became of who should have: an ended process, or an order that moved on by other ways.
 * `failed` hears of events that cannot be applied; they go on waiting.
 */
export async function applyOverdue<T extends EventType>(
  handler: Handler<T>, handle: Handle<T>, seconds: number, pool: Pool, failed: (event: EventEnvelope, error: unknown) => void,
): Promise<void> {
  const consumer = handler.name;
  const { rows } = await pool.query<{ envelope: string }>({ ...WAITING_SINCE, values: [consumer, seconds, LIMIT] });
  const events = rows.map(({ envelope }) => JSON.parse(envelope) as EventEnvelope<T>);
  for (const event of events) {
    try {
      await applyParked(consumer, [event], handle, pool);
      await applyWaiting(consumer, [event], [{ eventId: event.id, result: 'ok' }], handle, pool);
    } catch (error) {
      failed(event, error);
    }
  }
  const { rows: [measured] } = await pool.query<{ count: number; age: number }>({ ...MEASURE, values: [consumer] });
  parked.set({ consumer }, measured!.count);
  oldest.set({ consumer }, Math.max(0, measured!.age));
}
