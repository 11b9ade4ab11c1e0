import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compilePattern, matchesPattern } from 'cdk-local-run/eventbridge/pattern';
import { defaultSettings, detailTypesOf } from './settings.ts';

test('every event goes to the consumers that need it, and to no other', () => {
  const subscribers = (detailType: string, data: object) => Object.entries(defaultSettings.consumers)
    .filter(([, consumer]) => matchesPattern(
      compilePattern({ 'detail-type': detailTypesOf(consumer), ...'detail' in consumer.events && { detail: consumer.events.detail } }),
      { 'detail-type': detailType, 'detail': { data } },
    ))
    .map(([serviceName]) => serviceName);

  assert.deepEqual(subscribers('OrderCreated', {}), ['stock-service', 'analytics-service']);
  assert.deepEqual(subscribers('StockValidated', { sufficient: false }), ['inventory-service']);
  assert.deepEqual(subscribers('InventoryUpdated', { outcome: 'RESERVED' }), ['order-status', 'analytics-service']);
  assert.deepEqual(subscribers('InventoryUpdated', { outcome: 'REJECTED' }), ['order-status', 'analytics-service']);
  assert.deepEqual(subscribers('InventoryUpdated', { outcome: 'DEDUCTED' }), ['notification-service', 'analytics-service']);
  assert.deepEqual(subscribers('OrderConfirmed', {}), ['inventory-service', 'notification-service', 'analytics-service']);
  assert.deepEqual(subscribers('OrderRejected', { reason: 'INSUFFICIENT_STOCK' }), ['notification-service', 'analytics-service']);
});
