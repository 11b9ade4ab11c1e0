import Type from 'typebox';
import { Maintenance } from '../../outbox-relay/maintenance.ts';
import { runFanOutConsumer } from '../worker.ts';
import { orderHandler } from './handler.ts';

const Config = Type.Object({
  INBOX_RETENTION_HOURS: Type.Number({
    minimum: 0,
    default: 24 * 30,
    description: 'how many hours to keep ids of handled events, 0 is forever; '
      + 'a queue and then its dead-letter queue hold a message for up to 28 days',
  }),
});

await runFanOutConsumer('order-consumer', 'ORDER_PROCESSING_QUEUE_URL', Config, ({ config, logger, writer }) => ({
  handler: orderHandler,
  // Nobody publishes from this database, so no relay keeps the inboxes of the three small.
  beside: new Maintenance(writer, {
    inboxHours: config.INBOX_RETENTION_HOURS, outboxHours: 0, idempotencyKeyHours: 0, notificationHours: 0, partitionHours: 24,
  }, logger),
}));
