import { claimed } from './delivery.ts';
import { createNotificationHandler } from './handler.ts';
import { runDelivery } from '../shared/notifications/delivery.ts';
import { createSender, SenderConfig } from '../shared/notifications/sender.ts';
import { runConsumerWorker } from '../shared/worker.ts';

await runConsumerWorker('notification-service', ['messaging', 'notification'], SenderConfig, ({ config, logger, writer }) => {
  const sender = createSender(config, logger);
  const delivery = runDelivery({ deliver: claimed(writer, sender), sender, logger });
  return { handler: createNotificationHandler(() => delivery.wake()), beside: delivery };
});
