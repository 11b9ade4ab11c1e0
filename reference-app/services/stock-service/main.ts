import Type from 'typebox';
import { createStockHandler } from './handler.ts';
import { readerConfig } from '../shared/config.ts';
import { createPool } from '../shared/database.ts';
import { runConsumerWorker } from '../shared/worker.ts';

await runConsumerWorker('stock-service', Type.Object(readerConfig), ({ name, config, logger, writer }) => {
  const reader = createPool({
    endpoint: config.DB_READER_ENDPOINT,
    secretArn: config.DB_SECRET_ARN,
    port: config.DB_READER_PORT ?? config.DB_PORT,
    database: config.DB_NAME,
    applicationName: name,
    max: config.DB_POOL_SIZE,
    statementTimeoutMs: 2_000,
    logger,
  });
  return { handler: createStockHandler({ reader, writer, logger }), beside: { stop: () => reader.end() } };
});
