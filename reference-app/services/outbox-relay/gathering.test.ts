import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gatheringConfig, parseGathering } from './gathering.ts';

test('the kinds of events that gather are read from one variable, and a wrong name is an error', () => {
  assert.deepEqual(parseGathering(''), []);
  assert.deepEqual(parseGathering('OrderCreated=70,InventoryUpdated:DEDUCTED=250'), [
    { detailType: 'OrderCreated', ms: 70 }, { detailType: 'InventoryUpdated', outcome: 'DEDUCTED', ms: 250 },
  ]);
  assert.throws(() => parseGathering('OrderCreate=70'), /RELAY_GATHER_MS names OrderCreate, which is no detail type; there is OrderCreated, /);
  const pattern = new RegExp((gatheringConfig.RELAY_GATHER_MS as unknown as { pattern: string }).pattern);
  for (const wrong of ['OrderCreated', 'OrderCreated=', 'OrderCreated=1.5', 'OrderCreated=70,', 'OrderCreated=99999']) assert.doesNotMatch(wrong, pattern);
});
