import { withTransaction, type Pool } from '../../shared/database.ts';
import type { Deliver } from '../../shared/notifications/delivery.ts';
import { numberArray, uuidArray } from '../../shared/sql-arrays.ts';

const CLAIM = {
  name: 'notification-consumer-claim',
  text: 'SELECT order_id, version, outcome, customer_id, traceparent, attempts FROM fan_out.claim($1)',
};
const SETTLE = {
  name: 'notification-consumer-settle',
  text: 'SELECT fan_out.settle($1::text::uuid[], $2::text::bigint[], $3::text::float8[])',
};

interface Claimed {
  readonly order_id: string;
  readonly version: number;
  readonly outcome: string;
  readonly customer_id: string;
  readonly traceparent: string | null;
  /** Without this one. */
  readonly attempts: number;
}

const BATCH = 100;

/** Delivers an order's notifications in their order: the rows are locked until they are sent. */
export function locked(pool: Pool): Deliver {
  return (send) => withTransaction(pool, async (tx) => {
    const { rows } = await tx.query<Claimed>({ ...CLAIM, values: [BATCH] });
    if (rows.length === 0) return false;
    const attempts = await send(rows.map((row) => ({
      orderId: row.order_id,
      version: row.version,
      outcome: row.outcome,
      customerId: row.customer_id,
      traceparent: row.traceparent ?? undefined,
      idempotencyKey: `${row.order_id}/${row.version}`,
      failures: row.attempts,
    })));
    const waits = attempts.map((attempt) => (attempt.sent ? 0 : attempt.retryInSeconds));
    await tx.query({
      ...SETTLE, values: [uuidArray(rows.map((row) => row.order_id)), numberArray(rows.map(({ version }) => version)), numberArray(waits)],
    });
    // The next one of the same order is due now.
    return true;
  }, 1);
}
