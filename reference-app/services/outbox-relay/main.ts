import { EventBridgeClient } from '@aws-sdk/client-eventbridge';
import Type from 'typebox';
import { gatheringConfig, parseGathering } from './gathering.ts';
import { MAX_SHARDS, runRelay } from './relay.ts';
import { metricsConfig, reportRelay } from './reported-metrics.ts';
import { databaseConfig, inboxConfig, processConfig, signingConfig } from '../shared/config.ts';
import { EventKeys, startWithKeys } from '../shared/event-keys.ts';
import { createWriterPool } from '../shared/pools.ts';
import { RequiredReleases, startWhenMigrated } from '../shared/releases.ts';
import { runWorker } from '../shared/service.ts';

const hours = (byDefault: number, what: string) =>
  Type.Number({ minimum: 0, default: byDefault, description: `how many hours to keep ${what}; 0 is forever` });

await runWorker('outbox-relay', {
  config: Type.Object({
    ...processConfig(8080),
    ...databaseConfig,
    EVENT_BUS_NAME: Type.String({ description: 'the name or ARN of the event bus' }),
    ...signingConfig,
    EVENT_SOURCE: Type.String({ default: 'com.example.orders', description: 'the source of the published events' }),
    OUTBOX_RETENTION_HOURS: hours(24 * 7, 'published events, an order\'s timeline'),
    ...inboxConfig,
    IDEMPOTENCY_KEY_RETENTION_HOURS: hours(24, 'idempotency keys'),
    NOTIFICATION_RETENTION_HOURS: hours(24 * 30, 'sent notifications'),
    PARTITION_HOURS: Type.Number({ exclusiveMinimum: 0, default: 24, description: 'of how many hours the partitions of outbox and inbox are' }),
    RELAY_BUNDLE_KB: Type.Integer({
      minimum: 0, maximum: 240, default: 0, description: 'how many KB of events one message may have; with 0 each message is one event, as a plain listener expects',
    }),
    RELAY_BUNDLE_LINGER_MS: Type.Integer({ minimum: 0, maximum: 40, default: 40, description: 'how many milliseconds events may wait to share a message' }),
    ...gatheringConfig,
    RELAY_CONCURRENCY: Type.Integer({ minimum: 1, maximum: 100, default: 16, description: 'how many PutEvents calls to run at once' }),
    ...metricsConfig,
  }),
  async start({ name, config, logger }) {
    const database = { applicationName: name, logger };
    // Its statements are short: a server that is gone is noticed, and another one found, in seconds.
    const pool = createWriterPool(config, { ...database, max: MAX_SHARDS, statementTimeoutMs: 4_000 });
    // One of two for the reports, which must not wait for a long statement of the maintenance.
    const maintenancePool = createWriterPool(config, { ...database, max: 2 });
    const client = new EventBridgeClient({
      requestHandler: {
        connectionTimeout: 3_000,
        requestTimeout: 10_000,
        throwOnRequestTimeout: true,
        httpAgent: { maxSockets: 100 },
        httpsAgent: { maxSockets: 100 },
      },
    });
    const keys = config.EVENT_SIGNING_SECRET_ARN === undefined ? undefined : new EventKeys(config.EVENT_SIGNING_SECRET_ARN, { logger });
    const relay = startWhenMigrated(new RequiredReleases(maintenancePool, ['messaging'], logger), () => startWithKeys(keys, (signingKey) => runRelay({
      ...(signingKey && { signingKey }),
      pool,
      maintenancePool,
      client,
      busName: config.EVENT_BUS_NAME,
      source: config.EVENT_SOURCE,
      concurrency: config.RELAY_CONCURRENCY,
      bundleBytes: config.RELAY_BUNDLE_KB * 1024,
      lingerMs: config.RELAY_BUNDLE_LINGER_MS,
      gathering: parseGathering(config.RELAY_GATHER_MS),
      logger,
      retention: {
        outboxHours: config.OUTBOX_RETENTION_HOURS,
        inboxHours: config.INBOX_RETENTION_HOURS,
        idempotencyKeyHours: config.IDEMPOTENCY_KEY_RETENTION_HOURS,
        notificationHours: config.NOTIFICATION_RETENTION_HOURS,
        partitionHours: config.PARTITION_HOURS,
      },
    })));
    const reporter = reportRelay(config, maintenancePool, logger);
    return {
      ready: () => relay.ready!(),
      async stop() {
        await relay.stop();
        await keys?.stop();
        await reporter?.stop();
        await Promise.all([pool.end(), maintenancePool.end()]);
        client.destroy();
      },
    };
  },
});
