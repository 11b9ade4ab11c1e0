import type { PoolClient } from 'pg';
import type { EventEnvelope, EventType } from '../events/index.ts';

/** ok: done now; duplicate: done before; ignored: nothing to do; retry: not yet, give it back (nothing was written for it). */
export interface Outcome {
  readonly eventId: string;
  readonly result: 'ok' | 'duplicate' | 'ignored' | 'retry';
  readonly reason?: string;
  /** Called after the commit: metrics, and effects outside of the database. Not called for a transaction that fails. */
  readonly committed?: () => void;
}

/**
 * Business code of a consumer: a batch of events and a transaction in, an outcome per event out. It knows neither the queue nor
 * the process around it. Throwing fails the transaction; the host then finds out which event is to blame.
 */
export interface Handler<T extends EventType = EventType, P = undefined> {
  /** Also the name under which handled events are remembered; never change it. */
  readonly name: string;
  readonly types: readonly T[];
  /** Work that needs no transaction, so that none is open while it waits. */
  prepare?(events: readonly EventEnvelope<T>[]): Promise<P>;
  handle(events: readonly EventEnvelope<T>[], tx: PoolClient, prepared: P): Promise<Outcome[]>;}
