import { detailTypeOf, type EventEnvelope } from '../events/index.ts';
import { lines, textArray, uuidArray } from '../sql-arrays.ts';

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
