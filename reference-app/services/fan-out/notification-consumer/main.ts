import Type from 'typebox';
import { createSender, SENDERS } from '../../notification-service/sender.ts';
import { runFanOutConsumer } from '../worker.ts';
import { runDelivery } from './delivery.ts';
import { createNotificationHandler } from './handler.ts';

const Config = Type.Object({
  NOTIFICATION_SENDER: Type.Enum([...SENDERS], { default: 'log', description: `one of ${SENDERS.join(', ')}` }),
  NOTIFICATION_URL: Type.Optional(Type.String({ pattern: '^https?://.+', description: 'the address that the webhook sender posts to' })),
});

await runFanOutConsumer('notification-consumer', 'NOTIFICATION_QUEUE_URL', Config, ({ config, logger, writer }) => {
  const sender = createSender(config.NOTIFICATION_SENDER, { logger, url: config.NOTIFICATION_URL });
  const delivery = runDelivery({ pool: writer, sender, logger });
  return { handler: createNotificationHandler(() => delivery.wake()), beside: delivery };
});
