import type { Pool } from '../database.ts';
import type { EventEnvelope } from '../events/index.ts';
import { textArray, uuidArray } from '../sql-arrays.ts';

const NOTE = {
  name: 'dead-letters-note',
  text: `INSERT INTO messaging.dead_letter AS d (consumer, event_id, order_id, type, error)
         SELECT $1, e.* FROM unnest($2::text::uuid[], $3::text::uuid[], $4::text::text[], $5::text::text[]) AS e
         ON CONFLICT (event_id, consumer) DO UPDATE SET error = excluded.error, at = now()`,
};

/** Notes what a consumer gives up, for the timeline of its order. */
export async function noteDeadLetters(
  consumer: string, dead: readonly { event: EventEnvelope; error: string }[], pool: Pool,
): Promise<void> {
  const distinct = [...new Map(dead.map((one) => [one.event.id, one])).values()];
  await pool.query({
    ...NOTE,
    values: [
      consumer, uuidArray(distinct.map(({ event }) => event.id)), uuidArray(distinct.map(({ event }) => event.subject)),
      textArray(distinct.map(({ event }) => event.type)), textArray(distinct.map(({ error }) => error.replaceAll('\u0000', '').slice(0, 500))),
    ],
  });
}
