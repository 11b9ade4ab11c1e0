import { Counter } from 'prom-client';
import { pause, runLoop, type Loop } from '../run-loop.ts';
import { registry, traceIdOf, type Logger } from '../telemetry.ts';
import type { Notification, NotificationSender } from './sender.ts';

const sent = new Counter({ name: 'notifications_total', help: 'Attempts to send by result: sent, retry', labelNames: ['channel', 'result'], registers: [registry] });

/** A notification whose turn it is to be sent. */
export interface Due extends Notification {
  readonly version: number;
  /** The same at every attempt. */
  readonly idempotencyKey: string;
  /** The number of failures before. */
  readonly failures: number;
}

/** The result of an attempt to send. */
export type Attempt = { readonly sent: true } | { readonly sent: false; readonly error: string; readonly retryInSeconds: number };

/**
 * Hands the notifications that are due to `send`, keeps them from everybody else meanwhile, and writes down the result of each attempt.
 * Answers whether more may be due at this moment.
 */
export type Deliver = (send: (due: readonly Due[]) => Promise<readonly Attempt[]>) => Promise<boolean>;

export interface DeliveryOptions {
  readonly deliver: Deliver;
  readonly sender: NotificationSender;
  readonly logger: Logger;
  /** The interval between looks without a wake-up, which find the rest of a process that ended. @default 1 s */
  readonly pollMs?: number;
  /** The pause after a round that sent something: what is recorded meanwhile is taken together. @default 100 ms */
  readonly gatherMs?: number;
  /** A notification that fails is sent again after this, doubled with each failure up to an hour. @default 1 s */
  readonly firstBackOffSeconds?: number;
}

const MAX_BACK_OFF_SECONDS = 3_600;

/** Sends each recorded notification at least once, those of other processes too. Several may run. */
export function runDelivery({ deliver, sender, logger, pollMs = 1_000, gatherMs = 100, firstBackOffSeconds = 1 }: DeliveryOptions): Pick<Loop, 'wake' | 'stop'> {
  return runLoop({
    round: async ({ signal }) => {
      let count = 0;
      const isMore = await deliver((due) => {
        count += due.length;
        return sendAll(due);
      });
      if (isMore) return 0;
      // Each round is two transactions, and each batch of events wakes it.
      if (count > 0) await pause(gatherMs, signal);
      return pollMs;
    },
    failed(error, failures) {
      // Notifications that were taken are due again when their time has run out.
      if (failures === 1) logger.warn({ err: error }, 'notifications cannot be delivered now; they wait');
    },
  });

  async function sendAll(due: readonly Due[]): Promise<Attempt[]> {
    const attempts = await Promise.all(due.map(sendOne));
    const count = attempts.filter((attempt) => attempt.sent).length;
    sent.inc({ channel: sender.channel, result: 'sent' }, count);
    sent.inc({ channel: sender.channel, result: 'retry' }, attempts.length - count);
    return attempts;
  }

  async function sendOne({ version, idempotencyKey, failures, ...notification }: Due): Promise<Attempt> {
    try {
      await sender.send(notification, idempotencyKey);
      return { sent: true };
    } catch (error) {
      const { orderId, outcome, traceparent } = notification;
      logger.warn({ err: error, orderId, version, outcome, failures: failures + 1, traceId: traceIdOf(traceparent) }, 'the notification could not be sent; it will be sent again');
      const retryInSeconds = Math.min(firstBackOffSeconds * 2 ** Math.min(failures, 20), MAX_BACK_OFF_SECONDS);
      return { sent: false, error: error instanceof Error ? error.message : String(error), retryInSeconds };
    }
  }
}
