import Type from 'typebox';
import { runFanOutConsumer } from '../worker.ts';
import { analyticsHandler } from './handler.ts';

await runFanOutConsumer('analytics-consumer', 'ANALYTICS_QUEUE_URL', Type.Object({}), () => ({ handler: analyticsHandler }));
