import type { Pool } from '../shared/database.ts';
import { runLoop } from '../shared/run-loop.ts';
import type { RunningService } from '../shared/service.ts';
import type { Logger } from '../shared/telemetry.ts';

const FOLD = { name: 'analytics-fold', text: 'SELECT analytics.fold($1) AS rows' };
const PRUNE = { name: 'analytics-prune', text: 'SELECT analytics.prune($1, $2) AS rows' };
/** A batch has hundreds of counts: few enough that the statement ends in time after the worst outage. */
const FOLD_LIMIT = 500;
/** The rows of one statement. */
const PRUNE_LIMIT = 5_000;

export interface UpkeepOptions {
  /** The days for which counts by SKU are kept; 0 is forever. */
  readonly skuDays: number;
  /** @default 10 s */
  readonly foldMs?: number;
  /** @default 1 h */
  readonly pruneMs?: number;
}

/** Adds the batches of counts to their hours, and deletes old hours. Several may run. */
export function runUpkeep(pool: Pool, log: Logger, { skuDays, foldMs = 10_000, pruneMs = 3_600_000 }: UpkeepOptions): RunningService {
  const every = (ms: number, statement: { name: string; text: string }, limit: number, values: unknown[]) => runLoop({
    round: async () => {
      const { rows: [row] } = await pool.query<{ rows: string }>({ ...statement, values: [...values, limit] });
      return Number(row!.rows) >= limit ? 0 : ms;
    },
    failed: (error) => log.warn({ err: error }, 'the upkeep of the counts has to wait'),
    backOff: () => ms,
  });
  const loops = [every(foldMs, FOLD, FOLD_LIMIT, []), ...(skuDays > 0 ? [every(pruneMs, PRUNE, PRUNE_LIMIT, [`${skuDays} days`])] : [])];
  return {
    async stop() {
      await Promise.all(loops.map((loop) => loop.stop()));
    },
  };
}
