import Type from 'typebox';
import { Maintenance } from '../../outbox-relay/maintenance.ts';
import { inboxConfig } from '../../shared/config.ts';
import { runFanOutConsumer } from '../worker.ts';
import { orderHandler } from './handler.ts';

await runFanOutConsumer('order-consumer', 'ORDER_PROCESSING_QUEUE_URL', Type.Object(inboxConfig), ({ config, logger, writer }) => ({
  handler: orderHandler,
  // Nobody publishes from this database, so no relay keeps the inboxes of the three small.
  beside: new Maintenance(writer, {
    inboxHours: config.INBOX_RETENTION_HOURS, outboxHours: 0, idempotencyKeyHours: 0, notificationHours: 0, partitionHours: 24,
  }, logger),
}));
