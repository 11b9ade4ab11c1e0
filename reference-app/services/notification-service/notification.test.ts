import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, test } from 'node:test';
import { claimed } from './delivery.ts';
import { createNotificationHandler } from './handler.ts';
import { newEvent, newId, type EventEnvelope } from '../shared/events/index.ts';
import { handleOnce } from '../shared/messaging/inbox.ts';
import { runDelivery } from '../shared/notifications/delivery.ts';
import { createSender, type Notification, type NotificationSender } from '../shared/notifications/sender.ts';
import { createLogger } from '../shared/telemetry.ts';
import { eventually, silentLogger, startTestServer, type TestDatabase, type TestServer } from '../shared/testing.ts';

let server: TestServer;
let db: TestDatabase;
before(async () => {
  server = await startTestServer();
  db = await server.database({ workload: 'notification-service' });
});
after(() => server.stop());

const at = new Date().toISOString();

function confirmed(orderId: string): EventEnvelope<'order.confirmed'> {
  const data = { orderId, customerId: 'jane', version: 2, confirmedAt: at };
  return newEvent({ type: 'order.confirmed', source: '/order-service', subject: orderId, sequence: 2, cause: { id: newId() }, data });
}

function updated(orderId: string, outcome: 'RESERVED' | 'DEDUCTED'): EventEnvelope<'inventory.updated'> {
  return newEvent({
    type: 'inventory.updated',
    source: '/inventory-service',
    subject: orderId,
    sequence: 1,
    cause: { id: newId() },
    data: { orderId, reservationId: newId(), outcome, lines: [], shortages: [] },
  });
}

async function order(): Promise<string> {
  const orderId = newId();
  await db.admin.query('INSERT INTO orders.orders (order_id, customer_id, status, version) VALUES ($1, \'jane\', \'CONFIRMED\', 2)', [orderId]);
  return orderId;
}

const unsent = async () => (await db.admin.query<{ n: number }>('SELECT count(*)::int AS n FROM notification.notification WHERE sent_at IS NULL')).rows[0]!.n;

function recorder(
  fails: (notification: Notification) => boolean = () => false,
): NotificationSender & { sent: Notification[]; keys: string[] } {
  const sent: Notification[] = [];
  const keys: string[] = [];
  return {
    channel: 'test',
    sent,
    keys,
    async send(notification, key) {
      if (fails(notification)) throw new Error('mailbox full');
      sent.push(notification);
      keys.push(key);
    },
  };
}

test('one record per order and outcome, whatever comes twice, sent with the customer of the order', async () => {
  const sender = recorder();
  const delivery = runDelivery({ deliver: claimed(db.command, sender), sender, logger: silentLogger(), pollMs: 60_000 });
  const handler = createNotificationHandler(() => delivery.wake());
  const orderId = await order();
  const outcomes = await handleOnce(handler, [confirmed(orderId), confirmed(orderId), updated(orderId, 'RESERVED'), updated(orderId, 'DEDUCTED')], db.command);
  assert.deepEqual(outcomes.map(({ result }) => result), ['ok', 'duplicate', 'ignored', 'ok']);
  assert.equal((await handleOnce(handler, [confirmed(orderId)], db.command))[0]?.result, 'duplicate');
  await eventually(unsent, (n) => n === 0);
  await delivery.stop();
  assert.deepEqual(sender.sent.map(({ outcome, customerId }) => [outcome, customerId]).sort(), [['CONFIRMED', 'jane'], ['DEDUCTED', 'jane']]);
  assert.deepEqual([...sender.keys].sort(), [`${orderId}/1/DEDUCTED`, `${orderId}/2/CONFIRMED`]);
  const { rows } = await db.admin.query('SELECT channel, attempts FROM notification.notification WHERE order_id = $1', [orderId]);
  assert.deepEqual(rows, [{ channel: 'test', attempts: 1 }, { channel: 'test', attempts: 1 }]);
});

test('a notification that fails is sent again until it works, and holds up no other', async () => {
  const [bad, good] = [await order(), await order()];
  let failures = 0;
  const sender = recorder(({ orderId }) => orderId === bad && ++failures < 4);
  const delivery = runDelivery({
    deliver: claimed(db.command, sender), sender, logger: silentLogger(), pollMs: 10, firstBackOffSeconds: 0.02,
  });
  const handler = createNotificationHandler(() => delivery.wake());
  await handleOnce(handler, [confirmed(bad), confirmed(good)], db.command);
  await eventually(unsent, (n) => n === 0);
  await delivery.stop();
  assert.deepEqual(sender.sent.map(({ orderId }) => orderId), [good, bad]);
  const { rows: [row] } = await db.admin.query('SELECT attempts, last_error FROM notification.notification WHERE order_id = $1', [bad]);
  assert.deepEqual(row, { attempts: 4, last_error: null });
});

test('what a process recorded and did not send before it ended is sent by the next; two at once send each only once', async () => {
  const handler = createNotificationHandler(() => undefined);
  const orders = await Promise.all(Array.from({ length: 50 }, order));
  await handleOnce(handler, orders.map(confirmed), db.command);
  assert.equal(await unsent(), 50);
  const senders = [recorder(), recorder()];
  const deliveries = senders.map((sender) => runDelivery({
    deliver: claimed(db.command, { ...sender, batchSize: 7 }), sender, logger: silentLogger(), pollMs: 10,
  }));
  await eventually(unsent, (n) => n === 0);
  await Promise.all(deliveries.map((delivery) => delivery.stop()));
  assert.deepEqual(senders.flatMap(({ sent }) => sent.map(({ orderId }) => orderId)).sort(), [...orders].sort());
});

test('the log sender writes order, outcome, customer and trace', async () => {
  const lines: string[] = [];
  const logger = createLogger({ service: 'notification-service' }, { write: (line) => void lines.push(line) });
  await createSender({ NOTIFICATION_SENDER: 'log' }, logger)
    .send({ orderId: 'o', outcome: 'CONFIRMED', customerId: 'jane', traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' }, 'o/CONFIRMED');
  const { time, ...line } = JSON.parse(lines[0]!) as Record<string, unknown>;
  assert.ok(time);
  assert.deepEqual(line, {
    level: 'info', service: 'notification-service', orderId: 'o', outcome: 'CONFIRMED', customerId: 'jane', traceId: '0af7651916cd43dd8448eb211c80319c', message: 'notification',
  });
});

test('the webhook sender posts JSON with a key, and takes anything but 2xx for a failure', async () => {
  const got: { key: string | undefined; body: string }[] = [];
  let status = 204;
  const http = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk: Buffer) => (body += chunk.toString()));
    request.on('end', () => {
      got.push({ key: request.headers['idempotency-key'] as string, body });
      response.writeHead(status).end();
    });
  });
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(http.address() as AddressInfo).port}/hook`;
  const sender = createSender({ NOTIFICATION_SENDER: 'webhook', NOTIFICATION_URL: url }, silentLogger());
  const notification = { orderId: 'o', outcome: 'REJECTED', customerId: 'jane', traceparent: undefined };
  await sender.send(notification, 'o/REJECTED');
  assert.deepEqual(got, [{ key: 'o/REJECTED', body: '{"orderId":"o","outcome":"REJECTED","customerId":"jane"}' }]);
  status = 503;
  await assert.rejects(sender.send(notification, 'o/REJECTED'), /answered 503/);
  assert.throws(() => createSender({ NOTIFICATION_SENDER: 'webhook' }, silentLogger()), /NOTIFICATION_URL is missing/);
  http.closeAllConnections();
  http.close();
});
