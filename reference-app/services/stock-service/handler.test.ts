import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { after, before, test } from 'node:test';
import pg from 'pg';
import { createStockHandler } from './handler.ts';
import type { Pool } from '../shared/database.ts';
import { newEvent, newId, type EventEnvelope } from '../shared/events/index.ts';
import { handleOnce } from '../shared/messaging/inbox.ts';
import { eventually, silentLogger, startTestServer, type TestDatabase, type TestServer } from '../shared/testing.ts';

let server: TestServer;
let db: TestDatabase;
let replica: Pool;
before(async () => {
  server = await startTestServer({ replica: true });
  db = await server.database({ workload: 'stock-service' });
  await db.admin.query(`INSERT INTO inventory.product VALUES ('A', 'A'), ('B', 'B');
    INSERT INTO inventory.stock_level (sku, location, on_hand, reserved) VALUES ('A', 'MAIN', 5, 2), ('A', 'WEST', 4, 0), ('B', 'MAIN', 1, 1)`);
  const { port, user, password } = server.postgres.reader!;
  replica = new pg.Pool({ host: '127.0.0.1', port, user, password, database: db.name });
  replica.on('error', () => undefined);
  await eventually(() => replica.query('SELECT FROM inventory.stock_level').catch(() => ({ rowCount: 0 })), ({ rowCount }) => rowCount === 3);
});
after(async () => {
  await replica.end();
  await server.stop();
});

function created(items: { sku: string; quantity: number }[]): EventEnvelope<'order.created'> {
  const orderId = newId();
  return newEvent({
    type: 'order.created',
    source: '/order-service',
    subject: orderId,
    sequence: 1,
    cause: { id: newId() },
    data: { orderId, customerId: 'c', items, createdAt: new Date().toISOString() },
  });
}

