import { EventBridgeClient } from '@aws-sdk/client-eventbridge';
import Type from 'typebox';
import { databaseConfig, processConfig } from '../shared/config.ts';
import { createPool } from '../shared/database.ts';
import { runWorker } from '../shared/service.ts';
import { runRelay } from './relay.ts';

await runWorker('outbox-relay', {
  config: Type.Object({
    ...processConfig(8080),
    ...databaseConfig,
    EVENT_BUS_NAME: Type.String({ description: 'the name or ARN of the event bus' }),
    EVENT_SOURCE: Type.String({ default: 'com.example.orders', description: 'the source of the published events' }),
    RELAY_CONCURRENCY: Type.Integer({ minimum: 1, maximum: 100, default: 16, description: 'how many PutEvents calls to run at once' }),
  }),
  async start({ name, config, logger }) {
    const pool = createPool({
      endpoint: config.DB_WRITER_ENDPOINT, secretArn: config.DB_SECRET_ARN, port: config.DB_PORT, database: config.DB_NAME,
      applicationName: name, max: 1, logger,
    });
    const client = new EventBridgeClient({
      requestHandler: { connectionTimeout: 3_000, requestTimeout: 10_000, httpAgent: { maxSockets: 100 }, httpsAgent: { maxSockets: 100 } },
    });
    const relay = runRelay({ pool, client, busName: config.EVENT_BUS_NAME, source: config.EVENT_SOURCE, concurrency: config.RELAY_CONCURRENCY, logger });
    return {
      ready: () => relay.ready(),
      async stop() {
        await relay.stop();
        await pool.end();
        client.destroy();
      },
    };
  },
});
