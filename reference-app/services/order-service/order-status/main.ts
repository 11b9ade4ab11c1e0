import Type from 'typebox';
import { orderStatusHandler } from './handler.ts';
import { runConsumerWorker } from '../../shared/worker.ts';
import { runSweeper } from '../lifecycle/sweeper.ts';

const config = Type.Object({
  ORDER_DEADLINE_SECONDS: Type.Integer({ minimum: 1, default: 1_800, description: 'after how many seconds in one status an order ends, if its answer will not come' }),
  SWEEP_SECONDS: Type.Integer({ minimum: 1, default: 10, description: 'how often to look for orders past their deadline, in seconds' }),
});

await runConsumerWorker('order-status', ['messaging', 'orders', 'inventory'], config, ({ config: env, writer, logger }) => ({
  handler: orderStatusHandler,
  beside: runSweeper({ pool: writer, logger, deadlineSeconds: env.ORDER_DEADLINE_SECONDS, everyMs: env.SWEEP_SECONDS * 1_000 }),
}));
