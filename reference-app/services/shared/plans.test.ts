import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { analyticsHandler } from '../analytics-service/handler.ts';
import { inventoryHandler } from '../inventory-service/handler.ts';
import { createNotificationHandler } from '../notification-service/handler.ts';
import { acceptOrders } from '../order-service/api-write-service/intake.ts';
import { readForCommand } from '../order-service/lifecycle/statements.ts';
import { orderStatusHandler } from '../order-service/order-status/handler.ts';
import { READ } from '../outbox-relay/statements.ts';
import { createStockHandler } from '../stock-service/handler.ts';
import { newEvent, newId, type EventEnvelope, type EventType } from './events/index.ts';
import type { Handler } from './messaging/handler.ts';
import { handleOnce } from './messaging/inbox.ts';
import { silentLogger, startTestServer, type TestDatabase, type TestServer } from './testing.ts';

let server: TestServer;
let db: TestDatabase;
before(async () => {
  server = await startTestServer();
  db = await server.database({ logins: [...CONSUMERS, 'api-write-service', 'outbox-relay'] });
});
after(() => server.stop());

const CONSUMERS = ['stock-service', 'inventory-service', 'order-status', 'notification-service', 'analytics-service'];

/** Tables that grow with every order; the others have a row per product or minute. */
const GROWING = ['orders.idempotency_key', 'orders.orders', 'orders.status_change', 'inventory.ledger', 'messaging.outbox', 'messaging.inbox'];

test('no step scans a table that grows, though its plans were made while the tables were nearly empty', async () => {
  await db.admin.query(`INSERT INTO inventory.product SELECT 'S' || i, 'S' FROM generate_series(1, 20) i;
    INSERT INTO inventory.stock_level (sku, on_hand) SELECT sku, 100000 FROM inventory.product`);
  // A connection each, as its process keeps it: with its login, whose rows are a part of the plans, and with prepared statements.
  const pools = new Map(CONSUMERS.map((name) => [name, db.as(name)]));
  const stock = pools.get('stock-service')!;
  const handlers = {
    stock: createStockHandler({ reader: stock, writer: stock, logger: silentLogger() }),
    // By the advice, as by default.
    inventory: { ...inventoryHandler, types: inventoryHandler.types.filter((type) => type !== 'order.created') },
    status: orderStatusHandler,
    notification: createNotificationHandler(() => undefined),
    analytics: analyticsHandler,
  };
  // The relay's connection, set as the relay sets it.
  const relay = db.as('outbox-relay');
  await relay.query('SET enable_seqscan = off');
  const intake = db.as('api-write-service');
  let seen = { xid: '0', id: '0' };
  const outbox = async () => {
    const { rows } = await relay.query<{ xid: string; id: string; envelope: string }>({ ...READ, values: [seen.xid, seen.id, '-infinity', 10_000] });
    seen = rows.at(-1) ?? seen;
    return rows.map(({ envelope }) => JSON.parse(envelope) as EventEnvelope);
  };
  const run = async <T extends EventType>(handler: Handler<T>, events: readonly EventEnvelope[]) => {
    const wanted = events.filter((event): event is EventEnvelope<T> => (handler.types as readonly string[]).includes(event.type));
    const outcomes = wanted.length > 0 ? await handleOnce(handler, wanted, pools.get(handler.name)!) : [];
    for (const { result } of outcomes) assert.ok(result === 'ok' || result === 'ignored', result);
  };
  const journey = async (count: number) => {
    const orders = Array.from({ length: count }, (_, i) => {
      const orderId = newId();
      return newEvent({
        type: 'order.created',
        source: '/order-service',
        subject: orderId,
        sequence: 1,
        cause: { id: newId() },
        data: { orderId, customerId: 'c', items: [{ sku: `S${1 + (i % 20)}`, quantity: 1 }], createdAt: new Date().toISOString() },
      });
    });
    const requests = orders.map((event) => ({
      ...event.data,
      createdAt: new Date(event.data.createdAt),
      traceparent: event.traceparent!,
      causeId: event.causationid,
      idempotency: { subject: 's', key: event.subject, fingerprint: Buffer.alloc(32) },
      event: { id: event.id, envelope: JSON.stringify(event) },
    }));
    const results = async (some: typeof requests) => new Set((await acceptOrders(some, intake)).map(({ result }) => result));
    assert.deepEqual(await results(requests), new Set(['accepted']));
    assert.deepEqual(await results(requests.map((request) => ({ ...request, orderId: newId() }))), new Set(['replayed']));
    const [orderId, key] = [requests[0]!.orderId, requests[1]!.orderId];
    const known = await readForCommand(intake, { orderId, caller: { subject: 's', customerId: 'c' }, key, skus: ['S1'] });
    assert.deepEqual([known.order?.version, known.key?.orderId], [1, key]);
    for (let events = await outbox(); events.length > 0; events = await outbox()) {
      for (const handler of Object.values(handlers)) await run(handler as Handler, events);
    }
  };
  const scanned = async () => {
    for (const pool of [...pools.values(), relay, intake]) await pool.query('SELECT pg_stat_force_next_flush()');
    const { rows } = await db.admin.query<{ name: string; rows: number }>(
      'SELECT schemaname || \'.\' || relname AS name, seq_tup_read::int AS rows FROM pg_stat_user_tables WHERE schemaname || \'.\' || relname = ANY ($1) ORDER BY 1', [GROWING],
    );
    return rows;
  };

  for (let i = 0; i < 8; i++) await journey(2);
  await db.admin.query('ANALYZE');
  for (let i = 0; i < 8; i++) await journey(2);
  for (let i = 0; i < 4; i++) await journey(200);
  // Now no order is pending, and the planner thinks that there never are many.
  await db.admin.query('ANALYZE');
  for (let i = 0; i < 4; i++) await journey(200);
  assert.deepEqual(await scanned(), [...GROWING].sort().map((name) => ({ name, rows: 0 })));
  // By its key an order costs the same forever; by its status it would cost more with each order since the last vacuum.
  const { rows: [byStatus] } = await db.admin.query(`SELECT idx_scan::int AS scans, idx_tup_read::int AS read
    FROM pg_stat_user_indexes WHERE indexrelname = 'orders_status_order_id'`);
  assert.ok(byStatus.read <= byStatus.scans, `${byStatus.read} entries read in ${byStatus.scans} scans of the index of states`);
  const { rows: [count] } = await db.admin.query('SELECT count(*)::int AS committed FROM inventory.reservation WHERE state = \'COMMITTED\'');
  assert.equal(count.committed, 8 * 2 + 8 * 2 + 8 * 200);
});
