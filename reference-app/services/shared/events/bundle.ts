import Type from 'typebox';
import { Signature } from './envelope.ts';
import { DETAIL_TYPES, type EventType } from './schemas.ts';

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
  signature: Type.Optional(Signature),
}, {
  description: 'A message with several events of one type. A message is a bundle if it has an array `events`. Handle each of them like the event of a message of its own.',
});

/** The beginning of an event as `newEvent` writes it, with one type. */
const USUAL = new RegExp('^{"specversion":"1.0","id":"[^"]*","source":"([^"\\\\]*)","type":"([^"\\\\]*)",(?:"(?!type")[a-z]+":"[^"\\\\]*",)*?"dataschema":"([^"\\\\]*)",');
/** A field of the data before any that has an object or a list. */
const FIELDS = new Map(Object.values(ROUTING_ATTRIBUTES).flat().map((name) => [name, new RegExp(`"data":{[^{}[\\]]*?"${name}":"([^"\\\\]*)"`)]));

/**
 * The beginning of a bundle: all that its events have in common, where a rule of the bus finds it in a single event, too. Events with
 * the same beginning can share a bundle. Undefined for a text that is no event, which goes as it is, for the bus to judge.
 */
export function bundleHead(envelope: string): string | undefined {
  return usualHead(envelope) ?? parsedHead(envelope);
}

/** Reading all of an event takes longer than everything else that the relay does for it. */
function usualHead(envelope: string): string | undefined {
  const [, source, type, dataschema] = USUAL.exec(envelope) ?? [];
  if (type === undefined) return undefined;
  const routing = (ROUTING_ATTRIBUTES[type as EventType] ?? []).map((name) => [name, FIELDS.get(name)!.exec(envelope)?.[1]] as const);
  if (routing.some(([, value]) => value === undefined)) return undefined;
  return headOf({ specversion: '1.0', type, source, dataschema, data: Object.fromEntries(routing) });
}

function parsedHead(envelope: string): string | undefined {
  let event: Partial<Record<string, unknown>> | null;
  try {
    event = JSON.parse(envelope) as typeof event;
  } catch {
    return undefined;
  }
  if (typeof event !== 'object' || event === null || typeof event.type !== 'string') return undefined;
  const { specversion, type, source, dataschema } = event;
  const data = (event.data ?? {}) as Record<string, unknown>;
  const routing = (ROUTING_ATTRIBUTES[type as EventType] ?? []).map((name) => [name, data[name]] as const);
  return headOf({ specversion, type, source, dataschema, data: Object.fromEntries(routing) });
}

function headOf(common: object): string {
  return `${JSON.stringify(common).slice(0, -1)},"events":[`;
}

const TAIL = ']}';

/**
 * The text of an event as `JSON.stringify` writes it, which is signed: somebody else's may be otherwise, and is written anew on its way.
 * With the reason if it must not be sent: who may publish some types only could say another one in the text of such a row. Reading each
 * would cost the relay more than all else, so one that begins as `newEvent` writes it is not read, if it can have only one type: no
 * other field of this name, no list of events, and no escapes.
 */
export function soundText(envelope: string, detailType: string): { text: string; problem?: string } {
  const [head, , usual] = USUAL.exec(envelope) ?? [];
  // To look for the quotation mark before a name takes longer: it is everywhere.
  if (head !== undefined && !envelope.includes('\\') && !envelope.includes('ype"', head.length) && !envelope.includes('vents"', head.length)) {
    return withProblem(envelope, usual, detailType);
  }
  let event: Partial<Record<string, unknown>> | null;
  try {
    event = JSON.parse(envelope) as typeof event;
  } catch {
    return { text: envelope, problem: 'The envelope is not JSON.' };
  }
  const text = JSON.stringify(event);
  return Array.isArray(event?.events) ? { text, problem: 'The envelope is a bundle of events.' } : withProblem(text, event?.type, detailType);
}

/** A type that nobody knows is for consumers of others: ours refuse it. */
function withProblem(text: string, type: unknown, detailType: string): { text: string; problem?: string } {
  const right = typeof type === 'string' && Object.hasOwn(DETAIL_TYPES, type) ? DETAIL_TYPES[type as EventType] : detailType;
  return right === detailType ? { text } : { text, problem: `The envelope is of the type ${type as string}, whose detail type is ${right}, not ${detailType}.` };
}

/** The fields of the data that a head repeats. */
export function routingOf(head: string): Readonly<Record<string, unknown>> {
  return (JSON.parse(head + TAIL) as { data: Record<string, unknown> }).data;
}

/** The text of a bundle with these events, all of which have this head. */
export function bundleOf(head: string, envelopes: readonly string[]): string {
  return head + envelopes.join(',') + TAIL;
}

/** The bytes that a bundle has besides its events, and the commas between them. */
export function bundleOverhead(head: string): number {
  return Buffer.byteLength(head) + TAIL.length;
}
