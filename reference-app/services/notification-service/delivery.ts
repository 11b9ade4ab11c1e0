import { setTimeout as sleep } from 'node:timers/promises';
import { Counter } from 'prom-client';
import type { Pool } from '../shared/database.ts';
import { numberArray, textArray, uuidArray } from '../shared/sql-arrays.ts';
import { registry, traceIdOf, type Logger } from '../shared/telemetry.ts';
import type { NotificationSender } from './sender.ts';

const sent = new Counter({ name: 'notifications_total', help: 'Attempts to send by result: sent, retry', labelNames: ['channel', 'result'], registers: [registry] });

const CLAIM = {
  name: 'notification-claim',
  // A claim, not a transaction that stays open while it sends: the relay waits for open transactions.
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
  order_id: string;
  version: number;
  outcome: string;
  customer_id: string | null;
  traceparent: string | null;
  attempts: number;
}

export interface DeliveryOptions {
  readonly pool: Pool;
  readonly sender: NotificationSender;
  readonly logger: Logger;
  /** Notifications claimed and sent at once. @default 200 */
  readonly batchSize?: number;
  /** After this a claim counts as abandoned; longer than a sender may take. @default 60 s */
  readonly claimSeconds?: number;
  /** How often to look without being woken: for what an ended process has left. @default 1 s */
  readonly pollMs?: number;
  /** A notification that fails is sent again after this, doubled with each failure up to an hour. @default 1 s */
  readonly firstBackOffSeconds?: number;
}

export interface Delivery {
  wake(): void;
  stop(): Promise<void>;
}

/** Sends what is recorded and not sent, at least once, whoever recorded it. Several may run. */
export function runDelivery({
  pool, sender, logger, batchSize = 200, claimSeconds = 60, pollMs = 1_000, firstBackOffSeconds = 1,
}: DeliveryOptions): Delivery {
  const stopping = new AbortController();
  let woken = false;
  let wake = () => {};

  async function deliver(): Promise<number> {
    const { rows } = await pool.query<Claimed>({ ...CLAIM, values: [batchSize, claimSeconds] });
    if (rows.length === 0) return 0;
    const results = await Promise.allSettled(rows.map(async (row) => sender.send({
      orderId: row.order_id, outcome: row.outcome, customerId: row.customer_id ?? undefined, traceparent: row.traceparent ?? undefined,
    }, `${row.order_id}/${row.version}/${row.outcome}`)));
    const done = rows.filter((_, i) => results[i]!.status === 'fulfilled');
    if (done.length > 0) await pool.query({ ...SENT, values: [uuidArray(done.map((row) => row.order_id)), numberArray(done.map((row) => row.version)), textArray(done.map((row) => row.outcome)), sender.channel] });
    sent.inc({ channel: sender.channel, result: 'sent' }, done.length);
    const failed = rows.flatMap((row, i) => {
      const result = results[i]!;
      return result.status === 'rejected' ? [{ row, error: String((result.reason as Error)?.message ?? result.reason) }] : [];
    });
    if (failed.length > 0) {
      for (const { row, error } of failed) {
        logger.warn({ orderId: row.order_id, outcome: row.outcome, attempts: row.attempts, traceId: traceIdOf(row.traceparent), error }, 'the notification could not be sent; it will be sent again');
      }
      sent.inc({ channel: sender.channel, result: 'retry' }, failed.length);
      await pool.query({
        ...FAILED,
        values: [
          uuidArray(failed.map(({ row }) => row.order_id)), numberArray(failed.map(({ row }) => row.version)), textArray(failed.map(({ row }) => row.outcome)), textArray(failed.map(({ error }) => error)),
          numberArray(failed.map(({ row }) => Math.min(firstBackOffSeconds * 2 ** Math.min(row.attempts - 1, 20), 3_600))),
        ],
      });
    }
    return rows.length;
  }

  async function run(): Promise<void> {
    let failures = 0;
    while (!stopping.signal.aborted) {
      woken = false;
      let delivered = 0;
      try {
        delivered = await deliver();
        failures = 0;
      } catch (error) {
        // What was claimed comes again when its claim has run out.
        if (failures++ === 0) logger.warn({ err: error }, 'notifications can not be delivered now; waiting');
        await sleep(Math.min(100 * 2 ** failures, 5_000), undefined, { signal: stopping.signal }).catch(() => undefined);
        continue;
      }
      if (delivered < batchSize && !woken && !stopping.signal.aborted) {
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, pollMs);
          wake = () => {
            clearTimeout(timer);
            resolve();
          };
        });
      }
    }
  }

  const loop = run();
  return {
    wake() {
      woken = true;
      wake();
    },
    async stop() {
      stopping.abort();
      wake();
      await loop;
    },
  };
}
