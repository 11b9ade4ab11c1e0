import Type, { type Static, type TObject } from 'typebox';
import { consumerConfig, databaseConfig, processConfig } from './config.ts';
import type { Pool } from './database.ts';
import { EventKeys } from './event-keys.ts';
import type { EventType } from './events/index.ts';
import { runConsumer } from './messaging/consumer.ts';
import type { Handler } from './messaging/handler.ts';
import { createQueueClient } from './messaging/input-queue.ts';
import { createWriterPool } from './pools.ts';
import { RequiredReleases, startWhenMigrated, type SchemaName } from './releases.ts';
import { runWorker, type RunningService, type ServiceContext } from './service.ts';

const ConsumerWorker = Type.Object({ ...processConfig(8080), ...databaseConfig, ...consumerConfig });
type ConsumerWorker = Static<typeof ConsumerWorker>;

export interface ConsumerWorkerParts<T extends EventType> {
  readonly handler: Handler<T>;
  /** Runs beside the consumer; stopped after it. */
  readonly beside?: RunningService;
}

/**
 * The process of a service that consumes one queue with one handler.
 *
 * @param schemas the database schemas that it uses: nothing runs before they are migrated
 * @param extra configuration of its own
 */
export function runConsumerWorker<T extends EventType, P, X extends TObject>(
  name: string, schemas: readonly SchemaName[], extra: X,
  create: (context: ServiceContext<ConsumerWorker & Static<X>> & { writer: Pool }) => ConsumerWorkerParts<T>,
): Promise<void> {
  return runWorker(name, {
    config: Type.Object({ ...ConsumerWorker.properties, ...extra.properties }),
    async start(context) {
      const config = context.config as ConsumerWorker & Static<X>;
      const writer = createWriterPool(config, { applicationName: context.name, logger: context.logger });
      const sqs = createQueueClient();
      const keys = config.EVENT_SIGNING_SECRET_ARN === undefined ? undefined : new EventKeys(config.EVENT_SIGNING_SECRET_ARN, context);
      const running = startWhenMigrated(new RequiredReleases(writer, schemas, context.logger), () => {
        const { handler, beside } = create({ ...context, config, writer });
        const consumer = runConsumer({
          handler,
          queueUrl: config.QUEUE_URL,
          pool: writer,
          sqs,
          ...(keys && { keys }),
          logger: context.logger,
          receivers: config.CONSUMER_RECEIVERS,
          lingerMs: config.CONSUMER_LINGER_MS,
          batchSize: config.CONSUMER_BATCH_SIZE,
          concurrency: config.CONSUMER_CONCURRENCY,
          waitTimeSeconds: config.CONSUMER_WAIT_SECONDS,
          parkedHours: config.CONSUMER_PARKED_HOURS,
        });
        return {
          ready: () => consumer.ready(),
          async stop() {
            await consumer.stop();
            await beside?.stop();
          },
        };
      });
      return {
        ready: () => running.ready!(),
        async stop() {
          await running.stop();
          await keys?.stop();
          await writer.end();
          sqs.destroy();
        },
      };
    },
  });
}
