import type { Pool } from '../database.ts';
import type { EventEnvelope, EventType } from '../events/index.ts';

/**
 * ok: done now; duplicate: done before; forgotten: so old that nobody knows whether it was done before; ignored: nothing to do. Of the
 * others nothing was written. parked: an earlier version of the order comes first, and the host keeps the event until then; retry: not
 * yet for another reason, give it back; refused: what it says is not so, and won't be, so it is a dead letter.
 */
export interface Outcome {
  readonly eventId: string;
  readonly result: 'ok' | 'duplicate' | 'forgotten' | 'ignored' | 'parked' | 'retry' | 'refused';
  readonly reason?: string;
  /** Called after the commit: metrics, and effects outside of the database. Not called for a transaction that fails. */
  readonly committed?: () => void;
}

/**
 * Business code of a consumer: a batch of events in, an outcome per event out. It knows neither the queue nor the process
 * around it. It reads what it has to know without locks, decides, and writes everything (inbox, state, outbox) in one call;
 * the write fails if what was read is not so any more, and the host then calls the handler again. Any other error fails the
 * batch; the host then finds out which event is to blame.
 */
export interface Handler<T extends EventType = EventType> {
  /** The name, under which handled events are also remembered; never change it. */
  readonly name: string;
  readonly types: readonly T[];
  /** The ids are distinct. An outcome for each, once what follows from it is committed. */
  handle(events: readonly EventEnvelope<T>[], pool: Pool): Promise<Outcome[]>;
}

/** The event is not done with, so it must not be remembered. */
export function isOpen({ result }: Outcome): boolean {
  return result === 'parked' || result === 'retry' || result === 'refused';
}
