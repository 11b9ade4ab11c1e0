import assert from 'node:assert/strict';
import { test } from 'node:test';
import { randomOrders, readCatalog, readSampleOrders } from './orders.ts';
import type { OrderBody } from './orders.ts';

type Items = { sku?: string; product_id?: string; quantity: number }[];
const lines = (body: OrderBody) => (body.items as Items).map(({ sku, product_id, quantity }) => ({ sku: sku ?? product_id ?? '', quantity }));
const stock = new Map(readCatalog().map(({ sku, onHand }) => [sku, onHand]));

test('the catalogue holds 40 products, those of the documents among them, some of them scarce', () => {
  assert.equal(stock.size, 40);
  assert.equal(readCatalog().length, 40);
  for (const sku of ['SKU-101', 'SKU-123', 'prod-1']) assert.ok(stock.has(sku), sku);
  assert.ok([...stock.values()].filter((onHand) => onHand <= 20).length >= 5);
});

test('whatever the order in which the sample orders arrive, what the file expects of each must happen', () => {
  const samples = readSampleOrders();
  const demand = new Map<string, number>();
  for (const { body, expect } of samples) {
    const wanted = lines(body);
    assert.equal(new Set(wanted.map(({ sku }) => sku)).size, wanted.length, 'no SKU twice');
    for (const { sku, quantity } of wanted) {
      assert.ok(stock.has(sku) && Number.isInteger(quantity) && quantity > 0 && quantity <= 10_000, sku);
    }
    const fits = wanted.every(({ sku, quantity }) => quantity <= stock.get(sku)!);
    if (expect === 'REJECTED') assert.ok(!fits, JSON.stringify(body));
    if (expect === 'CONFIRMED') for (const { sku, quantity } of wanted) demand.set(sku, (demand.get(sku) ?? 0) + quantity);
  }
  for (const [sku, quantity] of demand) assert.ok(quantity <= stock.get(sku)!, sku);
  for (const expect of ['CONFIRMED', 'REJECTED', 'EITHER']) assert.ok(samples.some((sample) => sample.expect === expect), expect);
});

test('random orders are valid, repeat with their seed and differ with another', () => {
  const orders = [...randomOrders(2000, 42)];
  assert.deepEqual(orders, [...randomOrders(2000, 42)]);
  assert.notDeepEqual(orders, [...randomOrders(2000, 43)]);
  for (const { body, expect } of orders) {
    const wanted = lines(body);
    assert.ok(wanted.length > 0 && new Set(wanted.map(({ sku }) => sku)).size === wanted.length);
    assert.ok(wanted.every(({ sku, quantity }) => stock.has(sku) && Number.isInteger(quantity) && quantity >= 1 && quantity <= 10_000));
    assert.equal(expect === 'REJECTED', wanted.some(({ sku, quantity }) => quantity > stock.get(sku)!));
  }
  assert.ok(orders.some(({ expect }) => expect === 'REJECTED'));
  assert.ok(orders.some(({ body }) => 'customer_id' in body) && orders.some(({ body }) => 'customerId' in body));
});

test('a catalogue with nothing scarce, or nothing else, still gives orders', () => {
  assert.equal([...randomOrders(50, 1, [{ sku: 'A', name: 'A', onHand: Infinity }])].length, 50);
  assert.equal([...randomOrders(50, 1, [{ sku: 'A', name: 'A', onHand: 1 }])].length, 50);
});
