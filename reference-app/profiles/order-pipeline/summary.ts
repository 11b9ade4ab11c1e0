import type pg from 'pg';
import type { FailoverReport } from './failover.ts';
import { timesOf, warmTimesOf } from './times.ts';
import type { Times } from './times.ts';
import type { InvariantResult } from '../../invariants/invariants.ts';
import type { FeedResult } from '../../load/feed.ts';

export interface Summary extends Times {
  readonly orders: {
    readonly sent: number;
    readonly accepted: number;
    readonly confirmed: number;
    readonly rejected: number;
    /** Accepted and not decided; with a dead letter each, if I6 holds. */
    readonly open: number;
    readonly refused: number;
    readonly unanswered: number;
    readonly retries: number;
    /** Orders that no stock could fill, and yet were confirmed. */
    readonly wronglyConfirmed: number;
  };
  /** Messages in dead-letter queues, and events that the bus refused. */
  readonly deadLetters: number;
  readonly restarts: number;
  /** From the first order's acceptance to the last one's decision. */
  readonly seconds: number;
  readonly ordersPerSecond: number;
  /** The times without the first orders, in which the processes are still cold. @default - too few orders were fed */
  readonly warm?: Times;
  readonly settled: boolean;
  readonly invariants: readonly InvariantResult[];
  /** The failover that took place while the orders were fed. */
  readonly failover?: FailoverReport;
  readonly ok: boolean;
}

const DECISIONS = `
  SELECT o.status, o.order_id AS "orderId",
         extract(epoch FROM o.created_at)::float8 * 1000 AS "acceptedMs", extract(epoch FROM t.at)::float8 * 1000 AS "decidedMs"
    FROM unnest($1::uuid[]) AS fed (order_id) JOIN orders.orders o USING (order_id)
    LEFT JOIN orders.status_change t ON t.order_id = o.order_id AND t.to_status IN ('CONFIRMED', 'REJECTED')`;

export interface SummaryInput {
  readonly database: pg.Pool;
  /** @default - no orders were fed */
  readonly fed?: FeedResult;
  readonly deadLetters: number;
  readonly restarts: number;
  readonly settled: boolean;
  readonly invariants: readonly InvariantResult[];
  /** @default - there was none */
  readonly failover?: FailoverReport;
}

interface Decision {
  readonly status: string;
  readonly orderId: string;
  readonly acceptedMs: number;
  readonly decidedMs: number | null;
}

const NOTHING: FeedResult = { keyPrefix: '', accepted: [], refused: [], unanswered: [], failures: [], retries: 0 };

export async function summarize(input: SummaryInput): Promise<Summary> {
  const { database, fed = NOTHING, deadLetters, restarts, settled, invariants, failover } = input;
  const { rows } = await database.query<Decision>(DECISIONS, [fed.accepted.map(({ orderId }) => orderId)]);
  const { rows: [refused] } = await database.query<{ count: number }>('SELECT count(*)::int AS count FROM messaging.outbox_dead');
  const latencies = new Map(fed.accepted.map(({ orderId, latencyMs }) => [orderId, latencyMs]));
  const timed = rows.map((row) => ({ ...row, latencyMs: latencies.get(row.orderId)! }));
  const warm = warmTimesOf(timed);
  const seconds = secondsOf(rows);
  const orders = countOrders(fed, rows);
  return {
    orders,
    deadLetters: deadLetters + (refused?.count ?? 0),
    restarts,
    seconds: rounded(seconds, 3),
    ordersPerSecond: seconds === 0 ? 0 : rounded(rows.length / seconds, 1),
    ...timesOf(timed),
    ...(warm && { warm }),
    settled,
    invariants,
    ...(failover && { failover }),
    ok: orders.unanswered + orders.refused + orders.wronglyConfirmed === 0 && (failover?.ok ?? true)
      // What a failover loses is missed by those who had heard of it: an event is handled whose order is gone, or an order waits for one.
      && (failover?.replication === 'asynchronous' || settled && invariants.every(({ ok }) => ok)),
  };
}

function countOrders({ accepted, refused, unanswered, retries }: FeedResult, rows: readonly Decision[]): Summary['orders'] {
  const impossible = new Set(accepted.filter(({ planned }) => planned.expect === 'REJECTED').map(({ orderId }) => orderId));
  const count = (wanted: string) => rows.filter(({ status }) => status === wanted).length;
  const [confirmed, rejected] = [count('CONFIRMED'), count('REJECTED')];
  return {
    sent: accepted.length + refused.length + unanswered.length,
    accepted: accepted.length,
    confirmed,
    rejected,
    open: accepted.length - confirmed - rejected,
    refused: refused.length,
    unanswered: unanswered.length,
    retries,
    wronglyConfirmed: rows.filter(({ orderId, status }) => status === 'CONFIRMED' && impossible.has(orderId)).length,
  };
}

/** From the first acceptance to the last decision. */
function secondsOf(rows: readonly Decision[]): number {
  const begin = rows.reduce((first, { acceptedMs }) => Math.min(first, acceptedMs), Infinity);
  const end = rows.reduce((last, { decidedMs, acceptedMs }) => Math.max(last, decidedMs ?? acceptedMs), -Infinity);
  return rows.length === 0 ? 0 : (end - begin) / 1000;
}

function rounded(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}
