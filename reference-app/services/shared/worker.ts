import Type, { type Static, type TObject } from 'typebox';
import { consumerConfig, databaseConfig, processConfig } from './config.ts';
import { createPool, type Pool } from './database.ts';
import type { EventType } from './events/index.ts';
import { runConsumer } from './messaging/consumer.ts';
import type { Handler } from './messaging/handler.ts';
import { createQueueClient } from './messaging/input-queue.ts';
import { runWorker, type RunningService, type ServiceContext } from './service.ts';

const ConsumerWorker = Type.Object({ ...processConfig(8080), ...databaseConfig, ...consumerConfig });
type ConsumerWorker = Static<typeof ConsumerWorker>;

export interface ConsumerWorkerParts<T extends EventType> {
  readonly handler: Handler<T>;
  /** Runs beside the consumer; stopped after it. */
  readonly beside?: RunningService;
}

/** The process of a service that consumes one queue with one handler. `extra` is configuration of its own. */
export function runConsumerWorker<T extends EventType, P, X extends TObject>(
  name: string, extra: X, create: (context: ServiceContext<ConsumerWorker & Static<X>> & { writer: Pool }) => ConsumerWorkerParts<T>,
): Promise<void> {
  return runWorker(name, {
    config: Type.Object({ ...ConsumerWorker.properties, ...extra.properties }),
    async start(context) {
      const config = context.config as ConsumerWorker & Static<X>;
      const writer = createPool({
        endpoint: config.DB_WRITER_ENDPOINT,
        secretArn: config.DB_SECRET_ARN,
        port: config.DB_PORT,
        database: config.DB_NAME,
        applicationName: context.name,
        max: config.DB_POOL_SIZE,
        logger: context.logger,
      });
      const { handler, beside } = create({ ...context, config, writer });
      const sqs = createQueueClient();
      const consumer = runConsumer({
        handler,
        queueUrl: config.QUEUE_URL,
        pool: writer,
        sqs,
        logger: context.logger,
        receivers: config.CONSUMER_RECEIVERS,
        batchSize: config.CONSUMER_BATCH_SIZE,
        concurrency: config.CONSUMER_CONCURRENCY,
        waitTimeSeconds: config.CONSUMER_WAIT_SECONDS,
      });
      return {
        ready: () => consumer.ready(),
        async stop() {
          await consumer.stop();
          await beside?.stop();
          await writer.end();
          sqs.destroy();
        },
      };
    },
  });
}
