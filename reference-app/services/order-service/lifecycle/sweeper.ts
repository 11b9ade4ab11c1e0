import { decideExpiry } from './decide.ts';
import { countChanges, ordersOverdue } from './metrics.ts';
import { claimOverdue, countOverdue, settle } from './statements.ts';
import { EXPIRING } from './transitions.ts';
import { withTransaction, type Pool } from '../../shared/database.ts';
import { runLoop } from '../../shared/run-loop.ts';
import type { RunningService } from '../../shared/service.ts';
import type { Logger } from '../../shared/telemetry.ts';

export interface SweeperOptions {
  readonly pool: Pool;
  readonly logger: Logger;
  /** The longest time that an order may wait in one status. */
  readonly deadlineSeconds: number;
  /** @default 10 s */
  readonly everyMs?: number;
}

const LIMIT = 200;

/**
 * Ends what has waited for too long and whose answer will not come: the order expires, or is again what it was before an update. By the
 * event the inventory gives back what it holds for it. Answers how many did.
 */
export async function sweep(pool: Pool, deadlineSeconds: number): Promise<number> {
  const at = new Date();
  // The claim makes it safe to sweep from several places. An answer that arrives at this moment waits for it and then is late.
  const { changes, orders } = await withTransaction(pool, async (tx) => {
    const overdue = await claimOverdue(tx, EXPIRING, deadlineSeconds, LIMIT);
    const made = overdue.flatMap((order) => decideExpiry(order, at) ?? []);
    await settle(tx, '', [], made, at);
    return { changes: made, orders: new Map(overdue.map((order) => [order.orderId, order])) };
  });
  countChanges(changes, orders, at);
  return changes.length;
}

/** Sweeps until it is stopped. Many may run at once. */
export function runSweeper({ pool, logger, deadlineSeconds, everyMs = 10_000 }: SweeperOptions): RunningService {
  // Not in step with the other sweepers.
  const untilNext = () => everyMs * (1 - Math.random() / 4);
  return runLoop({
    async round({ signal }) {
      await measureOverdue(pool, deadlineSeconds);
      let ended = 0;
      for (let count = LIMIT; count === LIMIT && !signal.aborted; ended += count) count = await sweep(pool, deadlineSeconds);
      if (ended > 0) logger.warn({ ended, deadlineSeconds }, 'the deadline of orders is over, and their answers will not come');
      return untilNext();
    },
    failed: (error) => logger.warn({ err: error }, 'the sweep of overdue orders has to wait'),
    backOff: untilNext,
  });
}

/** Sets the metric of overdue orders. */
export async function measureOverdue(pool: Pool, deadlineSeconds: number): Promise<void> {
  for (const { status, count } of await countOverdue(pool, EXPIRING, deadlineSeconds)) ordersOverdue.set({ status }, count);
}
