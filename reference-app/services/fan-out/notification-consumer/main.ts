import { runDelivery } from '../../shared/notifications/delivery.ts';
import { createSender, SenderConfig } from '../../shared/notifications/sender.ts';
import { runFanOutConsumer } from '../worker.ts';
import { locked } from './delivery.ts';
import { createNotificationHandler } from './handler.ts';

await runFanOutConsumer('notification-consumer', 'NOTIFICATION_QUEUE_URL', SenderConfig, ({ config, logger, writer }) => {
  const delivery = runDelivery({ deliver: locked(writer), sender: createSender(config, logger), logger });
  return { handler: createNotificationHandler(() => delivery.wake()), beside: delivery };
});
