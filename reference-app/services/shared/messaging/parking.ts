import { Gauge } from 'prom-client';
import type { Pool } from '../database.ts';
import type { EventEnvelope, EventType } from '../events/index.ts';
import { lines, numberArray, textArray, uuidArray } from '../sql-arrays.ts';
import { registry } from '../telemetry.ts';
import { isOpen, type Handler, type Outcome } from './handler.ts';
import { eventsConsumed } from './metrics.ts';

const parked = new Gauge({ name: 'events_parked', help: 'Events that wait for an earlier version of their order', labelNames: ['consumer'], registers: [registry] });
const givenUp = new Gauge({
  name: 'events_parked_given_up', help: 'Dead letters among the parked events: their turn did not come', labelNames: ['consumer'], registers: [registry],
});
const oldest = new Gauge({ name: 'events_parked_oldest_age_seconds', help: 'Since when the oldest of them waits', labelNames: ['consumer'], registers: [registry] });

const PARK = {
  name: 'parking-park',
  text: 'SELECT messaging.park($1, $2::text::uuid[], $3::text::uuid[], $4::text::bigint[], $5, $6::text::text[])',
};
const WAITING = { name: 'parking-waiting', text: 'SELECT e AS envelope FROM messaging.waiting($1, $2, $3) AS e' };
const WAITING_SINCE = { name: 'parking-waiting-since', text: 'SELECT e AS envelope FROM messaging.waiting_since($1, $2, $3) AS e' };
const UNPARK = { name: 'parking-unpark', text: 'SELECT messaging.unpark($1, $2::text::uuid[])' };
const GIVE_UP = { name: 'parking-give-up', text: 'SELECT t AS type FROM messaging.give_up_parked($1, $2, $3) AS t' };
const STATE = { name: 'parking-state', text: 'SELECT waiting, seconds, given_up AS "givenUp" FROM messaging.parked_state($1)' };
const LIMIT = 500;

interface State { readonly waiting: number; readonly seconds: number; readonly givenUp: number }

export interface ParkingTimes {
  /** From the first try of an event by itself to the second, in seconds; doubled with each. With 0 all are tried. */
  readonly firstSeconds: number;
  /** The seconds after which a parked event becomes a dead letter. */
  readonly giveUpSeconds: number;
}

/** Hears of an event that cannot be applied. */
type Failed = (event: EventEnvelope, error: unknown) => void;
type Handle<T extends EventType> = (events: readonly EventEnvelope<T>[]) => Promise<Outcome[]>;

/**
 * The handlers for which, as far as this process knows, nothing is parked: for them `applyWaiting` need not ask after each batch.
 * (Measured with batches of eight events: asking is a tenth of the processor time of a batch.) Only `measure` puts one here, and not if
 * this process has parked an event meanwhile. So the one thing that stays unseen is what another process has parked since then: if its
 * gap closes here, it is applied when it is due by itself, within two seconds of the parking.
 */
const nothingParked = new WeakSet<object>();
const parks = new WeakMap<object, number>();

/** Keeps the events whose turn has not come. */
export async function park(handler: Pick<Handler, 'name'>, events: readonly EventEnvelope[], outcomes: readonly Outcome[], pool: Pool): Promise<void> {
  const reasons = new Map(outcomes.filter(({ result }) => result === 'parked').map(({ eventId, reason }) => [eventId, reason ?? null]));
  const early = events.filter(({ id }) => reasons.has(id));
  if (early.length === 0) return;
  // Before it is written, so that everybody who closes the gap after that asks.
  noteParking(handler);
  await pool.query({
    ...PARK,
    values: [
      handler.name, uuidArray(early.map(({ id }) => id)), uuidArray(early.map(({ subject }) => subject)),
      numberArray(early.map(({ sequence }) => Number(sequence))),
      lines(early.map((event) => JSON.stringify(event))), textArray(early.map(({ id }) => reasons.get(id)!)),
    ],
  });
  // And after it: a measure in between has not seen it.
  noteParking(handler);
}

function noteParking(handler: object): void {
  nothingParked.delete(handler);
  parks.set(handler, (parks.get(handler) ?? 0) + 1);
}

