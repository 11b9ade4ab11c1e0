import type { Invocation, Outcome } from './types.ts';

/** Brings the events of a function. A batch is all that one invocation gets. */
export interface Source<Batch> {
  /** The most batches in hand at a time. */
  readonly concurrency: number;
  /** Waits for a batch. Undefined when none came. */
  receive(signal: AbortSignal): Promise<Batch | undefined>;
  invocation(batch: Batch): Invocation;
  /** Removes the batch, or leaves it for another try. `log` writes into the log file of the function. */
  settle(batch: Batch, outcome: Outcome, log: (line: object) => void): Promise<void>;
}
