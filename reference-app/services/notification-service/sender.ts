import type { Logger } from '../shared/telemetry.ts';
import { traceIdOf } from '../shared/telemetry.ts';

export interface Notification {
  readonly orderId: string;
  readonly outcome: string;
  readonly customerId: string | undefined;
  readonly traceparent: string | undefined;
}

/**
 * The way to the customer. Called at least once per notification: a crash between sending and remembering repeats it, so a sender
 * passes `idempotencyKey` on where the other side knows what to do with it. Rejecting means: try again later.
 */
export interface NotificationSender {
  readonly channel: string;
  send(notification: Notification, idempotencyKey: string): Promise<void>;
}

/** Writes a structured log line: the default, for systems that have no channel yet. */
export function logSender(logger: Logger): NotificationSender {
  return {
    channel: 'log',
    async send({ orderId, outcome, customerId, traceparent }) {
      logger.info({ orderId, outcome, customerId, traceId: traceIdOf(traceparent) }, 'notification');
    },
  };
}

/** Posts the notification as JSON, for example to a mail or push gateway. */
export function webhookSender(url: string): NotificationSender {
  return {
    channel: 'webhook',
    async send({ orderId, outcome, customerId, traceparent }, idempotencyKey) {
      const response = await fetch(url, {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'idempotency-key': idempotencyKey, ...(traceparent ? { traceparent } : {}) },
        body: JSON.stringify({ orderId, outcome, customerId }),
        signal: AbortSignal.timeout(10_000),
      });
      await response.body?.cancel();
      if (!response.ok) throw new Error(`the webhook answered ${response.status}`);
    },
  };
}

/** What NOTIFICATION_SENDER may say. */
export const SENDERS = ['log', 'webhook'] as const;

export function createSender(name: (typeof SENDERS)[number], options: { logger: Logger; url?: string | undefined }): NotificationSender {
  switch (name) {
    case 'log': return logSender(options.logger);
    case 'webhook':
      if (!options.url) throw new Error('NOTIFICATION_URL is missing; set it to the address that the webhook sender posts to.');
      return webhookSender(options.url);
  }
}
