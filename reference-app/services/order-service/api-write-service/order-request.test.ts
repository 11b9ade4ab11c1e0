import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseEntries, parseOrderRequest } from './order-request.ts';
import { Problem } from '../../shared/http/problem.ts';

const caller = { customerId: 'anna' };
const problemOf = (body: unknown): Problem => {
  try {
    parseOrderRequest(body, caller);
  } catch (error) {
    if (error instanceof Problem) return error;
    throw error;
  }
  return assert.fail('It is refused.');
};

test('errors are not looked for behind those that are named', () => {
  let looks = 0;
  const watched = <T extends object>(value: T, name: string): T => Object.defineProperty(value, name, {
    enumerable: true,
    get: () => {
      looks++;
      return 1;
    },
  });
  const items = Array.from({ length: 999 }, (_, n) => ({ sku: `SKU-${n}`, quantity: n }));
  const long = problemOf({ items: [...items, watched({ quantity: 1 }, 'sku')] });
  assert.equal(long.message, 'items[0].quantity must be a whole number from 1 to 10000; items must be a list of 1 to 100 items');
  assert.equal(looks, 0);
  const wide = problemOf(watched(Object.fromEntries(Array.from({ length: 999 }, (_, n) => [`field${n}`, 1])), 'last'));
  assert.match(wide.message, /^items is missing; .*field0 is not a known field; remove it/);
  assert.equal(looks, 1, 'once, when the customer of the token is added');
});

test('others have their turn while a batch of wrong orders is read', async () => {
  let turns = 0;
  let reads = true;
  const others = () => setImmediate(() => {
    turns++;
    if (reads) others();
  });
  others();
  const wrong = Array.from({ length: 500 }, () => ({ items: Array.from({ length: 100 }, () => 1) }));
  const parsed = await parseEntries([{ items: [{ sku: 'SKU-1', quantity: 1 }], idempotencyKey: 'one' }, ...wrong], caller);
  reads = false;
  assert.ok(turns >= 20, String(turns));
  assert.deepEqual(parsed[0], { order: { style: 'camel', customerId: 'anna', items: [{ sku: 'SKU-1', quantity: 1 }] }, key: 'one', keyField: 'idempotencyKey' });
  assert.deepEqual(parsed.slice(1).map((entry) => entry instanceof Problem && entry.problem), wrong.map(() => 'validation'));
});
