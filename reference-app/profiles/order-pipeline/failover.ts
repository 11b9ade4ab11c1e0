import { setTimeout as sleep } from 'node:timers/promises';
import type { Failover, LocalRun, Replication } from 'cdk-local-run';
import type { Pipeline } from './pipeline.ts';
import type { FailedAttempt, FeedResult } from '../../load/feed.ts';
import { findStrays, giveBack } from '../../services/reconcile/reconcile.ts';

const POLL_MS = 20;
/** All services have to be ready again after this time. */
const READY_WITHIN_MS = 60_000;

/** A failover as the clients of the write API saw it. Times are milliseconds from the kill of the former writer on. */
export interface FailoverReport {
  readonly replication: Replication;
  /** Negative before the kill. An answer that was on its way may arrive after it. */
  readonly lastAcceptedMs?: number;
  /** The promoted replica could be written to at the address of the writer. */
  readonly writableMs: number;
  readonly firstAcceptedMs?: number;
  /** The longest time without an accepted order, from the kill on. */
  readonly outageMs?: number;
  /** Requests that got no answer or one with a status of 5xx. */
  readonly failedRequests: number;
  /** The same by their status or the reason why there was none. */
  readonly failuresByKind: Readonly<Record<string, number>>;
  /** From the first failed request to the last one. */
  readonly errorSeconds: number;
  /** Every workload was ready. */
  readonly readyMs?: number;
  /** The workloads that were not ready in time. */
  readonly notReady: readonly string[];
  /** Processes that were restarted since the kill. */
  readonly restarts: number;
  /** A new replica streamed. */
  readonly replicaMs?: number;
  /** Accepted orders that certainly were on the replica when it was promoted. */
  readonly acceptedReplicated: number;
  /** Those of them that do not exist. */
  readonly lostReplicated: number;
  /** Accepted orders that do not exist, replicated or not. */
  readonly lost: number;
  /** Orders that do not exist and had stock, which was given back as by `reconcile.js --apply`. */
  readonly reconciled: number;
  readonly ok: boolean;
}

/** The orders accepted so far, and a position in the log of the writer behind all of them: an order is flushed before it is accepted. */
interface Sample {
  readonly accepted: number;
  readonly position: string;
}

/** Kills the writer of the database when a number of orders is accepted, and notes the consequences. */
export class FailoverDrill {
  readonly replication: Replication;
  readonly #pipeline: Pipeline;
  readonly #after: number;
  readonly #samples: Sample[] = [];
  readonly #ended: Promise<void>;
  readonly #restartsBefore: number;
  #accepted = 0;
  #failover: Failover | undefined;
  #readyAt: number | undefined;
  #replicaAt: number | undefined;

  constructor(pipeline: Pipeline, replication: Replication, after: number) {
    this.#pipeline = pipeline;
    this.replication = replication;
    this.#after = after;
    this.#restartsBefore = restartsOf(pipeline.run);
    this.#ended = this.#perform();
    // It is looked at when all orders are fed.
    this.#ended.catch(() => undefined);
  }

  /** One more order was accepted. */
  accepted(): void {
    this.#accepted += 1;
  }

