import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { synthesizeWith } from './assembly.ts';
import { assertAllTrue, deadLettersOf, failedReceives, putEvent, scratch, startSystem, until } from './system.ts';
import type { System } from './system.ts';
import type { ConsumerSettings, Replicas, Settings } from '../lib/settings.ts';
import { defaultSettings } from '../lib/settings.ts';

// The run follows the stack: other settings of the same stack, and nothing else edited.

const one = { minReplicas: 1, maxReplicas: 2 };
const { consumers } = defaultSettings;
/** The consumer with other replicas and other changes. */
const consumer = (name: string, replicas: Replicas, changes: Partial<ConsumerSettings> = {}): ConsumerSettings => {
  const settings = consumers[name]!;
  return { ...settings, ...changes, replicas: { ...settings.replicas, ...replicas } };
};
const VARIANT: Settings = {
  ...defaultSettings,
  eventSource: 'com.example.variant',
  commandApi: one,
  queryApi: one,
  outboxRelay: one,
  consumers: {
    'stock-service': consumer('stock-service', { minReplicas: 3, maxReplicas: 4 }, { maxReceiveCount: 2 }),
    'inventory-service': consumer('inventory-service', one),
    'order-status': consumer('order-status', one),
    'notification-service': consumer('notification-service', one, { events: ['order.rejected', 'inventory.validated'] }),
    'analytics-service': consumer('analytics-service', one, { events: { detailType: [{ prefix: 'OrderC' }] } as never }),
  },
};

describe('a stack with other settings', { timeout: 180_000 }, () => {
  let folder: Awaited<ReturnType<typeof scratch>>;
  let system: System;

  before(async () => {
    folder = await scratch();
    system = await startSystem(await synthesizeWith(folder.path, VARIANT), join(folder.path, 'data'));
  });
  after(async () => {
    await system?.stop();
    await folder.remove();
  });

  test('its least replicas are the processes that run', () => {
    const processes = Object.fromEntries(system.run.workloads.map((service) => [service.name, service.pids().length]));
    assert.deepEqual(processes, {
      'api-write-service': 1,
      'api-read-service': 1,
      'outbox-relay': 1,
      'stock-service': 3,
      'inventory-service': 1,
      'order-status': 1,
      'notification-service': 1,
      'analytics-service': 1,
    });
  });

  test('its event patterns and its source decide who gets which event', async () => {
    const fed = await system.feed(40, 40);
    assert.equal(fed.accepted.length, 40);
    assert.ok(await system.pipeline.settle());
    const summary = await system.pipeline.summarize(fed, true);
    assertAllTrue(summary.invariants);
    const { confirmed, rejected } = summary.orders;
    assert.ok(confirmed > 0 && rejected > 0);

    const { database } = system.pipeline;
    const { rows: notices } = await database.query('SELECT outcome, count(*)::int AS count FROM notification.notification GROUP BY outcome');
    assert.deepEqual(notices, [{ outcome: 'REJECTED', count: rejected }]);
    const { rows: [counted] } = await database.query(
      'SELECT sum(accepted)::int AS accepted, sum(confirmed)::int AS confirmed, sum(rejected)::int AS rejected FROM analytics.order_minute');
    assert.deepEqual(counted, { accepted: 40, confirmed, rejected: 0 });
  });

  test('its maxReceiveCount decides when a message is dead', async () => {
    const poison = { detailType: 'OrderCreated', detail: '{"poison":1}' };
    await putEvent(system, { ...poison, source: 'com.example.variant' });
    // The usual source is nobody's here.
    await putEvent(system, { ...poison, source: 'com.example.orders' });
    await until('the poison is dead', () => deadLettersOf(system, 'stock-service').length, (count) => count > 0);
    assert.deepEqual(failedReceives(system, 'stock-service'), [1, 2]);
    assert.equal(deadLettersOf(system, 'stock-service').length, 1);
  });
});
