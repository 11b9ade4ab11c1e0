import Type from 'typebox';
import { createStockHandler } from './handler.ts';
import { readerConfig } from '../shared/config.ts';
import { createReaderPool } from '../shared/pools.ts';
import { runConsumerWorker } from '../shared/worker.ts';

await runConsumerWorker('stock-service', ['messaging', 'inventory'], Type.Object(readerConfig), ({ name, config, logger, writer }) => {
  const reader = createReaderPool(config, { applicationName: name, statementTimeoutMs: 2_000, logger });
  return { handler: createStockHandler({ reader, writer, logger }), beside: { stop: () => reader.end() } };
});
