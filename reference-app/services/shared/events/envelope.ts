import Type, { type Static, type TSchema } from 'typebox';
import { Compile, type Validator } from 'typebox/compile';
import { continueTrace } from '../trace-context.ts';
import { newId, normalId } from './ids.ts';
import { DETAIL_TYPES, EVENT_DATA, Timestamp, Uuid, type DetailType, type EventData, type EventType } from './schemas.ts';
import { readVerified, refusalOf, type EventRefusedError, type SigningKeys } from './signature.ts';

/** In an event that is a message of its own; the events of a bundle share its signature. */
export const Signature = Type.String({
  description: 'key id and HMAC-SHA-256 (base64url): of `event:` and the event without this field, or of `bundle:` and the events of a bundle; '
    + '`JSON.stringify` of each, with commas between them',
});

/** The context attributes of a CloudEvent 1.0, with the extensions that every event of ours carries. */
export const Envelope = Type.Object({
  specversion: Type.Literal('1.0'),
  id: Type.String({ ...Uuid, description: 'id of the event: consumers handle it once' }),
  source: Type.String({ minLength: 1, description: 'the service that publishes it' }),
  type: Type.Enum(Object.keys(EVENT_DATA) as EventType[]),
  subject: Type.String({ minLength: 1, maxLength: 128, description: 'the order' }),
  time: Type.String({ ...Timestamp, description: 'when it happened' }),
  datacontenttype: Type.Literal('application/json'),
  dataschema: Type.String({ minLength: 1, description: 'name and major version of the schema of the data' }),
  partitionkey: Type.String({ minLength: 1, maxLength: 128, description: 'events with the same key are about the same thing' }),
  sequence: Type.String({ pattern: '^[0-9]{1,19}$', description: 'version of the order, as its producer counts' }),
  previousid: Type.Optional(Type.String({ ...Uuid, description: 'of an order\'s events: the event of the version before' })),
  correlationid: Type.String({ minLength: 1, description: 'the order, to which all of these events belong' }),
  causationid: Type.String({ minLength: 1, description: 'the event, or the request, that led to this' }),
  traceparent: Type.Optional(Type.String({ description: 'W3C trace context' })),
  signature: Type.Optional(Signature),
  data: Type.Object({}),
}, { description: 'A CloudEvent 1.0. `subject` and `data.orderId` are the same.' });

type Attributes = Omit<Static<typeof Envelope>, 'type' | 'data'>;

/** `EventEnvelope<'order.created'>`, or any event without the argument; `type` distinguishes them. */
export type EventEnvelope<T extends EventType = EventType> =
  T extends EventType ? Attributes & { type: T; data: EventData<T> } : never;

/** The error of a message that is not an event, with the path of the field. Trying again won't help. */
export class EventFormatError extends Error {
  override readonly name = 'EventFormatError';
  readonly field: string;

  constructor(field: string, problem: string) {
    super(`${field} ${problem}`);
    this.field = field;
  }
}

/** The cause of an event: another event, or the request that made the order. */
export interface Cause {
  readonly id: string;
  readonly correlationid?: string;
  readonly traceparent?: string | undefined;
}

/**
 * The data of `order.created` may grow within a major version; any other change is a new type beside it, `order.created.v2`. All
 * versions of a type have one name.
 */
export function versionOf(type: EventType): { name: string; major: number } {
  const [, name = type, major = '1'] = /^(.+)\.v([1-9]\d*)$/.exec(type) ?? [];
  return { name, major: Number(major) };
}

function dataSchemaOf(type: EventType): string {
  const { name, major } = versionOf(type);
  return `urn:cdk-order-pipeline:${name}:${major}`;
}

/** The whole event: what is checked when one is made and when one is read, and what is published as its contract. */
export function eventSchema(type: EventType): TSchema {
  const { properties } = Envelope;
  const data: TSchema = EVENT_DATA[type];
  return Type.Object({ ...properties, type: Type.Literal(type), data });
}

const TYPES = Object.keys(EVENT_DATA) as EventType[];
const DATA_SCHEMA_OF = Object.fromEntries(TYPES.map((type) => [type, dataSchemaOf(type)])) as Record<EventType, string>;
const envelopeValidator: Validator = Compile(Envelope as TSchema);
const validators: ReadonlyMap<unknown, Validator> = new Map(TYPES.map((type) => [type, Compile(eventSchema(type))]));

export interface NewEvent<T extends EventType> {
  readonly type: T;
  /** The service that says it, for example `/order-service`. */
  readonly source: string;
  /** The order id, which is also the partition key. */
  readonly subject: string;
  /** The version of the order that it is or answers. */
  readonly sequence: number | string;
  /** The event of the version before. */
  readonly previous?: string | undefined;
  readonly data: EventData<T>;
  readonly cause: Cause;
  readonly id?: string;
  readonly time?: Date;
}

/** Throws an `EventFormatError` rather than to make an event that its consumers would refuse. */
export function newEvent<T extends EventType>(event: NewEvent<T>): EventEnvelope<T> {
  const made = {
    specversion: '1.0',
    id: event.id ?? newId(),
    source: event.source,
    type: event.type,
    subject: event.subject,
    time: event.time?.toISOString() ?? now(),
    datacontenttype: 'application/json',
    dataschema: DATA_SCHEMA_OF[event.type],
    partitionkey: event.subject,
    sequence: String(event.sequence),
    correlationid: event.cause.correlationid ?? event.subject,
    causationid: event.cause.id,
    traceparent: continueTrace(event.cause.traceparent),
    data: event.data,
  } as EventEnvelope<T>;
  if (event.previous !== undefined) made.previousid = event.previous;
  checkEvent(made, '');
  return made;
}

