/**
 * How many events a second the endpoint takes from PutEvents to the delivery function, with the SDK client in the same process:
 * `node local/eventbridge/throughput.ts [seconds]`. Rules as in the reference app, an archive on disk, a delivery function
 * that does nothing.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EventBridgeClient, PutEventsCommand } from '@aws-sdk/client-eventbridge';
import { EventBridge } from './event-bridge.ts';

const seconds = Number(process.argv[2] ?? '5');
const IN_FLIGHT = 8;
const dataDir = mkdtempSync(join(tmpdir(), 'throughput-'));
const bus = new EventBridge({ deliver: async () => {}, dataDir });
const { Arn } = bus.createBus('orders');
const wanted = {
  'stock': ['OrderCreated'],
  'inventory': ['StockValidated', 'OrderConfirmed'],
  'order-status': ['InventoryUpdated'],
  'analytics': ['OrderCreated', 'OrderConfirmed', 'OrderRejected', 'InventoryUpdated'],
  'notification': ['OrderConfirmed', 'OrderRejected', 'InventoryUpdated'],
};
for (const [name, types] of Object.entries(wanted)) {
  const detail = name === 'order-status' ? { detail: { data: { outcome: ['RESERVED', 'REJECTED'] } } } : {};
  bus.putRule({ Name: name, EventBusName: 'orders', EventPattern: { 'source': ['com.example.orders'], 'detail-type': types, ...detail } });
  bus.putTargets(name, 'orders', [{ Id: 'queue', Arn: `arn:aws:sqs:us-east-1:000000000000:${name}` }]);
}
await bus.createArchive({ ArchiveName: 'all', EventSourceArn: Arn });
const { url } = await bus.start();
const client = new EventBridgeClient({ endpoint: url, region: 'us-east-1', credentials: { accessKeyId: 'test', secretAccessKey: 'test' } });

const Entries = [
  'OrderCreated',
  'StockValidated',
  'InventoryUpdated',
  'OrderConfirmed',
  'OrderCreated',
  'StockValidated',
  'InventoryUpdated',
  'OrderConfirmed',
  'OrderCreated',
  'OrderRejected',
].map((DetailType, n) => ({
  Source: 'com.example.orders',
  DetailType,
  EventBusName: 'orders',
  Detail: JSON.stringify({
    specversion: '1.0',
    id: `0190b5a0-0000-7000-8000-${String(n).padStart(12, '0')}`,
    source: '/order-service',
    type: DetailType,
    subject: 'order',
    time: new Date().toISOString(),
    partitionkey: 'order',
    sequence: '1',
    traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
    data: {
      orderId: 'order',
      outcome: 'RESERVED',
      lines: [
        { sku: 'SKU-101', quantity: 2 },
        { sku: 'SKU-102', quantity: 1 },
      ],
    },
  }),
}));

const started = performance.now();
const cpu = process.cpuUsage();
const until = started + seconds * 1000;
await Promise.all(
  Array.from({ length: IN_FLIGHT }, async () => {
    while (performance.now() < until) await client.send(new PutEventsCommand({ Entries }));
  }),
);
const elapsed = (performance.now() - started) / 1000;
const { user, system } = process.cpuUsage(cpu);
const { published, delivered, archived } = bus.counters();
console.log(
  `${Math.round(published / elapsed)} events/s, ${Math.round(delivered / elapsed)} deliveries/s, ${archived} archived, ` +
    `${((user + system) / published).toFixed(0)} µs of processor time per event, the client's included`,
);
client.destroy();
await bus.stop();
rmSync(dataDir, { recursive: true, force: true });
