import type { Pool } from 'pg';
import type { ReadyCheck } from './health.ts';

/** Probes of several checkers within this time share one answer, so that they cost the database next to nothing. */
const KEEP_MS = 500;

/** Ready: the schema is there and can be written to (after a failover a stale address may lead to a reader). */
export function writerReady(pool: Pool): ReadyCheck {
  return cached(() => answers(pool, 'to_regclass(\'orders.orders\') IS NOT NULL AND NOT pg_is_in_recovery()'));
}

/** Ready: at least one of the databases that can answer queries is there, with its schema; the first yes will do. */
export function queryReady(...pools: readonly Pool[]): ReadyCheck {
  return cached(() => Promise.any(pools.map(async (pool) => {
    if (!(await answers(pool, 'to_regclass(\'orders.orders\') IS NOT NULL'))) throw new Error('not ready');
    return true;
  })).catch(() => false));
}

async function answers(pool: Pool, condition: string): Promise<boolean> {
  try {
    const { rows } = await pool.query<{ ok: boolean }>(`SELECT ${condition} AS ok`);
    return rows[0]?.ok === true;
  } catch {
    return false;
  }
}

function cached(check: () => Promise<boolean>): ReadyCheck {
  let last: { readonly at: number; readonly answer: Promise<boolean> } | undefined;
  return () => {
    if (!last || Date.now() - last.at > KEEP_MS) last = { at: Date.now(), answer: check() };
    return last.answer;
  };
}
