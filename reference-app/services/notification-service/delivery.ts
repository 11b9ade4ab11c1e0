import type { Pool } from '../shared/database.ts';
import type { Attempt, Deliver } from '../shared/notifications/delivery.ts';
import { numberArray, textArray, uuidArray } from '../shared/sql-arrays.ts';

const CLAIM = {
  name: 'notification-claim',
  text: 'SELECT order_id, version, outcome, customer_id, traceparent, attempts FROM notification.claim($1, $2)',
};
const SENT = {
  name: 'notification-sent',
  text: 'SELECT notification.sent($1::text::uuid[], $2::text::int[], $3::text::text[], $4)',
};
const FAILED = {
  name: 'notification-failed',
  text: 'SELECT notification.failed($1::text::uuid[], $2::text::int[], $3::text::text[], $4::text::text[], $5::text::float8[])',
};

interface Claimed {
  readonly order_id: string;
  readonly version: number;
  readonly outcome: string;
  readonly customer_id: string | null;
  readonly traceparent: string | null;
  /** The number of attempts, with this one. */
  readonly attempts: number;
}

export interface ClaimOptions {
  readonly channel: string;
  /** Notifications claimed and sent at once. @default 200 */
  readonly batchSize?: number;
  /** After this a claim counts as abandoned; longer than a sender may take. @default 60 s */
  readonly claimSeconds?: number;
}

/** Delivers by a claim with an end: a transaction that stays open while it sends would hold up the relay. */
export function claimed(pool: Pool, { channel, batchSize = 200, claimSeconds = 60 }: ClaimOptions): Deliver {
  return async (send) => {
    const { rows } = await pool.query<Claimed>({ ...CLAIM, values: [batchSize, claimSeconds] });
    if (rows.length === 0) return false;
    const attempts = await send(rows.map(({ order_id: orderId, version, outcome, customer_id, traceparent, attempts: attempt }) => ({
      orderId,
      version,
      outcome,
      customerId: customer_id ?? undefined,
      traceparent: traceparent ?? undefined,
      idempotencyKey: `${orderId}/${version}/${outcome}`,
      failures: attempt - 1,
    })));
    const done = rows.filter((_, i) => attempts[i]!.sent);
    if (done.length > 0) await pool.query({ ...SENT, values: [...keysOf(done), channel] });
    const failed = rows.filter((_, i) => !attempts[i]!.sent);
    const failures = attempts.filter((attempt): attempt is Attempt & { sent: false } => !attempt.sent);
    if (failed.length > 0) {
      await pool.query({
        ...FAILED,
        values: [
          ...keysOf(failed), textArray(failures.map(({ error }) => error)),
          numberArray(failures.map(({ retryInSeconds }) => retryInSeconds)),
        ],
      });
    }
    return rows.length === batchSize;
  };
}

function keysOf(rows: readonly Claimed[]): [orderIds: string, versions: string, outcomes: string] {
  return [
    uuidArray(rows.map((row) => row.order_id)), numberArray(rows.map(({ version }) => version)),
    textArray(rows.map(({ outcome }) => outcome)),
  ];
}
