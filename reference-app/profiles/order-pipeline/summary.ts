import type pg from 'pg';
import type { InvariantResult } from '../../invariants/invariants.ts';
import type { FeedResult } from '../../load/feed.ts';
import { percentile, sorted } from '../../load/statistics.ts';
import type { Screen } from 'cdk-local-run/cli/screen';

export interface Summary {
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
  /** From the transaction that accepted an order to the one that decided it, by the database's clock. */
  readonly endToEndMs: Percentiles;
  /** From the intended send time to the 202, by the client's clock. */
  readonly acceptMs: Percentiles;
  readonly settled: boolean;
  readonly invariants: readonly InvariantResult[];
  readonly ok: boolean;
}

export interface Percentiles {
  readonly p50?: number;
  readonly p99?: number;
}

const DECISIONS = `
  SELECT o.status, o.order_id AS "orderId", extract(epoch FROM o.created_at)::float8 * 1000 AS "acceptedMs", extract(epoch FROM t.at)::float8 * 1000 AS "decidedMs"
    FROM unnest($1::uuid[]) AS fed (order_id) JOIN orders.orders o USING (order_id)
    LEFT JOIN orders.status_change t ON t.order_id = o.order_id AND t.to_status IN ('CONFIRMED', 'REJECTED')`;

export interface SummaryInput {
  readonly database: pg.Pool;
  readonly fed: FeedResult;
  readonly deadLetters: number;
  readonly restarts: number;
  readonly settled: boolean;
  readonly invariants: readonly InvariantResult[];
}

export async function summarize({ database, fed, deadLetters, restarts, settled, invariants }: SummaryInput): Promise<Summary> {
  const { rows } = await database.query<{ status: string; orderId: string; acceptedMs: number; decidedMs: number | null }>(
    DECISIONS, [fed.accepted.map(({ orderId }) => orderId)]);
  const { rows: [refused] } = await database.query<{ count: number }>('SELECT count(*)::int AS count FROM messaging.outbox_dead');
  const decided = rows.flatMap(({ acceptedMs, decidedMs }) => (decidedMs === null ? [] : [decidedMs - acceptedMs]));
  const begin = rows.reduce((first, { acceptedMs }) => Math.min(first, acceptedMs), Infinity);
  const end = rows.reduce((last, { decidedMs, acceptedMs }) => Math.max(last, decidedMs ?? acceptedMs), -Infinity);
  const seconds = rows.length === 0 ? 0 : (end - begin) / 1000;
  const impossible = new Set(fed.accepted.filter(({ planned }) => planned.expect === 'REJECTED').map(({ orderId }) => orderId));
  const count = (...statuses: string[]) => rows.filter(({ status }) => statuses.includes(status)).length;
  const confirmed = count('CONFIRMED');
  const rejected = count('REJECTED');
  const wronglyConfirmed = rows.filter(({ orderId, status }) => status === 'CONFIRMED' && impossible.has(orderId)).length;
  return {
    orders: {
      sent: fed.accepted.length + fed.refused.length + fed.unanswered.length,
      accepted: fed.accepted.length,
      confirmed,
      rejected,
      open: fed.accepted.length - confirmed - rejected,
      refused: fed.refused.length,
      unanswered: fed.unanswered.length,
      retries: fed.retries,
      wronglyConfirmed,
    },
    deadLetters: deadLetters + (refused?.count ?? 0),
    restarts,
    seconds: rounded(seconds, 3),
    ordersPerSecond: seconds === 0 ? 0 : rounded(rows.length / seconds, 1),
    endToEndMs: percentiles(decided),
    acceptMs: percentiles(fed.accepted.map(({ latencyMs }) => latencyMs)),
    settled,
    invariants,
    ok: settled && fed.unanswered.length === 0 && fed.refused.length === 0 && wronglyConfirmed === 0 && invariants.every(({ ok }) => ok),
  };
}

function percentiles(milliseconds: readonly number[]): Percentiles {
  const ascending = sorted(milliseconds);
  const at = (share: number) => {
    const value = percentile(ascending, share);
    return value === undefined ? undefined : rounded(value, 1);
  };
  return { p50: at(0.5), p99: at(0.99) };
}

function rounded(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}

const TITLES: Record<InvariantResult['id'], string> = {
  I1: 'every accepted order once, every subscriber has its event',
  I3: 'reserved ≤ on hand, at every moment',
  I4: 'counters equal the ledger',
  I5: 'at most one deduction per order line',
  I6: 'every order terminal, or with an open dead letter',
  I7: 'versions of an order applied one after the other',
  I8: 'only transitions of the table',
  I9: 'an order that came to nothing holds no stock',
  I10: 'every change has its event, every event its change',
  I11: 'handled + in flight + dead = published',
};

export function printSummary(out: Screen, summary: Summary, fed: FeedResult): void {
  const { orders } = summary;
  const row = (name: string, value: string, note = '') => out.line(`  ${name.padEnd(22)}${value.padStart(10)}${note && `   ${out.paint('dim', note)}`}`);
  const ms = (value: number | undefined) => (value === undefined ? '-' : `${value} ms`);
  out.line(out.paint('bold', 'Summary'));
  row('accepted', String(orders.accepted), [orders.retries > 0 && `${orders.retries} requests repeated with the same key`, `${summary.restarts} processes restarted`].filter(Boolean).join(', '));
  row('confirmed', String(orders.confirmed));
  row('rejected', String(orders.rejected), 'not enough stock');
  if (orders.open > 0) row('not decided', String(orders.open));
  if (orders.refused > 0) row('refused', String(orders.refused), fed.refused[0]?.reason);
  if (orders.unanswered > 0) row('without an answer', String(orders.unanswered), fed.unanswered[0]?.reason);
  if (orders.wronglyConfirmed > 0) row('wrongly confirmed', String(orders.wronglyConfirmed), 'more than there ever was in stock');
  row('dead-lettered', String(summary.deadLetters), 'messages in dead-letter queues and events that the bus refused');
  row('orders per second', String(summary.ordersPerSecond), `over ${summary.seconds} s, first accepted to last decided`);
  row('end to end p50', ms(summary.endToEndMs.p50), 'accepting to deciding transaction, database clock');
  row('end to end p99', ms(summary.endToEndMs.p99));
  row('202 after p50', ms(summary.acceptMs.p50), 'from the intended send time, client clock');
  row('202 after p99', ms(summary.acceptMs.p99));
  out.line();
  printInvariants(out, summary.invariants);
  if (!summary.settled) out.line(`${out.paint('red', '✗')} something is still on its way and nothing has moved for a while; the log files may say why`);
}

export function printInvariants(out: Screen, invariants: readonly InvariantResult[]): void {
  out.line(out.paint('bold', 'Invariants'));
  for (const { id, ok, checked, population, violations } of invariants) {
    out.line(`  ${ok ? out.paint('green', '✓') : out.paint('red', '✗')} ${id.padEnd(4)} ${TITLES[id].padEnd(58)} ${out.paint('dim', `${checked} ${population}`)}`);
    for (const { what, count, sample } of violations) {
      out.line(`         ${out.paint('red', `${count} × ${what}`)}`);
      for (const offender of sample) out.line(`           ${offender}`);
    }
  }
}
