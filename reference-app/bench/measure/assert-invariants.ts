import type pg from 'pg';
import { CHECKS } from '../../invariants/sql.ts';

/** The orders that a benchmark has left behind are wrong, so its numbers are worth nothing. */
export class InvariantError extends Error {
  override readonly name = 'InvariantError';
}

/** The tables that a benchmark fills; checks of other tables would find only that they are empty. */
export interface Scope {
  /** `none`: reservations are made for orders that exist nowhere. Otherwise orders are taken in, and `decided` or not. */
  readonly orders: 'none' | 'pending' | 'decided';
  /** Everything has been published. */
  readonly published: boolean;
  /** Old events have been forgotten, so they cannot be compared with their orders. @default false */
  readonly forgotten?: boolean;
}

/** A statement for each count that must be exact. */
export type Expected = Readonly<Record<string, { readonly sql: string; readonly value: number }>>;

/** The checks of `invariants/sql.ts` that apply to the scope. */
function checksFor({ orders, published, forgotten }: Scope): typeof CHECKS {
  return CHECKS.filter(({ invariant, sql, parameters }) => {
    if (invariant === 'I1') return false;
    if (/relay_cursor/.test(sql)) return published;
    if (forgotten && /messaging\.outbox\b/.test(sql)) return false;
    if (!/orders\.(orders|order_line|status_change)/.test(sql)) return true;
    return orders === 'decided' || (orders === 'pending' && invariant !== 'I6' && !parameters);
  });
}

/** Throws an InvariantError unless every invariant holds and every expected count is exact. */
export async function assertInvariants(admin: pg.Pool, scope: Scope, expected: Expected = {}): Promise<void> {
  // The checks join big tables that have no statistics yet; wrong guesses of their size cost minutes.
  await admin.query('ANALYZE');
  for (const { invariant, what, sql, parameters } of checksFor(scope)) {
    const { rows } = await admin.query<{ id: string; detail: string }>(
      `SELECT * FROM (${sql}) AS offender LIMIT 3`, (parameters ?? []).map(() => []));
    if (rows.length > 0) {
      throw new InvariantError(`${invariant} is violated: ${what}: ${rows.map(({ id, detail }) => `${id} (${detail})`).join('; ')}`);
    }
  }
  for (const [what, { sql, value }] of Object.entries(expected)) {
    const { rows: [row] } = await admin.query<{ n: string }>(`SELECT (${sql})::text AS n`);
    if (Number(row!.n) !== value) throw new InvariantError(`${what}: ${row!.n} instead of ${value}`);
  }
}

/** Nothing lost and nothing doubled at the reserve stage: as many decisions, events and handled messages as there were orders. */
export async function assertReserved(admin: pg.Pool, orders: number): Promise<void> {
  await assertInvariants(admin, { orders: 'none', published: false }, {
    'orders with a decision': { sql: 'SELECT count(*) FROM inventory.ledger WHERE event_id IS NOT NULL AND line = 1', value: orders },
    'orders with an event': { sql: 'SELECT count(DISTINCT aggregate_id) FROM messaging.outbox', value: orders },
    'events': { sql: 'SELECT count(*) FROM messaging.outbox', value: orders },
    'handled messages': { sql: 'SELECT count(*) FROM messaging.inbox WHERE consumer = \'inventory-service\'', value: orders },
  });
}

/**
 * All invariants, with every order confirmed and deducted.
 *
 * @param forgotten old events have been forgotten, so their checks are left out
 */
export async function assertDeducted(admin: pg.Pool, orders: number, forgotten = false): Promise<void> {
  await assertInvariants(admin, { orders: 'decided', published: true, forgotten }, {
    'orders': { sql: 'SELECT count(*) FROM orders.orders', value: orders },
    'confirmed orders': { sql: 'SELECT count(*) FROM orders.orders WHERE status = \'CONFIRMED\'', value: orders },
    'deducted reservations': { sql: 'SELECT count(*) FROM inventory.ledger WHERE type = \'COMMIT\' AND line = 1', value: orders },
    ...(!forgotten && { events: { sql: 'SELECT count(*) FROM messaging.outbox', value: orders * 5 } }),
  });
}