/** Takes connections and says nothing. */
async function silentServer() {
  const sockets: Socket[] = [];
  const silent = createServer((socket) => void sockets.push(socket.on('error', () => undefined)));
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
  return {
    port: (silent.address() as AddressInfo).port,
    stop() {
      silent.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

async function answers(orders: readonly EventEnvelope[]) {
  const ids = orders.map(({ subject }) => subject);
  const { rows } = await db.admin.query<{ envelope: string }>('SELECT envelope FROM messaging.outbox WHERE aggregate_id = ANY ($1) ORDER BY id', [ids]);
  return rows.map(({ envelope }) => JSON.parse(envelope) as EventEnvelope<'inventory.validated'>);
}

test('tells what the replica has, summed over locations, per SKU of the order', async () => {
  const handler = createStockHandler({ reader: replica, writer: db.command, logger: silentLogger() });
  const orders = [
    created([{ sku: 'B', quantity: 1 }, { sku: 'A', quantity: 7 }]), created([{ sku: 'A', quantity: 7 }]), created([{ sku: 'nowhere', quantity: 1 }]),
  ];
  await handleOnce(handler, orders, db.command);
  const said = await answers(orders);
  assert.deepEqual(said.map(({ data }) => ({ lines: data.lines, sufficient: data.sufficient })), [
    { lines: [{ sku: 'A', requested: 7, available: 7 }, { sku: 'B', requested: 1, available: 0 }], sufficient: false },
    { lines: [{ sku: 'A', requested: 7, available: 7 }], sufficient: true },
    { lines: [{ sku: 'nowhere', requested: 1, available: 0 }], sufficient: false },
  ]);
  assert.deepEqual(said.map(({ causationid }) => causationid), orders.map(({ id }) => id));
});

test('reads the replica, not the writer: stock that has not arrived there is not seen', async () => {
  await server.postgres.pauseReplay();
  try {
    await db.admin.query('UPDATE inventory.stock_level SET on_hand = 100 WHERE sku = \'B\'');
    const orders = [created([{ sku: 'B', quantity: 1 }])];
    await handleOnce(createStockHandler({ reader: replica, writer: db.command, logger: silentLogger() }), orders, db.command);
    assert.equal((await answers(orders))[0]!.data.lines[0]!.available, 0);
  } finally {
    await server.postgres.resumeReplay();
  }
});

test('advice never holds up an order: a reader that hangs or refuses is replaced by the writer', async (t) => {
  const { port, stop } = await silentServer();
  t.after(stop);
  const hanging = new pg.Pool({ host: '127.0.0.1', port, user: 'x', connectionTimeoutMillis: 60_000 });
  const refused = new pg.Pool({ host: '127.0.0.1', port: 1, user: 'x' });
  for (const reader of [hanging, refused]) {
    const orders = [created([{ sku: 'A', quantity: 1 }])];
    await handleOnce(createStockHandler({ reader, writer: db.command, logger: silentLogger(), readerTimeoutMs: 100 }), orders, db.command);
    assert.equal((await answers(orders))[0]!.data.lines[0]!.available, 7);
  }
  await refused.end();
});

test('a reader that did not answer is left alone for a while', async (t) => {
  const { port, stop } = await silentServer();
  t.after(stop);
  const hanging = new pg.Pool({ host: '127.0.0.1', port, user: 'x', connectionTimeoutMillis: 60_000, max: 100 });
  const handle = async (handler: ReturnType<typeof createStockHandler>) => {
    const orders = [created([{ sku: 'A', quantity: 1 }])];
    await handleOnce(handler, orders, db.command);
    assert.equal((await answers(orders))[0]!.data.lines[0]!.available, 7);
  };
  // Each time that it is asked opens a connection, as none gets ready.
  const resting = createStockHandler({
    reader: hanging, writer: db.command, logger: silentLogger(), readerTimeoutMs: 100, readerRestMs: 60_000,
  });
  for (let n = 0; n < 5; n++) await handle(resting);
  await Promise.all(Array.from({ length: 5 }, () => handle(resting)));
  assert.equal(hanging.totalCount, 1);
  const rested = createStockHandler({ reader: hanging, writer: db.command, logger: silentLogger(), readerTimeoutMs: 100, readerRestMs: 1 });
  await handle(rested);
  await eventually(async () => {
    await handle(rested);
    return hanging.totalCount;
  }, (asked) => asked >= 3);
});

test('an order is answered once, though its event comes again beside new ones, or long after', async () => {
  const statements: string[] = [];
  const pool = new Proxy(db.command, {
    get: (target, name) => (name !== 'query' ? Reflect.get(target, name) as unknown : (query: { name: string }) => {
      statements.push(query.name);
      return target.query(query as never);
    }),
  });
  const handler = createStockHandler({ reader: db.command, writer: db.command, logger: silentLogger() });
  const [first, second] = [created([{ sku: 'A', quantity: 1 }]), created([{ sku: 'A', quantity: 1 }])];
  // As old as what the inbox has forgotten.
  const old = { ...created([{ sku: 'A', quantity: 1 }]), id: '019a0000-0000-7000-8000-000000000001' };
  assert.deepEqual((await handler.handle([first], pool)).map(({ result }) => result), ['ok']);
  assert.deepEqual(statements, ['inbox-answer'], 'one statement for new events');
  assert.deepEqual((await handler.handle([first, second], pool)).map(({ result }) => result), ['duplicate', 'ok']);
  await db.admin.query('INSERT INTO messaging.forgotten VALUES (\'inbox\', now() - interval \'1 hour\')');
  assert.deepEqual((await handler.handle([old], pool)).map(({ result }) => result), ['duplicate']);
  await db.admin.query('DELETE FROM messaging.forgotten');
  const { rows } = await db.admin.query('SELECT FROM messaging.outbox WHERE aggregate_id = ANY ($1)', [[first, second, old].map(({ subject }) => subject)]);
  assert.equal(rows.length, 2);
});
