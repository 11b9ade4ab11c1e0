import { isUnavailable } from '../database-errors.ts';
import type { Pool } from '../database.ts';
import type { EventType } from '../events/index.ts';
import { runLoop, type Loop } from '../run-loop.ts';
import type { Logger } from '../telemetry.ts';
import type { Handler } from './handler.ts';
import { handleOverdue } from './inbox.ts';

/** Parked events are applied with what closes their gap; so often is looked for what was left behind. */
const SECONDS = 1;

export interface KeepParkedOptions<T extends EventType> {
  readonly handler: Handler<T>;
  readonly pool: Pool;
  readonly log: Logger;
  readonly signal: AbortSignal;
  /** The seconds after which a parked event becomes a dead letter. */
  readonly giveUpSeconds: number;
  /** Nothing is tried while it is true. */
  isBlocked(): boolean;
  /** Hears whether the database can be used. */
  answered(yes: boolean): void;
}

/** Tries parked events again, those of other processes too. */
export function keepParked<T extends EventType>(options: KeepParkedOptions<T>): Loop {
  const { handler, pool, log, signal, giveUpSeconds, isBlocked, answered } = options;
  const untilNext = () => SECONDS * 1000 * (1 - Math.random() / 4);
  return runLoop({
    signal,
    round: async () => {
      if (isBlocked()) return untilNext();
      await handleOverdue(handler, SECONDS, pool, (event, error) => {
        log.warn({ err: error, eventId: event.id, type: event.type, orderId: event.subject }, 'a parked event could not be applied; it goes on waiting');
      }, giveUpSeconds);
      answered(true);
      return untilNext();
    },
    failed: (error) => {
      if (isUnavailable(error)) answered(false);
      log.debug({ err: error }, 'parked events have to wait');
    },
    backOff: untilNext,
  });
}
