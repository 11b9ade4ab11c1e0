import Type from 'typebox';
import { analyticsHandler } from './handler.ts';
import { runConsumerWorker } from '../shared/worker.ts';

await runConsumerWorker('analytics-service', ['messaging', 'analytics'], Type.Object({}), () => ({ handler: analyticsHandler }));
