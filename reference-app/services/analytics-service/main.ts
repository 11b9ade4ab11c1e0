import Type from 'typebox';
import { analyticsHandler } from './handler.ts';
import { runUpkeep } from './upkeep.ts';
import { patientConsumerConfig } from '../shared/config.ts';
import { runConsumerWorker } from '../shared/worker.ts';

const config = Type.Object({
  ...patientConsumerConfig,
  ANALYTICS_SKU_DAYS: Type.Number({ minimum: 0, default: 90, description: 'for how many days to keep the counts by SKU; 0 is forever' }),
});

await runConsumerWorker('analytics-service', ['messaging', 'analytics'], config, ({ config: { ANALYTICS_SKU_DAYS: skuDays }, logger, writer }) => ({
  handler: analyticsHandler,
  beside: runUpkeep(writer, logger, { skuDays }),
}));
