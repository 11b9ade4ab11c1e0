import type { ClientBase } from 'pg';
import { lines, textArray, uuidArray } from '../sql-arrays.ts';
import { detailTypeOf, type EventEnvelope } from '../events/index.ts';

const APPEND = { name: 'outbox-append', text: `SELECT messaging.publish(${publishParameters(1)})` };

/** The arguments of `messaging.publish` as statement text, for a function call that does more than to publish. */
export function publishParameters(first: number): string {
  return `$${first}::text::uuid[], $${first + 1}::text::text[], $${first + 2}::text::text[], $${first + 3}::text`;
}

/** The values of `publishParameters`. */
export function publishValues(events: readonly EventEnvelope[]): [string, string, string, string] {
  return [
    uuidArray(events.map(({ id }) => id)),
    textArray(events.map(({ partitionkey }) => partitionkey)),
    textArray(events.map(detailTypeOf)),
    lines(events.map((event) => JSON.stringify(event))),
  ];
}

/**
 * Adds the events to the outbox of the transaction that makes them true, in the order given. The relay publishes
 * them after the commit; nothing else may publish.
 */
export async function appendToOutbox(tx: Pick<ClientBase, 'query'>, events: readonly EventEnvelope[]): Promise<void> {
  if (events.length > 0) await tx.query({ ...APPEND, values: publishValues(events) });
}
