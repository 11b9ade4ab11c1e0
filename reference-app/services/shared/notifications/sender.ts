import Type, { type Static } from 'typebox';
import { traceIdOf, type Logger } from '../telemetry.ts';

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
function logSender(logger: Logger): NotificationSender {
  return {
    channel: 'log',
    async send({ orderId, outcome, customerId, traceparent }) {
      logger.info({ orderId, outcome, customerId, traceId: traceIdOf(traceparent) }, 'notification');
    },
  };
}

/** Posts the notification as JSON, for example to a mail or push gateway. */
function webhookSender(url: string): NotificationSender {
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

const SENDERS = ['log', 'webhook'] as const;

/** The configuration of a process that sends notifications. */
export const SenderConfig = Type.Object({
  NOTIFICATION_SENDER: Type.Enum([...SENDERS], { default: 'log', description: `one of ${SENDERS.join(', ')}` }),
  NOTIFICATION_URL: Type.Optional(Type.String({ pattern: '^https?://.+', description: 'the address that the webhook sender posts to' })),
});

export function createSender(
  { NOTIFICATION_SENDER: name, NOTIFICATION_URL: url }: Static<typeof SenderConfig>, logger: Logger,
): NotificationSender {
  switch (name) {
    case 'log': return logSender(logger);
    case 'webhook':
      if (!url) throw new Error('NOTIFICATION_URL is missing; set it to the address that the webhook sender posts to.');
      return webhookSender(url);
  }
}
