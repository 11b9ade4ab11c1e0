import { setTimeout as sleep } from 'node:timers/promises';
import type { NotificationSender } from '../../notification-service/sender.ts';
import { withTransaction, type Pool } from '../../shared/database.ts';
import { numberArray, uuidArray } from '../../shared/sql-arrays.ts';
import { traceIdOf, type Logger } from '../../shared/telemetry.ts';

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
  readonly attempts: number;
}

const BATCH = 100;
const MAX_BACK_OFF_SECONDS = 3_600;

export interface DeliveryOptions {
  readonly pool: Pool;
  readonly sender: NotificationSender;
  readonly logger: Logger;
  /** How often to look without being woken: for what an ended process has left. @default 1 s */
  readonly pollMs?: number;
  /** A notification that fails is sent again after this, doubled with each failure up to an hour. @default 1 s */
  readonly firstBackOffSeconds?: number;
}

/** Sends what is recorded, at least once and an order's in their order. Several may run: each holds the rows that it sends. */
export function runDelivery({ pool, sender, logger, pollMs = 1_000, firstBackOffSeconds = 1 }: DeliveryOptions) {
  const stopping = new AbortController();
  let idle = new AbortController();
  const loop = run();
  return {
    wake: () => idle.abort(),
    async stop(): Promise<void> {
      stopping.abort();
      idle.abort();
      await loop;
    },
  };

  async function run(): Promise<void> {
    while (!stopping.signal.aborted) {
      idle = new AbortController();
      const delivered = await deliver().catch((error: unknown) => {
        logger.warn({ err: error }, 'notifications can not be delivered now; waiting');
        return 0;
      });
      if (delivered === 0 && !stopping.signal.aborted) await sleep(pollMs, undefined, { signal: idle.signal }).catch(() => undefined);
    }
  }

  function deliver(): Promise<number> {
    return withTransaction(pool, async (tx) => {
      const { rows } = await tx.query<Claimed>({ ...CLAIM, values: [BATCH] });
      if (rows.length === 0) return 0;
      const waits = await Promise.all(rows.map(send));
      await tx.query({ ...SETTLE, values: [uuidArray(rows.map((row) => row.order_id)), numberArray(rows.map(({ version }) => version)), numberArray(waits)] });
      return rows.length;
    }, 1);
  }

  /** The seconds until the next try; 0: it is sent. */
  async function send({ order_id: orderId, version, outcome, customer_id: customerId, traceparent, attempts }: Claimed): Promise<number> {
    try {
      await sender.send({ orderId, outcome, customerId, traceparent: traceparent ?? undefined }, `${orderId}/${version}`);
      return 0;
    } catch (error) {
      logger.warn({ err: error, orderId, version, outcome, traceId: traceIdOf(traceparent ?? undefined) }, 'the notification could not be sent; it will be sent again');
      return Math.min(firstBackOffSeconds * 2 ** Math.min(attempts, 20), MAX_BACK_OFF_SECONDS);
    }
  }
}
