import type { Pool } from '../database.ts';
import { EventRefusedError } from '../events/index.ts';
import { traceIdOf, type Logger } from '../telemetry.ts';
import type { FailedEvent, FailedMessage } from './batch.ts';
import { noteDeadLetters } from './dead-letters.ts';
import type { Held } from './input-queue.ts';
import { eventsConsumed, eventsRefused } from './metrics.ts';
import { claimsOf, noteRefusals, type Refusal } from './refusals.ts';

/** Reports the events that a consumer could not handle: in the log and the metrics, and the last time in the database. */
export class FailureReports {
  readonly #consumer: string;
  readonly #pool: Pool;
  readonly #log: Logger;

  constructor(consumer: string, pool: Pool, log: Logger) {
    this.#consumer = consumer;
    this.#pool = pool;
    this.#log = log;
  }

  /** Logs and counts a failed event. `last`: it goes to the dead-letter queue. `repeats`: there is none, and it comes again and again. */
  report({ message, receiveCount }: Held, { event, error }: FailedEvent, { last, repeats }: { last: boolean; repeats: boolean }): void {
    const refused = error instanceof EventRefusedError;
    eventsConsumed.inc({ type: event?.type ?? 'invalid', consumer: this.#consumer, result: last ? 'dead' : 'retry' });
    // Once for each message, as a rule.
    if (refused && (last || repeats)) eventsRefused.inc({ consumer: this.#consumer, cause: error.cause });
    const fields = {
      err: error instanceof Error ? error : undefined,
      reason: error instanceof Error ? undefined : error,
      messageId: message.MessageId,
      receiveCount,
      ...(event ? { eventId: event.id, type: event.type, orderId: event.subject, traceId: traceIdOf(event.traceparent) } : {}),
      ...(refused ? { refused: error.cause, claims: claimsOf(message.Body) } : {}),
    };
    const problem = refused ? 'the message is not believed' : last ? 'the event failed for the last time' : 'the event failed';
    this.#log[last ? 'error' : 'warn'](fields, `${problem}; it ${last ? 'goes to the dead-letter queue' : 'will come again'}`);
  }

  /** Notes dead letters for the timeline of the order; the message itself goes to the dead-letter queue, whether this works or not. */
  async noteDead(failed: readonly FailedMessage[]): Promise<void> {
    if (failed.length === 0) return;
    const textOf = (error: unknown) => (error instanceof Error ? error.message : String(error));
    const dead = failed.flatMap(({ events }) => events).flatMap(({ event, error }) => (
      event && !(error instanceof EventRefusedError) ? { event, error: textOf(error) } : []));
    const refused = failed.flatMap(({ held: { message }, events }): Refusal[] => {
      const errors = events.flatMap(({ error }) => (error instanceof EventRefusedError ? error : []));
      const [first] = errors;
      if (!first) return [];
      const error = errors.map((one) => one.message).join('; ');
      return [{ messageId: message.MessageId ?? '', cause: first.cause, error, claims: claimsOf(message.Body) }];
    });
    await Promise.all([
      dead.length > 0 && noteDeadLetters(this.#consumer, dead, this.#pool),
      refused.length > 0 && noteRefusals(this.#consumer, refused, this.#pool),
    ]).catch((error: unknown) => {
      this.#log.warn({ err: error }, 'dead letters could not be noted in the database');
    });
  }
}
