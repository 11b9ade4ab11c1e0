import Type from 'typebox';
import { runConsumerWorker } from '../shared/worker.ts';
import { analyticsHandler } from './handler.ts';

await runConsumerWorker('analytics-service', Type.Object({}), () => ({ handler: analyticsHandler }));
