import { createHmac, timingSafeEqual, type KeyObject } from 'node:crypto';

/** The key that signs. */
export interface SigningKey {
  /** The first characters of the version of the secret. */
  readonly id: string;
  readonly secret: KeyObject;
}

/** The keys that count, by their ids. Two may share one, since versions can be named by hand. */
export type SigningKeys = ReadonlyMap<string, readonly KeyObject[]>;

/** The reason not to believe a message: its signature is missing, has another form, is by an unknown key, or of another text. */
export type SignatureProblem = 'unsigned' | 'malformed-signature' | 'unknown-key' | 'wrong-signature';
/** The reason not to believe a message or an event. `unfounded` is of an event alone: the facts that it rests on do not hold. */
export type RefusalCause = SignatureProblem | 'unfounded';

/** The error of what is not believed. Trying again won't help. */
export class EventRefusedError extends Error {
  override readonly name = 'EventRefusedError';
  override readonly cause: RefusalCause;

  constructor(cause: RefusalCause, message: string) {
    super(message);
    this.cause = cause;
  }
}

const KEY_ID = 8;
const FIELD = ',"signature":"';
const SIGNATURE = /^([\w-]{8})\.([\w-]{43})$/;
/** The bytes that a signature adds to a message. */
export const SIGNATURE_BYTES = FIELD.length + KEY_ID + '.'.length + 43 + '"'.length;

/** The id of the key in a version of the secret. */
export function keyIdOf(version: string): string {
  return version.slice(0, KEY_ID).replace(/[^\w-]/g, '_').padEnd(KEY_ID, '_');
}

/** The form of a message. It is signed too: what was signed in one form must not be read in the other. */
type Form = 'event' | 'bundle';

/**
 * The message with the signature of `text`: the message itself for one event, for a bundle the texts of its events with commas between
 * them. The rest of a bundle is only for the bus.
 */
export function withSignature(message: string, text: string, { id, secret }: SigningKey): string {
  // No event, and nothing that could have a field: the bus refuses it.
  if (!/^\{\s*"/.test(message)) return message;
  return `${message.slice(0, -1)}${FIELD}${id}.${macOf(message === text ? 'event' : 'bundle', text, secret).toString('base64url')}"}`;
}

function macOf(form: Form, text: string, secret: KeyObject): Buffer {
  return createHmac('sha256', secret).update(`${form}:${text}`).digest();
}

/**
 * The events of a message as its text holds them, if that is what was signed. What is verified is what is read: nobody can hide another
 * event beside it, as by naming a field twice. Undefined if the text is otherwise or was written anew on the way; see `refusalOf`.
 */
export function readVerified(body: string, keys: SigningKeys): { received: Record<string, unknown>; path: string } | undefined {
  const end = body.lastIndexOf(FIELD);
  if (end < 0) return undefined;
  const from = end + FIELD.length;
  const signature = body.slice(from, from + SIGNATURE_BYTES - FIELD.length - 1);
  const bare = body.startsWith('{"specversion"');
  const path = bare ? '' : 'detail';
  if (body[end - 1] === ']') {
    const start = body.indexOf(EVENTS);
    const events = start < 0 ? '' : body.slice(start + EVENTS.length, end - 1);
    return isSigned('bundle', events, signature, keys) ? { received: { events: JSON.parse(`[${events}]`) as unknown }, path } : undefined;
  }
  const start = bare ? 0 : body.indexOf(DETAIL) + DETAIL.length - 1;
  const event = `${body.slice(start, end)}}`;
  if (!isSigned('event', event, signature, keys)) return undefined;
  const received = JSON.parse(event) as Record<string, unknown>;
  // It would be read as a bundle.
  return Array.isArray(received.events) ? undefined : { received, path };
}

const EVENTS = '"events":[';
const DETAIL = '"detail":{';

/** The reason not to believe the message, an event or a bundle; undefined if it is believed. Its text is that of `JSON.stringify`. */
export function refusalOf(received: Record<string, unknown>, keys: SigningKeys): EventRefusedError | undefined {
  const { signature, ...event } = received;
  if (signature === undefined) return new EventRefusedError('unsigned', 'the message has no signature');
  const [, keyId] = (typeof signature === 'string' && SIGNATURE.exec(signature)) || [];
  if (keyId === undefined) return new EventRefusedError('malformed-signature', 'the signature is not a key id, a dot, and 32 bytes as base64url');
  if (!keys.has(keyId)) return new EventRefusedError('unknown-key', `no version of the signing secret with a staging label begins with ${keyId}`);
  const form = Array.isArray(event.events) ? 'bundle' : 'event';
  return isSigned(form, textOf(event), signature as string, keys) ? undefined : new EventRefusedError('wrong-signature', `the key ${keyId} has not signed this text`);
}

function textOf(received: Record<string, unknown>): string | undefined {
  try {
    return Array.isArray(received.events) ? JSON.stringify(received.events).slice(1, -1) : JSON.stringify(received);
  } catch {
    // Too deep for it, as nothing of ours is.
    return undefined;
  }
}

function isSigned(form: Form, text: string | undefined, signature: string, keys: SigningKeys): boolean {
  const [, keyId, mac] = SIGNATURE.exec(signature) ?? [];
  if (keyId === undefined || text === undefined) return false;
  const given = Buffer.from(mac!, 'base64url');
  return (keys.get(keyId) ?? []).some((secret) => timingSafeEqual(given, macOf(form, text, secret)));
}
