import Type from 'typebox';
import { inventoryHandler } from './handler.ts';
import { runConsumerWorker } from '../shared/worker.ts';

await runConsumerWorker('inventory-service', ['messaging', 'inventory', 'orders'], Type.Object({}), () => ({ handler: inventoryHandler }));
