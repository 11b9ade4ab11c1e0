import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { analyticsHandler } from '../../analytics-service/handler.ts';
import { analyticsHandler as fanOutAnalytics } from '../../fan-out/analytics-consumer/handler.ts';
import { createNotificationHandler as createFanOutNotifications } from '../../fan-out/notification-consumer/handler.ts';
import { orderHandler } from '../../fan-out/order-consumer/handler.ts';
import { inventoryHandler } from '../../inventory-service/handler.ts';
import { createNotificationHandler } from '../../notification-service/handler.ts';
import { orderStatusHandler } from '../../order-service/order-status/handler.ts';
import { createStockHandler } from '../../stock-service/handler.ts';
import { newEvent, newId, parseEnvelope, type EventEnvelope } from '../events/index.ts';
import { silentLogger, startTestServer, tellLedger, tellOrders, type TestDatabase, type TestServer } from '../testing.ts';
import type { Handler } from './handler.ts';
import { handleOnce } from './inbox.ts';

let server: TestServer;
let db: TestDatabase;
before(async () => {
  server = await startTestServer();
  db = await server.database();
  await db.admin.query('INSERT INTO inventory.product VALUES (\'A\', \'A\'); INSERT INTO inventory.stock_level (sku, location, on_hand) VALUES (\'A\', \'MAIN\', 9)');
});
after(() => server.stop());

/** The first four versions of an order, and what is said of the first. */
function history() {
  const orderId = newId();
  const at = new Date().toISOString();
  const said = { orderId, customerId: 'c' };
  const items = [{ sku: 'A', quantity: 1 }];
  // All is said at once here, so the items stay.
  const change = { old: items, new: items, changed: [{ sku: 'A', from: 1, to: 2 }] };
  const common = { source: '/test', subject: orderId, cause: { id: newId() } };
  const created = newEvent({ ...common, type: 'order.created', sequence: 1, data: { ...said, items, createdAt: at } });
  const stock = { orderId, lines: [{ sku: 'A', requested: 1, available: 9 }], sufficient: true, asOf: at };
  const validated = newEvent({ ...common, type: 'inventory.validated', sequence: 1, data: stock });
  const reserved = newEvent({ ...common, type: 'inventory.updated', sequence: 1, data: { orderId, reservationId: newId(), outcome: 'RESERVED', lines: [], shortages: [] } });
  const confirmed = newEvent({ ...common, type: 'order.confirmed', sequence: 2, previous: created.id, data: { ...said, version: 2, confirmedAt: at } });
  const requested = newEvent({ ...common, type: 'order.update-requested', sequence: 3, previous: confirmed.id, data: { ...said, ...change, version: 3, requestedAt: at } });
  const updated = newEvent({ ...common, type: 'order.updated', sequence: 4, previous: requested.id, data: { ...said, ...change, version: 4, updatedAt: at } });
  return { orderId, created, validated, reserved, confirmed, requested, updated };
}

const inCapitals = (event: EventEnvelope): EventEnvelope =>
  parseEnvelope(JSON.stringify(event).replaceAll(/"[0-9a-f]{8}-[0-9a-f-]{27}"/g, (id) => id.toUpperCase()));

const stockHandler = () => createStockHandler({ reader: db.command, writer: db.command, logger: silentLogger() });
const cases: [name: string, handler: () => unknown, eventsOf: (all: ReturnType<typeof history>) => EventEnvelope[]][] = [
  ['stock-service', stockHandler, ({ created }) => [created]],
  ['inventory-service', () => inventoryHandler, ({ validated, confirmed, requested, updated }) => [validated, confirmed, requested, updated]],
  ['order-status', () => orderStatusHandler, ({ reserved }) => [reserved]],
  ['analytics-service', () => analyticsHandler, ({ created, confirmed, requested, updated }) => [created, confirmed, requested, updated]],
  ['notification-service', () => createNotificationHandler(() => {}), ({ confirmed, requested, updated }) => [confirmed, requested, updated]],
  ['order-consumer', () => orderHandler, ({ created, confirmed, requested, updated }) => [created, confirmed, requested, updated]],
  ['analytics-consumer', () => fanOutAnalytics, ({ created, confirmed, requested, updated }) => [created, confirmed, requested, updated]],
  ['notification-consumer', () => createFanOutNotifications(() => {}), ({ created, confirmed, requested, updated }) => [created, confirmed, requested, updated]],
];

for (const [name, handler, eventsOf] of cases) {
  test(`${name}: an id in capitals is the same event of the same order`, async () => {
    const all = history();
    await tellOrders(db.admin, name === 'order-status' ? [all.created] : [all.created, all.confirmed, all.requested, all.updated]);
    await tellLedger(db.admin, name === 'order-status' ? [all.reserved] : []);
    const events = eventsOf(all);
    const handle = async (batch: EventEnvelope[]) => {
      const outcomes = await handleOnce(handler() as Handler, batch, db.command);
      return outcomes.map(({ result }) => result);
    };
    // Every second one in capitals: each still finds the version before it, the last also among the parked.
    const mixed = events.map((event, i) => (i % 2 === 0 ? inCapitals(event) : event));
    const last = mixed.at(-1)!;
    if (events.length > 2) assert.deepEqual(await handle([last]), ['parked']);
    for (const event of mixed.filter((one) => one !== last || events.length <= 2)) assert.ok(['ok', 'ignored'].includes((await handle([event]))[0]!), event.type);
    assert.deepEqual(new Set(await handle(events)), new Set(['duplicate']));
    assert.deepEqual(new Set(await handle(events.map(inCapitals))), new Set(['duplicate']));
    const { rows } = await db.admin.query('SELECT FROM messaging.parked WHERE order_id = $1 AND applied_at IS NULL', [all.orderId]);
    assert.equal(rows.length, 0);
  });
}
