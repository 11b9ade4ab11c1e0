import type { ClientBase } from 'pg';
import { detailTypeOf, type EventEnvelope } from '../events/index.ts';

const APPEND = {
  name: 'outbox-append',
  text: `INSERT INTO messaging.outbox (event_id, aggregate_id, detail_type, envelope)
         SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[])`,
};

/**
 * Adds the events to the outbox of the transaction that makes them true, in the order given. The relay publishes
 * them after the commit; nothing else may publish.
 */
export async function appendToOutbox(tx: Pick<ClientBase, 'query'>, events: readonly EventEnvelope[]): Promise<void> {
  if (events.length === 0) return;
  await tx.query({
    ...APPEND,
    values: [
      events.map((event) => event.id),
      events.map((event) => event.partitionkey),
      events.map(detailTypeOf),
      events.map((event) => JSON.stringify(event)),
    ],
  });
}
