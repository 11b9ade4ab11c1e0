import Type from 'typebox';
import { runConsumerWorker } from '../../shared/worker.ts';
import { orderStatusHandler } from './handler.ts';

await runConsumerWorker('order-status', Type.Object({}), () => ({ handler: orderStatusHandler }));
