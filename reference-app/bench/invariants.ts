import type pg from 'pg';
import { CHECKS } from '../invariants/sql.ts';

/** What a benchmark leaves behind is wrong, so its numbers are worth nothing. */
export class InvariantError extends Error {
  override readonly name = 'InvariantError';
}

/** Which tables a benchmark fills; checks about others would find only that they are empty. */
export interface Scope {
  /** Orders are taken in and decided, not only reservations made for orders that exist nowhere. */
  readonly orders: 'none' | 'pending' | 'decided';
  /** Everything has been published. */
  readonly published: boolean;
  /** Old events have been forgotten, so they can't be compared with what they tell of. */
  readonly forgotten?: boolean;
}

/** The checks of the local run (local/invariants-sql.ts) that apply to the scope. */
export function checksFor(scope: Scope): typeof CHECKS {
  return CHECKS.filter(({ invariant, sql, parameters }) => {
    if (invariant === 'I1') return false;
    if (/relay_cursor/.test(sql)) return scope.published;
    if (scope.forgotten && /messaging\.outbox\b/.test(sql)) return false;
    if (/orders\.(orders|order_line|status_change)/.test(sql)) return scope.orders !== 'none' && (scope.orders === 'decided' || (invariant !== 'I6' && !parameters));
    return true;
  });
}

/** Throws unless every invariant holds and every expected count is exact. Returns how many statements looked. */
export async function assertInvariants(admin: pg.Pool, scope: Scope, expected: Readonly<Record<string, { readonly sql: string; readonly value: number }>> = {}): Promise<number> {
  // The checks join big tables that nothing has looked at yet; wrong guesses of their size cost minutes.
  await admin.query('ANALYZE');
  const checks = checksFor(scope);
  for (const { invariant, what, sql, parameters } of checks) {
    const { rows } = await admin.query<{ id: string; detail: string }>(`SELECT * FROM (${sql}) AS offender LIMIT 3`, (parameters ?? []).map(() => []));
    if (rows.length > 0) {
      throw new InvariantError(`${invariant} is violated: ${what}: ${rows.map(({ id, detail }) => `${id} (${detail})`).join('; ')}`);
    }
  }
  for (const [what, { sql, value }] of Object.entries(expected)) {
    const { rows: [row] } = await admin.query<{ n: string }>(`SELECT (${sql})::text AS n`);
    if (Number(row!.n) !== value) throw new InvariantError(`${what}: ${row!.n} instead of ${value}`);
  }
  return checks.length + Object.keys(expected).length;
}