/**
 * Applies what waits for the orders of a batch, after its commit. Who parks looks too, after that commit: so, of one that closes a gap and
 * one that parks behind it at the same moment, the one that commits last sees what the other did. A duplicate looks too: the process that
 * handled it may have ended before it looked.
 */
export async function applyWaiting<T extends EventType>(
  handler: Handler<T>, events: readonly EventEnvelope<T>[], outcomes: readonly Outcome[], handle: Handle<T>, pool: Pool,
): Promise<void> {
  if (nothingParked.has(handler)) return;
  const consumer = handler.name;
  const still = new Set<string>();
  for (const { eventId, result } of outcomes) if (result === 'retry') still.add(eventId);
  let orders = new Set<string>();
  for (const { id, subject } of events) if (!still.has(id)) orders.add(subject);
  while (orders.size > 0) {
    const { rows } = await pool.query<{ envelope: string }>({ ...WAITING, values: [consumer, uuidArray([...orders]), LIMIT] });
    if (rows.length === 0) return;
    const waiting = rows.map(({ envelope }) => JSON.parse(envelope) as EventEnvelope<T>);
    const applied = await applyParked(consumer, waiting, handle, pool);
    // Each round gets at least one further, or it is the last. They come sorted by order, so those behind the limit are the rest.
    const last = rows.length === LIMIT ? waiting.at(-1)!.subject : undefined;
    const rest = last === undefined ? [] : [...orders].filter((order) => order > last);
    orders = new Set([...rest, ...waiting.filter(({ id }) => applied.has(id)).map(({ subject }) => subject)]);
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
 * Tries what has waited for a while, whatever became of who should have: an ended process, or an order that moved on by other ways. What
 * waits too long becomes a dead letter. `failed` hears of events that cannot be applied; they go on waiting.
 */
export async function applyOverdue<T extends EventType>(
  handler: Handler<T>, handle: Handle<T>, times: ParkingTimes, pool: Pool, failed: Failed,
): Promise<void> {
  const consumer = handler.name;
  const state = await measure(handler, pool);
  if (state.waiting === 0) return;
  const { rows } = await pool.query<{ envelope: string }>({ ...WAITING_SINCE, values: [consumer, times.firstSeconds, LIMIT] });
  await applyDue(handler, rows.map(({ envelope }) => JSON.parse(envelope) as EventEnvelope<T>), handle, pool, failed);
  if (state.seconds >= times.giveUpSeconds) {
    const { rows: dead } = await pool.query<{ type: string }>({ ...GIVE_UP, values: [consumer, times.giveUpSeconds, LIMIT] });
    for (const { type } of dead) eventsConsumed.inc({ type, consumer, result: 'dead' });
  }
  await measure(handler, pool);
}

/** All at once: as a rule none of them has its turn. If one can't be applied, the halves are tried. */
async function applyDue<T extends EventType>(
  handler: Handler<T>, events: readonly EventEnvelope<T>[], handle: Handle<T>, pool: Pool, failed: Failed,
): Promise<void> {
  if (events.length === 0) return;
  try {
    const applied = await applyParked(handler.name, events, handle, pool);
    const passed = events.filter(({ id }) => applied.has(id));
    if (passed.length > 0) await applyWaiting(handler, passed, [], handle, pool);
  } catch (error) {
    if (events.length === 1) return failed(events[0]!, error);
    const middle = Math.ceil(events.length / 2);
    await applyDue(handler, events.slice(0, middle), handle, pool, failed);
    await applyDue(handler, events.slice(middle), handle, pool, failed);
  }
}

async function measure(handler: Pick<Handler, 'name'>, pool: Pool): Promise<State> {
  const consumer = handler.name;
  const before = parks.get(handler);
  const { rows: [state] } = await pool.query<State>({ ...STATE, values: [consumer] });
  // One that was given up is applied, too, when its gap closes.
  if (state!.waiting + state!.givenUp > 0) nothingParked.delete(handler);
  else if (parks.get(handler) === before) nothingParked.add(handler);
  parked.set({ consumer }, state!.waiting);
  oldest.set({ consumer }, state!.seconds);
  givenUp.set({ consumer }, state!.givenUp);
  return state!;
}
