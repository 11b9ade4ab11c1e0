import assert from 'node:assert/strict';
import { test } from 'node:test';
import { METRICS, reportRelay } from './reported-metrics.ts';
import './relay.ts';
import { ConfigError } from '../shared/config.ts';
import type { Pool } from '../shared/database.ts';
import { registry } from '../shared/telemetry.ts';
import { silentLogger } from '../shared/testing.ts';

const config = { METRICS_INTERVAL_SECONDS: 60, ORDER_DEADLINE_SECONDS: 1_800 };

test('every reported metric has a source in the relay: one that was renamed would be missing silently', () => {
  assert.deepEqual(METRICS.filter(({ source }) => registry.getSingleMetric(source) === undefined), []);
});

test('without a namespace nothing is reported, and one without the pipeline is refused', () => {
  assert.equal(reportRelay(config, {} as Pool, silentLogger()), undefined);
  assert.throws(() => reportRelay({ ...config, METRICS_NAMESPACE: 'Shop' }, {} as Pool, silentLogger()), (error) => (
    error instanceof ConfigError && error.problems.join() === 'METRICS_PIPELINE is missing; set it to: the value of the dimension Pipeline of the metrics'));
});
