import type { Pool } from '../shared/database.ts';
import { runLoop } from '../shared/run-loop.ts';
import type { RunningService } from '../shared/service.ts';
import type { Logger } from '../shared/telemetry.ts';

const FOLD = { name: 'analytics-fold', text: 'SELECT analytics.fold($1) AS rows' };
const PRUNE = { name: 'analytics-prune', text: 'SELECT analytics.prune($1, $2) AS rows' };
/** The rows of one statement. */
const LIMIT = 5_000;

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
  const every = (ms: number, statement: { name: string; text: string }, values: unknown[]) => runLoop({
    round: async () => {
      const { rows: [row] } = await pool.query<{ rows: string }>({ ...statement, values });
      return Number(row!.rows) >= LIMIT ? 0 : ms;
    },
    failed: (error) => log.warn({ err: error }, 'the upkeep of the counts has to wait'),
    backOff: () => ms,
  });
  const loops = [every(foldMs, FOLD, [LIMIT]), ...(skuDays > 0 ? [every(pruneMs, PRUNE, [`${skuDays} days`, LIMIT])] : [])];
  return {
    async stop() {
      await Promise.all(loops.map((loop) => loop.stop()));
    },
  };
}
