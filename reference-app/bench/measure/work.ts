import type { Done } from './slices.ts';
import { isUnavailable } from '../../services/shared/database-errors.ts';
import type { Pool } from '../../services/shared/database.ts';
import type { EventEnvelope, EventType } from '../../services/shared/events/index.ts';
import type { Handler } from '../../services/shared/messaging/handler.ts';
import { handleIsolating } from '../../services/shared/messaging/inbox.ts';

export interface WorkOptions {
  /** Workers at once. */
  readonly workers: number;
  /** Milliseconds after which no more work is taken. @default - until all is done */
  readonly ms?: number;
  /** A list to which the milliseconds of each piece of work are added. @default - none */
  readonly times?: number[];
}

/**
 * Several workers take pieces of work, one after the other, until the time is over or nothing is left.
 *
 * @param run returns how much the piece counts
 */
export async function work<T>(
  pieces: readonly T[], { workers, ms = Infinity, times }: WorkOptions, run: (piece: T) => Promise<number>,
): Promise<Done & { taken: number }> {
  const start = performance.now();
  let next = 0;
  let count = 0;
  let end = start;
  await Promise.all(Array.from({ length: workers }, async () => {
    while (next < pieces.length && performance.now() - start < ms) {
      const began = performance.now();
      // Not `count += await`: it would read the count before the wait and lose what the other workers add meanwhile.
      const done = await run(pieces[next++]!);
      count += done;
      end = performance.now();
      times?.push(end - began);
    }
  }));
  return { count, seconds: (end - start) / 1000, taken: next };
}

/** One batch through the code path of a consumer: inbox, handler, one transaction. Returns how many events took effect. */
export async function handleBatch<T extends EventType>(
  handler: Handler<T>, events: readonly EventEnvelope<T>[], pool: Pool,
): Promise<number> {
  const { outcomes, failures } = await handleIsolating(handler, events, pool, isUnavailable);
  if (failures.length > 0) {
    throw new Error(`${handler.name} failed at ${failures.length} of ${events.length} events`, { cause: failures[0]!.error });
  }
  let done = 0;
  for (const { result, reason } of outcomes) {
    if (result === 'refused') throw new Error(`${handler.name} refused an event: ${reason}`);
    if (result === 'ok') done++;
  }
  return done;
}
