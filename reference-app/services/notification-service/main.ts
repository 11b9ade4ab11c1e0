import Type from 'typebox';
import { runConsumerWorker } from '../shared/worker.ts';
import { runDelivery } from './delivery.ts';
import { createNotificationHandler } from './handler.ts';
import { createSender, SENDERS } from './sender.ts';

const Config = Type.Object({
  NOTIFICATION_SENDER: Type.Enum([...SENDERS], { default: 'log', description: `one of ${SENDERS.join(', ')}` }),
  NOTIFICATION_URL: Type.Optional(Type.String({ pattern: '^https?://.+', description: 'the address that the webhook sender posts to' })),
});

await runConsumerWorker('notification-service', Config, ({ config, logger, writer }) => {
  const sender = createSender(config.NOTIFICATION_SENDER, { logger, url: config.NOTIFICATION_URL });
  const delivery = runDelivery({ pool: writer, sender, logger });
  return { handler: createNotificationHandler(() => delivery.wake()), beside: delivery };
});
