import { CloudWatchClient } from '@aws-sdk/client-cloudwatch';
import Type, { type Static } from 'typebox';
import { ordersOverdue } from '../order-service/lifecycle/metrics.ts';
import { measureOverdue } from '../order-service/lifecycle/sweeper.ts';
import { type ReportedMetric, reportMetrics } from '../shared/cloudwatch.ts';
import { ConfigError } from '../shared/config.ts';
import type { Pool } from '../shared/database.ts';
import type { RunningService } from '../shared/service.ts';
import { registry, type Logger } from '../shared/telemetry.ts';

/** The names of the metrics are those of the alarms: see docs/container.md. */
export const METRICS: readonly ReportedMetric[] = [
  { name: 'RelayLeader', source: 'outbox_relay_leader', unit: 'None' },
  { name: 'RelayHalted', source: 'outbox_relay_halted', unit: 'None' },
  { name: 'OutboxOldestEventAge', source: 'outbox_oldest_pending_of_all_age_seconds', unit: 'Seconds' },
  { name: 'OutboxHeldBack', source: 'outbox_held_back_seconds', unit: 'Seconds' },
  { name: 'OutboxDeadEvents', source: 'outbox_dead_events', unit: 'Count' },
  { name: 'OldestSnapshotAge', source: 'oldest_snapshot_age_seconds', unit: 'Seconds' },
  { name: 'ParkedOldestEventAge', source: 'outbox_parked_oldest_age_seconds', unit: 'Seconds' },
  { name: 'OverdueOrders', source: 'orders_overdue', unit: 'Count' },
  { name: 'EventsPublished', source: 'outbox_events_published_total', unit: 'Count', countedBy: { label: 'type', dimension: 'EventType' } },
];

const PIPELINE = 'the value of the dimension Pipeline of the metrics';

export const metricsConfig = {
  METRICS_NAMESPACE: Type.Optional(Type.String({ description: 'the namespace of the metrics in CloudWatch, or nothing to send none' })),
  METRICS_PIPELINE: Type.Optional(Type.String({ description: PIPELINE })),
  METRICS_INTERVAL_SECONDS: Type.Number({ minimum: 0.1, default: 60, description: 'how often to send them' }),
  ORDER_DEADLINE_SECONDS: Type.Integer({ minimum: 1, default: 1_800, description: 'how many seconds an order may wait in one status, as order-status has it' }),
};

type Config = Static<ReturnType<typeof Type.Object<typeof metricsConfig>>>;

/** Sends the metrics of the relay, which everybody else has only as Prometheus' text, to CloudWatch, if the environment says so. */
export function reportRelay(config: Config, pool: Pool, logger: Logger): RunningService | undefined {
  const { METRICS_NAMESPACE: namespace, METRICS_PIPELINE: pipeline } = config;
  if (namespace === undefined) return undefined;
  if (pipeline === undefined) throw new ConfigError([`METRICS_PIPELINE is missing; set it to: ${PIPELINE}`]);
  const client = new CloudWatchClient({
    maxAttempts: 2, requestHandler: { connectionTimeout: 3_000, requestTimeout: 5_000, throwOnRequestTimeout: true },
  });
  const reporter = reportMetrics({
    client,
    registry,
    metrics: METRICS,
    namespace,
    dimensions: { Pipeline: pipeline },
    everyMs: config.METRICS_INTERVAL_SECONDS * 1_000,
    logger,
    async measure() {
      // An old value would be no news of a database that does not answer.
      ordersOverdue.reset();
      await measureOverdue(pool, config.ORDER_DEADLINE_SECONDS);
    },
  });
  return {
    async stop() {
      await reporter.stop();
      client.destroy();
    },
  };
}
