import Type, { type Static, type TSchema } from 'typebox';
import { Compile, type Validator } from 'typebox/compile';
import { continueTrace } from '../trace-context.ts';
import { newId } from './ids.ts';
import { DETAIL_TYPES, EVENT_DATA, Timestamp, Uuid, type DetailType, type EventData, type EventType } from './schemas.ts';

/** The context attributes of a CloudEvent 1.0, with the extensions that every event of ours carries. */
export const Envelope = Type.Object({
  specversion: Type.Literal('1.0'),
  id: Uuid,
  source: Type.String({ minLength: 1 }),
  type: Type.Enum(Object.keys(EVENT_DATA) as EventType[]),
  subject: Type.String({ minLength: 1, maxLength: 128 }),
  time: Timestamp,
  datacontenttype: Type.Literal('application/json'),
  dataschema: Type.String({ minLength: 1 }),
  partitionkey: Type.String({ minLength: 1, maxLength: 128 }),
  sequence: Type.String({ pattern: '^[0-9]{1,19}$' }),
  correlationid: Type.String({ minLength: 1 }),
  causationid: Type.String({ minLength: 1 }),
  traceparent: Type.Optional(Type.String()),
  data: Type.Object({}),
});

type Attributes = Omit<Static<typeof Envelope>, 'type' | 'data'>;

/** `EventEnvelope<'order.created'>`, or any event without the argument; `type` tells them apart. */
export type EventEnvelope<T extends EventType = EventType> =
  T extends EventType ? Attributes & { type: T; data: EventData<T> } : never;

/** Why a message is not an event, with the path of the field. Trying again won't help. */
export class EventFormatError extends Error {
  override readonly name = 'EventFormatError';
  readonly field: string;

  constructor(field: string, problem: string) {
    super(`${field} ${problem}`);
    this.field = field;
  }
}

/** What an event follows from: another event, or the request that made the order. */
export interface Cause {
  readonly id: string;
  readonly correlationid?: string;
  readonly traceparent?: string | undefined;
}

export interface NewEvent<T extends EventType> {
  readonly type: T;
  /** The service that says it, for example `/order-service`. */
  readonly source: string;
  /** The order id, which is also the partition key. */
  readonly subject: string;
  /** The version of the producing aggregate. */
  readonly sequence: number | string;
  readonly data: EventData<T>;
  readonly cause: Cause;
  readonly id?: string;
  readonly time?: Date;
}

export function newEvent<T extends EventType>(event: NewEvent<T>): EventEnvelope<T> {
  return {
    specversion: '1.0',
    id: event.id ?? newId(),
    source: event.source,
    type: event.type,
    subject: event.subject,
    time: event.time?.toISOString() ?? now(),
    datacontenttype: 'application/json',
    dataschema: `urn:cdk-order-pipeline:${event.type}:1`,
    partitionkey: event.subject,
    sequence: String(event.sequence),
    correlationid: event.cause.correlationid ?? event.subject,
    causationid: event.cause.id,
    traceparent: continueTrace(event.cause.traceparent),
    data: event.data,
  } as EventEnvelope<T>;
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

const envelopeValidator = Compile(Envelope);
const dataValidators = Object.fromEntries(
  Object.entries(EVENT_DATA).map(([type, schema]) => [type, Compile(schema as TSchema)]),
) as unknown as Record<EventType, Validator>;

/**
 * Reads the body of a queue message: the EventBridge envelope with the event as its detail, or (because a rule's
 * input transformer may strip it) the bare event.
 */
export function parseEnvelope(body: unknown): EventEnvelope {
  const json = typeof body === 'string' ? parseJson(body) : body;
  if (!isRecord(json)) throw new EventFormatError('body', 'must be a JSON object');
  const wrapped = 'detail-type' in json && 'detail' in json;
  const path = wrapped ? 'detail' : '';
  const event = wrapped ? json.detail : json;
  check(envelopeValidator as unknown as Validator, event, path);
  const envelope = event as EventEnvelope;
  check(dataValidators[envelope.type], envelope.data, path ? `${path}.data` : 'data');
  if (envelope.data.orderId !== envelope.subject) {
    throw new EventFormatError(`${path ? `${path}.` : ''}subject`, 'must be data.orderId');
  }
  return envelope;
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
