import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { eventsPerEntry, messagesOfAnOrder, ordersPerSecondAt } from './cost-calculator/bundles.ts';
import { breakEven, month, table } from './cost-calculator/month.ts';
import { calculate, measuredFrom, readInput, type Input } from './cost-calculator.ts';

const input: Input = {
  rate: 100,
  peak: 100,
  region: 'us-east-1',
  deliveries: 2,
  events: 3,
  batch: 10,
  bundleKb: 0,
  lingerMs: 40,
  readReplicas: 1,
  measured: { from: 'a test', databaseMicros: 600, walBytes: 8_192, nodeMicros: { 'api-write-service': 6_000, 'outbox-relay': 1 } },
};

test('messaging of three events and two queues costs what the price lists say', () => {
  const { dollarsPerMillion } = calculate(input);
  assert.ok(Math.abs(dollarsPerMillion.eventBridge + dollarsPerMillion.sqs - 3.96) < 1e-9);
  const unbatched = calculate({ ...input, batch: 1 }).dollarsPerMillion;
  assert.ok(Math.abs(unbatched.eventBridge + unbatched.sqs - 5.4) < 1e-9);
  assert.ok(Math.abs(dollarsPerMillion.auroraIo - 0.4) < 1e-9, 'two I/Os per order');
});

const near = (a: number, b: number) => assert.ok(Math.abs(a - b) <= 1e-6 * Math.abs(b), `${a} is not ${b}`);

test('an entry holds what gathers in the time between two of them, up to its size, and messaging costs by entries', () => {
  const app = { ...input, ...messagesOfAnOrder(), bundleKb: 60 };
  const at = (rate: number, lingerMs = 40) => calculate({ ...app, rate, peak: rate, lingerMs });
  const gathered = (mean: number) => mean / (1 - Math.exp(-mean));
  near(at(100).eventBridge.eventsPerEntry, gathered(4));
  assert.deepEqual([at(100, 0), at(1e6)].map(({ eventBridge }) => eventBridge.eventsPerEntry), [1, 74]);
  near(at(100).messaging.dollarsPerMillion, (5 + 10 * 1.2 * 0.4) / gathered(4));
  near(at(100).messaging.oneMessagePerRequest, (5 + 10 * 3 * 0.4) / gathered(4));
  near(at(100).messaging.withoutBundles, 9.8);
  // 1,000 events a second are 25 in 25 ms; from 1,250 on it is half of 40 ms.
  near(at(200).messaging.dollarsPerMillion, (5 + 10 * 1.2 * 0.4) / gathered(5));
  near(at(250).eventBridge.eventsPerEntry, gathered(5));
  // Ten messages of 8.0 events are 65,622 bytes: two requests on the bill.
  near(at(400).messaging.dollarsPerMillion, (5 + 10 * 1.3 * 0.4) / gathered(8));
});

test('the quota ends later with bundles, since they grow with the rate', () => {
  const app = { ...input, ...messagesOfAnOrder() };
  const end = (bundleKb: number) => calculate({ ...app, bundleKb }).eventBridge.ordersPerSecondAtQuota;
  assert.deepEqual([end(0), end(60)], [1_875, 1_875 * 74]);
  assert.equal(end(3), 1_875 * 3);
  // Between the two it is where the invocations of the bundles are as many.
  const bundles = { bundleKb: 60, lingerMs: 40, events: 5 };
  const rate = ordersPerSecondAt(200, 10, bundles);
  near((rate * 10) / eventsPerEntry(rate, bundles), 200);
});

test('the events and messages of an order are those of the settings', () => {
  assert.deepEqual(messagesOfAnOrder(), { events: 5, deliveries: 10 });
});

test('the quota is that of the region, and of most regions elsewhere', () => {
  assert.equal(calculate(input).eventBridge.ordersPerSecondAtQuota, 9_375);
  assert.equal(calculate({ ...input, region: 'eu-central-1' }).eventBridge.ordersPerSecondAtQuota, 2_250);
  const small = calculate({ ...input, region: 'sa-east-1', peak: 1_100 }).eventBridge;
  assert.deepEqual([small.quota, small.shareOfQuota], [1_100, 2]);
});

