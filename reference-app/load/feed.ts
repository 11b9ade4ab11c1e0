import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { HttpClient } from './http-client.ts';
import { openLoop } from './open-loop.ts';
import type { PlannedOrder } from './orders.ts';

export interface AcceptedOrder {
  readonly orderId: string;
  readonly key: string;
  readonly planned: PlannedOrder;
  /** From the intended send time to the 202, retries included. */
  readonly latencyMs: number;
  readonly acceptedAt: Date;
}

export interface UnacceptedOrder {
  readonly key: string;
  readonly planned: PlannedOrder;
  /** The problem document of a refusal (4xx), or why no answer came in time. */
  readonly reason: string;
}

export interface FeedResult {
  /** Begins every idempotency key of this feed. */
  readonly keyPrefix: string;
  readonly accepted: AcceptedOrder[];
  readonly refused: UnacceptedOrder[];
  /** Whether these orders exist is unknown: the last try may have been stored. */
  readonly unanswered: UnacceptedOrder[];
  /** The attempts that failed, in their order: those that were repeated, and the last ones of orders without an answer. */
  readonly failures: FailedAttempt[];
  retries: number;
}

export interface FailedAttempt {
  readonly at: Date;
  /** The status of the answer. @default - there was none, or no connection */
  readonly status?: number;
  readonly reason: string;
}

export interface FeedOptions {
  readonly orders: Iterable<PlannedOrder>;
  readonly rate: number;
  readonly client: HttpClient;
  /** Path of the intake. @default /orders */
  readonly path?: string;
  /** The time for which an order is tried again after failures. @default 120000 */
  readonly patienceMs?: number;
  readonly signal?: AbortSignal;
  readonly onAccepted?: (order: AcceptedOrder) => void;
}

const RETRY_BASE_MS = 50;
const RETRY_MAX_MS = 2_000;

/**
 * Feeds orders open loop. Each has an idempotency key, and a failure (no connection, no answer, 429, 5xx) is tried again with the same
 * key, so that a killed process costs time and never an order or a second one.
 */
export async function feed(options: FeedOptions): Promise<FeedResult> {
  const { orders, rate, client, path = '/orders', patienceMs = 120_000, signal, onAccepted } = options;
  const result: FeedResult = { keyPrefix: `feed-${randomUUID()}-`, accepted: [], refused: [], unanswered: [], failures: [], retries: 0 };

  await openLoop(orders, rate, async (planned, intended, index) => {
    const key = result.keyPrefix + index;
    const body = JSON.stringify(planned.body);
    for (let attempt = 0; ; attempt++) {
      const outcome = await tryOnce(client, path, body, key);
      if ('orderId' in outcome) {
        const order = { orderId: outcome.orderId, key, planned, latencyMs: performance.now() - intended, acceptedAt: new Date() };
        result.accepted.push(order);
        onAccepted?.(order);
        return;
      }
      const { reason, status } = outcome;
      if (!outcome.again) return void result.refused.push({ key, planned, reason });
      result.failures.push({ at: new Date(), reason, ...(status !== undefined && { status }) });
      if (signal?.aborted || performance.now() - intended > patienceMs) {
        return void result.unanswered.push({ key, planned, reason });
      }
      result.retries++;
      const backoff = Math.min(RETRY_MAX_MS, RETRY_BASE_MS * 2 ** attempt) * (0.5 + Math.random() / 2);
      await sleep(Math.max(backoff, outcome.retryAfterMs), undefined, { signal }).catch(() => undefined);
    }
  }, signal);
  return result;
}

type Outcome = { orderId: string } | { again: boolean; reason: string; retryAfterMs: number; status?: number };

async function tryOnce(client: HttpClient, path: string, body: string, key: string): Promise<Outcome> {
  try {
    const answer = await client.send('POST', path, { body, headers: { 'idempotency-key': key } });
    if (answer.status === 202) {
      const { orderId, order_id: snakeId } = JSON.parse(answer.body) as { orderId?: string; order_id?: string };
      const id = orderId ?? snakeId;
      if (id === undefined) return { again: false, reason: `202 without an order id: ${answer.body}`, retryAfterMs: 0 };
      return { orderId: id };
    }
    const seconds = Number(answer.headers['retry-after']);
    return {
      again: answer.status === 429 || answer.status >= 500,
      reason: `${answer.status} ${answer.body.slice(0, 300)}`,
      status: answer.status,
      retryAfterMs: Number.isFinite(seconds) ? Math.min(seconds * 1000, 10_000) : 0,
    };
  } catch (error) {
    return { again: true, reason: error instanceof Error ? error.message : String(error), retryAfterMs: 0 };
  }
}
