import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { EventBridgeClient } from '@aws-sdk/client-eventbridge';
import { runRelay } from './relay.ts';
import { acceptOrders, type NewOrder } from '../order-service/api-write-service/intake.ts';
import { newEvent, newId, type EventEnvelope } from '../shared/events/index.ts';
import { eventually, silentLogger, startTestServer } from '../shared/testing.ts';

const TIMEOUT = 'idle_in_transaction_session_timeout';
/** What the migration sets is shortened by this, so that the test need not wait for it. */
const SHORTER = 30;

function order(): NewOrder {
  const orderId = newId();
  const createdAt = new Date();
  const event = newEvent({
    type: 'order.created',
    source: '/order-service',
    subject: orderId,
    sequence: 1,
    cause: { id: newId() },
    data: { orderId, customerId: 'c', items: [{ sku: 'A', quantity: 1 }], createdAt: createdAt.toISOString() },
  });
  return {
    orderId,
    customerId: 'c',
    items: [{ sku: 'A', quantity: 1 }],
    createdAt,
    traceparent: event.traceparent!,
    causeId: newId(),
    idempotency: undefined,
    event: { id: event.id, envelope: JSON.stringify(event) },
  };
}

test('a session that has written and stays idle is ended by the server, and orders go on', { timeout: 60_000 }, async (t) => {
  const server = await startTestServer();
  const ends = [() => server.stop()];
  t.after(async () => {
    for (const end of ends.reverse()) await end();
  });
  const db = await server.database({ workload: 'outbox-relay', logins: ['api-write-service'] });
  await db.admin.query('INSERT INTO inventory.product (sku, name) VALUES (\'A\', \'A thing\')');
  const role = `${db.name}_api-write-service`;
  // Without the parameter, there is nothing to be shortened.
  const { rows: [limit] } = await db.admin.query<{ ms: number }>(`SELECT extract(epoch FROM split_part(setting, '=', 2)::interval) * 1000 AS ms
    FROM pg_db_role_setting, unnest(setconfig) AS setting WHERE setrole = $1::regrole AND setting LIKE $2`, [`"${role}"`, `${TIMEOUT}=%`]);
  if (limit) await db.admin.query(`ALTER ROLE "${role}" IN DATABASE ${db.name} SET ${TIMEOUT} = ${Math.ceil(limit.ms / SHORTER)}`);

  const published: string[] = [];
  const bus = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const { Entries } = JSON.parse(Buffer.concat(chunks).toString()) as { Entries: { Detail: string }[] };
    published.push(...Entries.map(({ Detail }) => (JSON.parse(Detail) as EventEnvelope).subject));
    response.setHeader('content-type', 'application/x-amz-json-1.1').end(JSON.stringify({ FailedEntryCount: 0, Entries: Entries.map(() => ({ EventId: newId() })) }));
  });
  await new Promise<void>((resolve) => bus.listen(0, '127.0.0.1', resolve));
  const client = new EventBridgeClient({
    endpoint: `http://127.0.0.1:${(bus.address() as AddressInfo).port}`, region: 'eu-central-1', credentials: { accessKeyId: 'test', secretAccessKey: 'test' },
  });
  const relay = runRelay({ pool: db.command, client, busName: 'orders', source: 'com.example.orders', logger: silentLogger() });
  ends.push(async () => {
    await relay.stop();
    client.destroy();
    bus.closeAllConnections();
    bus.close();
  });

  const pool = db.as('api-write-service', 2);
  const [forgotten, later] = [order(), order()];
  const session = await pool.connect();
  const ended = new Promise<Error & { code?: string }>((resolve) => session.on('error', resolve));
  await session.query('BEGIN');
  assert.deepEqual(await acceptOrders([forgotten], session), [{ result: 'accepted', orderId: forgotten.orderId }]);
  assert.deepEqual(await acceptOrders([later], pool), [{ result: 'accepted', orderId: later.orderId }]);
  assert.deepEqual(published, [], 'the order of events would be lost without the one that may still come');
  await eventually(() => published.length, (count) => count > 0, 10_000);
  assert.equal((await ended).code, '25P03');
  assert.deepEqual(published, [later.orderId]);
  assert.deepEqual((await db.admin.query('SELECT order_id FROM orders.orders')).rows, [{ order_id: later.orderId }]);
});