test('capacity follows processor time at sixty percent', () => {
  // 100 × 600 µs = 0.06 vCPU, at 60 % 0.1, times four: half an ACU. Ten times the peak: 4.
  assert.equal(calculate(input).aurora.acusAtRate, 0.5);
  assert.equal(calculate({ ...input, peak: 1_000 }).aurora.acusAtPeak, 4);
  assert.deepEqual(calculate({ ...input, peak: 1_000 }).pods, { 'api-write-service': 10, 'outbox-relay': 2 });
});

test('a slower month costs more per order: what runs anyway is shared by fewer', () => {
  const slow = calculate({ ...input, rate: 1, peak: 1 }).dollarsPerMillion;
  assert.ok(slow.total > calculate(input).dollarsPerMillion.total);
  assert.equal(slow.eventBridge, calculate(input).dollarsPerMillion.eventBridge);
});

test('stages of the bench become workloads', () => {
  const measured = measuredFrom([
    { stage: 'inventory-service, reserve', database: 30, node: 20, walBytes: 3_000 },
    { stage: 'inventory-service, deduct', database: 10, node: 5, walBytes: 1_000 },
    { stage: 'relay (per event)', database: 1, node: 2, walBytes: 10 },
  ], 'a test', 5);
  assert.deepEqual([measured.databaseMicros, measured.walBytes, measured.nodeMicros['inventory-service'], measured.nodeMicros['outbox-relay']], [45, 4_050, 25, 10]);
});

test('wrong usage names the option', () => {
  assert.throws(() => readInput(['--rate', 'many']), /--rate expects a number/);
  assert.throws(() => readInput(['--region', 'here']), /--region expects/);
  assert.throws(() => readInput(['--peak', '1', '--rate', '10']), /--peak expects a number from 10/);
  assert.throws(() => readInput(['--bundle-kb', '65']), /--bundle-kb expects a number from 0 to 64/);
  assert.equal(readInput(['--help']), undefined);
  assert.equal(readInput(['--rate', '7'])?.peak, 7);
});

test('a month costs what runs anyway, and what the orders add', () => {
  const { items } = month(input, calculate(input));
  const of = (name: string) => items.find(({ item }) => item === name)!;
  assert.deepEqual([of('EKS cluster').idle, of('EKS cluster').atRate], [73, 73]);
  // 262.8 million orders of three events.
  assert.ok(Math.abs(of('EventBridge').atRate - 788.4) < 1e-6);
  assert.equal(of('EventBridge').idle, 0);
  assert.ok(items.every(({ idle, atRate }) => atRate >= idle));
  const busy = { ...input, rate: 1_000 };
  const nodes = month(busy, calculate(busy)).items.find(({ item }) => item === 'nodes')!;
  // 1,000 × 6 ms of an API are six processors: 35 pods that are 70 % busy.
  assert.ok(Math.abs((nodes.atRate - nodes.idle) / nodes.idle - (35 - 2) * 0.25 / 5.2) < 1e-9);
});

test('an interface endpoint pays when it saves more on the NAT gateways than its hours cost', () => {
  const [sqs] = breakEven({ events: 5, deliveries: 10 });
  // 29.20 dollars for two zones and two services; one is 14.60, which is 417 GB at 3.5 cents.
  const orders = 14.6 / 0.035 * 1e9 / 25_000;
  assert.ok(Math.abs(sqs!.ordersPerSecond - orders / 730 / 3600) < 1e-9);
});

test('the table in docs/deploy.md is the one of the command', () => {
  const args = readInput(['--rate', '100', '--month'])!;
  const text = readFileSync(new URL('../../docs/deploy.md', import.meta.url), 'utf8');
  assert.ok(text.includes(`\n${table(month(args, calculate(args)))}\n`), 'write the output of node reference-app/scripts/cost-calculator.ts --rate 100 --month there');
});
