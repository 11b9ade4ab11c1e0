import type { Outcome } from './handler.ts';
import type { EventEnvelope } from '../events/index.ts';

// Only tests import this file.

export type Result = Outcome['result'];

/**
 * The outcomes of a batch, as simply as possible: an order is at a version; the next one is applied, and what follows it in the
 * batch; a lower one was applied before, a higher one waits. Changes the versions.
 */
export function reference(batch: readonly EventEnvelope[], versions: Map<string, number>): Result[] {
  const results = new Map<string, Result>();
  for (const { id, subject, sequence } of batch) results.set(id, Number(sequence) <= (versions.get(subject) ?? 0) ? 'duplicate' : 'parked');
  for (const { id, subject, sequence } of [...batch].sort((a, b) => Number(a.sequence) - Number(b.sequence))) {
    if (Number(sequence) !== (versions.get(subject) ?? 0) + 1) continue;
    versions.set(subject, Number(sequence));
    results.set(id, 'ok');
  }
  return batch.map(({ id }) => results.get(id)!);
}

