import Type from 'typebox';
import { runConsumerWorker } from '../shared/worker.ts';
import { inventoryHandler } from './handler.ts';

await runConsumerWorker('inventory-service', Type.Object({}), () => ({ handler: inventoryHandler }));