let lastMs = 0;
let lastTime = '';

/** A batch is made within a few milliseconds, and writing a time costs as much as writing an id. */
function now(): string {
  const ms = Date.now();
  if (ms !== lastMs) {
    lastMs = ms;
    lastTime = new Date(ms).toISOString();
  }
  return lastTime;
}

export function detailTypeOf(event: { type: EventType }): DetailType {
  return DETAIL_TYPES[event.type];
}

/** An event of a message, or why there is none. */
export type Read = EventEnvelope | EventFormatError | EventRefusedError;

/**
 * The events of a queue message, in their order. The body is the EventBridge envelope with the event as its detail, or (because a rule's
 * input transformer may strip it) the bare event. In the place of the event may be a bundle: an object with an array `events`. An event
 * that can't be read is an error in its place, and no reason to refuse the others. With `keys`, nothing is read of a message that none of
 * them has signed.
 */
export function parseMessage(body: unknown, keys?: SigningKeys): Read[] {
  const message = orFormatError(() => (typeof body === 'string' && keys && readVerified(body, keys)) || checked(unwrap(body), keys));
  if (message instanceof Error) return [message];
  const { received, path } = message;
  if (!isRecord(received) || !Array.isArray(received.events)) return [orFormatError(() => readEvent(received, path))];
  const field = path ? `${path}.events` : 'events';
  if (received.events.length === 0) return [new EventFormatError(field, 'must not be empty')];
  return received.events.map((event, i) => orFormatError(() => readEvent(event, `${field}.${i}`)));
}

function checked(message: { received: unknown; path: string }, keys: SigningKeys | undefined): typeof message | EventRefusedError {
  const { received, path } = message;
  if (!isRecord(received)) return message;
  const refusal = keys && refusalOf(received, keys);
  if (refusal) return refusal;
  // The event as it was before it was signed.
  const { signature, ...event } = received;
  return signature === undefined ? message : { received: event, path };
}

function orFormatError<R>(read: () => R): R | EventFormatError {
  try {
    return read();
  } catch (error) {
    // Whatever its author did: no other message may suffer from it.
    return error instanceof EventFormatError ? error : new EventFormatError('body', `can't be read: ${(error as Error).name}`);
  }
}

/** Reads a message of one event, as `parseMessage` does. Throws an `EventFormatError`. */
export function parseEnvelope(body: unknown): EventEnvelope {
  const { received, path } = unwrap(body);
  return readEvent(received, path);
}

function unwrap(body: unknown): { received: unknown; path: string } {
  const json = typeof body === 'string' ? parseJson(body) : body;
  if (!isRecord(json)) throw new EventFormatError('body', 'must be a JSON object');
  return 'detail-type' in json && 'detail' in json ? { received: json.detail, path: 'detail' } : { received: json, path: '' };
}

/** All ids of the event are in lower case, so that the same event or order has the same id everywhere behind this function. */
function readEvent(received: unknown, path: string): EventEnvelope {
  checkSchema(received, path);
  const event = withNormalIds(received);
  checkSubject(event, path);
  return event;
}

/** The event itself if its ids are in lower case already, as nearly always. */
function withNormalIds(event: EventEnvelope): EventEnvelope {
  const { id, subject, partitionkey, previousid, correlationid, causationid, data } = event;
  const reservationId = 'reservationId' in data ? data.reservationId : undefined;
  const ids = [id, subject, partitionkey, previousid ?? '', correlationid, causationid, data.orderId, reservationId ?? ''];
  if (ids.every((one) => normalId(one) === one)) return event;
  return {
    ...event,
    id: normalId(id),
    subject: normalId(subject),
    partitionkey: normalId(partitionkey),
    ...(previousid !== undefined && { previousid: normalId(previousid) }),
    correlationid: normalId(correlationid),
    causationid: normalId(causationid),
    data: { ...data, orderId: normalId(data.orderId), ...(reservationId !== undefined && { reservationId: normalId(reservationId) }) },
  } as EventEnvelope;
}

/** `path` is where the event stands in what was received. */
function checkEvent(event: unknown, path: string): asserts event is EventEnvelope {
  checkSchema(event, path);
  checkSubject(event, path);
}

function checkSchema(event: unknown, path: string): asserts event is EventEnvelope {
  check(validators.get(isRecord(event) ? event.type : undefined) ?? envelopeValidator, event, path);
}

function checkSubject({ data, subject }: EventEnvelope, path: string): void {
  if (data.orderId !== subject) throw new EventFormatError(path ? `${path}.subject` : 'subject', 'must be data.orderId');
}

function check(validator: Validator, value: unknown, path: string): void {
  if (validator.Check(value)) return;
  const [error] = validator.Errors(value);
  const field = [path, ...(error?.instancePath ?? '').split('/').slice(1)].filter((part) => part !== '').join('.');
  if (error?.keyword === 'required') {
    const missing = error.params.requiredProperties[0];
    throw new EventFormatError(field ? `${field}.${missing}` : `${missing}`, 'is missing');
  }
  throw new EventFormatError(field || 'body', error?.message ?? 'is not valid');
}

function parseJson(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    throw new EventFormatError('body', 'must be JSON');
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
