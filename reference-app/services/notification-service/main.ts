import Type from 'typebox';
import { claimed } from './delivery.ts';
import { createNotificationHandler } from './handler.ts';
import { patientConsumerConfig } from '../shared/config.ts';
import { runDelivery } from '../shared/notifications/delivery.ts';
import { createSender, SenderConfig } from '../shared/notifications/sender.ts';
import { runConsumerWorker } from '../shared/worker.ts';

const config = Type.Object({ ...SenderConfig.properties, ...patientConsumerConfig });

await runConsumerWorker('notification-service', ['messaging', 'notification'], config, ({ config: env, logger, writer }) => {
  const sender = createSender(env, logger);
  const delivery = runDelivery({ deliver: claimed(writer, sender), sender, logger });
  return { handler: createNotificationHandler(() => delivery.wake()), beside: delivery };
});
