import Type from 'typebox';
import type { EventType } from './schemas.ts';

/**
 * The fields of `data` by which rules of the bus choose events, by the type of the event. A bundle repeats them, so a rule can't use
 * another field: it would match no bundle. A test compares the rules of the stack with this table.
 */
const ROUTING_ATTRIBUTES: { readonly [Type in EventType]?: readonly string[] } = {
  'inventory.updated': ['outcome'],
};

/** Several events in one message, as it is published as a contract. */
export const Bundle = Type.Object({
  specversion: Type.Literal('1.0'),
  type: Type.String({ minLength: 1, description: 'the type of all of its events', examples: ['order.confirmed'] }),
  source: Type.String({ minLength: 1, description: 'the service that publishes them' }),
  dataschema: Type.String({ minLength: 1, description: 'name and major version of the schema of their data' }),
  data: Type.Object({
    outcome: Type.Optional(Type.String({ description: 'the outcome of all of its events, if they are about stock' })),
  }, { description: 'fields that are the same in the data of all of its events, for filters of rules' }),
  events: Type.Array(Type.Object({}, { description: 'a whole event' }), { minItems: 1, description: 'the events, each of another order' }),
}, {
  description: 'A message with several events of one type. A message is a bundle if it has an array `events`. Handle each of them like the event of a message of its own.',
});

/** An event as `newEvent` writes it. */
const USUAL = /^\{"specversion":"1\.0","id":"[^"\\]*","source":"([^"\\]*)","type":"([^"\\]*)",(?:"\w+":"[^"\\]*",)*?"dataschema":"([^"\\]*)",/;

/**
 * The beginning of a bundle: all that its events have in common, where a rule of the bus finds it in a single event, too. Events with
 * the same beginning can share a bundle. Undefined for a text that is no event, which goes as it is, for the bus to judge.
 */
export function bundleHead(envelope: string): string | undefined {
  const [, usualSource, usualType, usualSchema] = USUAL.exec(envelope) ?? [];
  // Reading all of it takes longer than everything else that the relay does for an event.
  if (usualType !== undefined && !(usualType in ROUTING_ATTRIBUTES)) return headOf('1.0', usualType, usualSource, usualSchema, {});
  let event: Partial<Record<string, unknown>> | null;
  try {
    event = JSON.parse(envelope) as typeof event;
  } catch {
    return undefined;
  }
  if (typeof event !== 'object' || event === null || typeof event.type !== 'string') return undefined;
  const given = (event.data ?? {}) as Record<string, unknown>;
  const routing = (ROUTING_ATTRIBUTES[event.type as EventType] ?? []).map((name) => [name, given[name]] as const);
  return headOf(event.specversion, event.type, event.source, event.dataschema, Object.fromEntries(routing));
}

function headOf(version: unknown, eventType: string, eventSource: unknown, schema: unknown, data: object): string {
  const common = JSON.stringify({ specversion: version, type: eventType, source: eventSource, dataschema: schema, data });
  return `${common.slice(0, -1)},"events":[`;
}

const TAIL = ']}';

/** The text of a bundle with these events, all of which have this head. */
export function bundleOf(head: string, envelopes: readonly string[]): string {
  return head + envelopes.join(',') + TAIL;
}

/** The bytes that a bundle has besides its events, and the commas between them. */
export function bundleOverhead(head: string): number {
  return Buffer.byteLength(head) + TAIL.length;
}