  async #perform(): Promise<void> {
    const { database, run } = this.#pipeline;
    while (this.#accepted < this.#after) {
      const accepted = this.#accepted;
      const { rows: [row] } = await database.query<{ position: string }>('SELECT pg_current_wal_flush_lsn()::text AS position');
      this.#samples.push({ accepted, position: row!.position });
      await sleep(POLL_MS);
    }
    this.#failover = await run.failover();
    const replica = this.#failover.replica.then(() => { this.#replicaAt = Date.now(); });
    const deadline = Date.now() + READY_WITHIN_MS;
    while (this.#readyAt === undefined && Date.now() < deadline) {
      if (notReady(run).length === 0) this.#readyAt = Date.now();
      else await sleep(POLL_MS);
    }
    await replica;
  }

  /** Waits for the failover, for all services, and for the new replica. */
  async recovered(signal: AbortSignal): Promise<void> {
    if (!signal.aborted) await this.#ended;
  }

  async report(fed: FeedResult): Promise<FailoverReport | undefined> {
    const failover = this.#failover;
    if (!failover) return undefined;
    const { run, database } = this.#pipeline;
    const { rows } = await database.query<{ id: string }>(
      'SELECT id::text FROM unnest($1::uuid[]) AS fed (id) WHERE NOT EXISTS (SELECT FROM orders.orders o WHERE o.order_id = fed.id)',
      [fed.accepted.map(({ orderId }) => orderId)],
    );
    const missing = new Set(rows.map(({ id }) => id));
    const acceptedReplicated = replicatedOf(this.#samples, failover.position);
    const lostReplicated = fed.accepted.slice(0, acceptedReplicated).filter(({ orderId }) => missing.has(orderId)).length;
    const reconciled = await giveBack(database, await findStrays(database));
    const restarts = restartsOf(run) - this.#restartsBefore;
    const since = (time: number | undefined) => (time === undefined ? undefined : time - failover.killedAt.getTime());
    const waiting = this.#readyAt === undefined ? notReady(run) : [];
    const [readyMs, replicaMs] = [since(this.#readyAt), since(this.#replicaAt)];
    return {
      replication: this.replication,
      writableMs: failover.promotedAt.getTime() - failover.killedAt.getTime(),
      ...outageOf(fed.accepted.map(({ acceptedAt }) => acceptedAt), failover.killedAt),
      ...failuresOf(fed.failures.filter(({ at }) => at >= failover.killedAt)),
      ...(readyMs !== undefined && { readyMs }),
      notReady: waiting,
      restarts,
      ...(replicaMs !== undefined && { replicaMs }),
      acceptedReplicated,
      lostReplicated,
      lost: missing.size,
      reconciled,
      ok: waiting.length === 0 && restarts === 0 && replicaMs !== undefined && acceptedReplicated > 0 && lostReplicated === 0
        && (this.replication === 'asynchronous' || missing.size + reconciled === 0),
    };
  }
}

function restartsOf(run: LocalRun): number {
  return run.workloads.reduce((sum, workload) => sum + workload.restarts(), 0);
}

function notReady(run: LocalRun): string[] {
  return run.workloads.filter((workload) => !workload.ready()).map(({ name }) => name);
}

/** The number of accepted orders, from the first one on, that are before this position in the log. */
export function replicatedOf(samples: readonly Sample[], position: string): number {
  const end = numberOf(position);
  return samples.filter((sample) => numberOf(sample.position) <= end).reduce((most, { accepted }) => Math.max(most, accepted), 0);
}

/** A position is two hexadecimal numbers of 32 bits. */
function numberOf(position: string): bigint {
  const [high = '', low = ''] = position.split('/');
  return (BigInt(`0x${high}`) << 32n) + BigInt(`0x${low}`);
}

/** The longest time without an accepted order that ends after the kill. */
export function outageOf(acceptedAt: readonly Date[], killedAt: Date): Pick<FailoverReport, 'lastAcceptedMs' | 'firstAcceptedMs' | 'outageMs'> {
  const times = acceptedAt.map((date) => date.getTime() - killedAt.getTime()).sort((a, b) => a - b);
  let longest: ReturnType<typeof outageOf> = {};
  for (const [index, firstAcceptedMs] of times.entries()) {
    const lastAcceptedMs = times[index - 1];
    if (lastAcceptedMs === undefined || firstAcceptedMs <= 0) continue;
    const outageMs = firstAcceptedMs - lastAcceptedMs;
    if (outageMs > (longest.outageMs ?? -1)) longest = { lastAcceptedMs, firstAcceptedMs, outageMs };
  }
  return longest;
}

function failuresOf(failures: readonly FailedAttempt[]): Pick<FailoverReport, 'failedRequests' | 'failuresByKind' | 'errorSeconds'> {
  const kinds = Object.groupBy(failures, ({ status, reason }) => (status === undefined ? reason : String(status)));
  const [first, last] = [failures[0], failures.at(-1)];
  return {
    failedRequests: failures.length,
    failuresByKind: Object.fromEntries(Object.entries(kinds).map(([kind, all = []]) => [kind, all.length])),
    errorSeconds: first && last ? (last.at.getTime() - first.at.getTime()) / 1000 : 0,
  };
}
