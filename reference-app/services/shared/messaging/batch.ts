import type { Message } from '@aws-sdk/client-sqs';
import type { Outcome } from './handler.ts';
import type { Failure } from './inbox.ts';
import type { Held } from './input-queue.ts';
import { EventRefusedError, parseMessage, type EventEnvelope, type EventType, type SigningKeys } from '../events/index.ts';

/** A received message, which is ours until that time. With keys, only a signed one is believed. */
export function hold(message: Message, visibleAt: number, keys?: SigningKeys): Held {
  const receiveCount = Number(message.Attributes?.ApproximateReceiveCount ?? 1);
  return { message, receiveCount, visibleAt, events: parseMessage(message.Body, keys) };
}

export function countEvents(held: Iterable<Held>): number {
  let count = 0;
  for (const { events } of held) count += events.length;
  return count;
}

/** Takes messages from the front until they have that number of events; at least one message, however many it has. */
export function takeEvents(waiting: Held[], most: number): Held[] {
  let messages = 0;
  for (let events = 0; messages < waiting.length; messages++) {
    events += waiting[messages]!.events.length;
    if (messages > 0 && events > most) break;
  }
  return waiting.splice(0, messages);
}

export interface FailedEvent {
  readonly error: unknown;
  /** Undefined if it could not be read. */
  readonly event?: EventEnvelope;
}

/** Trying again can't help: it can't be read, or is not believed. A key that is unknown may be known later. */
export function isHopeless({ event, error }: FailedEvent): boolean {
  return error instanceof EventRefusedError ? error.cause !== 'unknown-key' : !event;
}

/** A message that comes again, because of these events. */
export interface FailedMessage {
  readonly held: Held;
  readonly events: readonly FailedEvent[];
}

/** The messages of a transaction, and what becomes of them: one is done with when each of its events is. */
export class Batch<T extends EventType> {
  /** The readable events, each once. */
  readonly events: EventEnvelope<T>[] = [];
  readonly #held: readonly Held[];
  readonly #byId = new Map<string, EventEnvelope<T>>();
  readonly #failures = new Map<string, unknown>();
  readonly #count: (type: string, result: string) => void;

  /** `count` hears once of each event that is done with. */
  constructor(held: readonly Held[], count: (type: string, result: string) => void) {
    this.#held = held;
    this.#count = count;
    for (const event of held.flatMap(({ events }) => events)) {
      if (event instanceof Error) continue;
      if (this.#byId.has(event.id)) {
        count(event.type, 'duplicate');
      } else {
        this.#byId.set(event.id, event as EventEnvelope<T>);
        this.events.push(event as EventEnvelope<T>);
      }
    }
  }

  /** Takes in what the handler said. The events that have taken effect now. */
  settle({ outcomes, failures }: { readonly outcomes: readonly Outcome[]; readonly failures: readonly Failure[] }): EventEnvelope<T>[] {
    const applied: EventEnvelope<T>[] = [];
    for (const { eventId, result, reason } of outcomes) {
      const event = this.#byId.get(eventId)!;
      if (result === 'retry') this.#failures.set(eventId, reason ?? 'to be tried again');
      else if (result === 'refused') this.#failures.set(eventId, new EventRefusedError('unfounded', reason ?? 'nothing supports it'));
      else this.#count(event.type, result);
      if (result === 'ok') applied.push(event);
    }
    for (const { event, error } of failures) this.#failures.set(event.id, error);
    return applied;
  }

  /** After `settle`: the messages that are done with, and those that come again. */
  get messages(): { done: Held[]; failed: FailedMessage[] } {
    const done: Held[] = [];
    const failed: FailedMessage[] = [];
    for (const held of this.#held) {
      const events = held.events.flatMap((event): FailedEvent[] => {
        if (event instanceof Error) return [{ error: event }];
        return this.#failures.has(event.id) ? [{ event, error: this.#failures.get(event.id) }] : [];
      });
      if (events.length > 0) failed.push({ held, events });
      else done.push(held);
    }
    return { done, failed };
  }
}
