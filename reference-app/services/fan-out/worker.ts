import type { Static, TObject } from 'typebox';
import type { OrderEventType } from './in-order.ts';
import type { Pool } from '../shared/database.ts';
import type { ServiceContext } from '../shared/service.ts';
import { runConsumerWorker, type ConsumerWorkerParts } from '../shared/worker.ts';

/** The process of a consumer whose queue has a variable of its own, so that one .env file is enough for all three. */
export function runFanOutConsumer<X extends TObject>(
  name: string, queueVariable: string, extra: X,
  create: (context: ServiceContext<Static<X>> & { writer: Pool }) => ConsumerWorkerParts<OrderEventType>,
): Promise<void> {
  const queueUrl = process.env[queueVariable];
  if (queueUrl) process.env.QUEUE_URL = queueUrl;
  return runConsumerWorker<OrderEventType, never, X>(name, ['messaging', 'fan_out'], extra, create);
}
