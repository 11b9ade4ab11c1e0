import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { Registry } from 'prom-client';
import { createWriteApi } from './api.ts';
import { CHECKS } from '../../../invariants/sql.ts';
import { watchAnswers, type Watch } from '../../../scripts/contracts/answers.ts';
import { documents } from '../../../scripts/contracts/documents.ts';
import { analyticsHandler } from '../../analytics-service/handler.ts';
import { inventoryHandler } from '../../inventory-service/handler.ts';
import { createNotificationHandler } from '../../notification-service/handler.ts';
import { READ } from '../../outbox-relay/statements.ts';
import type { Pool } from '../../shared/database.ts';
import { newId, type EventEnvelope, type EventType } from '../../shared/events/index.ts';
import { withoutAuthorization } from '../../shared/http/caller.ts';
import type { Handler } from '../../shared/messaging/handler.ts';
import { handleOnce } from '../../shared/messaging/inbox.ts';
import { silentLogger, startTestServer, type TestDatabase, type TestServer } from '../../shared/testing.ts';
import { createStockHandler } from '../../stock-service/handler.ts';
import { orderStatusHandler } from '../order-status/handler.ts';

type Answer = { status: number; etag: string | null; body: Record<string, unknown> };

const CONSUMERS = ['stock-service', 'inventory-service', 'order-status', 'notification-service', 'analytics-service'];

describe('commands about orders', () => {
  let server: TestServer;
  let db: TestDatabase;
  /** Each program has its own login. */
  const pools = new Map<string, Pool>();
  let app: ReturnType<typeof createWriteApi>;
  let watch: Watch;
  let seen = { xid: '0', id: '0' };
  before(async () => {
    server = await startTestServer();
    db = await server.database({ workload: 'api-write-service', logins: CONSUMERS });
    for (const name of CONSUMERS) pools.set(name, db.as(name, 8));
    await db.admin.query(`INSERT INTO inventory.product VALUES ('A', 'A'), ('B', 'B'), ('C', 'C');
      INSERT INTO inventory.stock_level (sku, on_hand) VALUES ('A', 1000), ('B', 1000), ('C', 3);
      INSERT INTO inventory.ledger (sku, location, type, delta_on_hand, delta_reserved) SELECT sku, location, 'RECEIPT', on_hand, 0 FROM inventory.stock_level`);
    app = createWriteApi({ authentication: withoutAuthorization, pool: db.command, logger: silentLogger(), registry: new Registry() });
    watch = watchAnswers(app, (await documents()).openapi);
  });
  after(async () => {
    assert.deepEqual(watch.violations, [], 'every answer is as the OpenAPI document says');
    await app.close();
    await server.stop();
  });

  async function send(method: 'POST' | 'PATCH', url: string, payload?: unknown, headers: Record<string, string> = {}): Promise<Answer> {
    const body = payload === undefined ? {} : { payload: JSON.stringify(payload) };
    const type = payload === undefined ? {} : { 'content-type': 'application/json' };
    const answer = await app.inject({ method, url, headers: { ...type, ...headers }, ...body });
    const etag = (answer.headers.etag as string | undefined) ?? null;
    return { status: answer.statusCode, etag, body: answer.json<Record<string, unknown>>() };
  }
  const create = async (items: object[]) => (await send('POST', '/orders', { customerId: 'jane', items })).body.orderId as string;
  const patch = (id: string, etag: string, items: object[], headers: Record<string, string> = {}) => send('PATCH', `/orders/${id}`, { items }, { 'if-match': etag, ...headers });
  const cancel = (id: string, etag: string, body?: unknown, headers: Record<string, string> = {}) => send('POST', `/orders/${id}/cancel`, body, { 'if-match': etag, ...headers });

  const handlers = () => [
    createStockHandler({ reader: pools.get('stock-service')!, writer: pools.get('stock-service')!, logger: silentLogger() }), inventoryHandler, orderStatusHandler,
    analyticsHandler, createNotificationHandler(() => undefined),
  ] as unknown as Handler[];
  /** As the relay reads it: by the identity alone, events of commits that overlap would be passed by. */
  async function outbox(): Promise<EventEnvelope[]> {
    const { rows } = await db.admin.query<{ xid: string; id: string; envelope: string }>({ ...READ, values: [seen.xid, seen.id, '-infinity', 10_000] });
    seen = rows.at(-1) ?? seen;
    return rows.map(({ envelope }) => JSON.parse(envelope) as EventEnvelope);
  }
  async function deliver(handler: Handler, events: readonly EventEnvelope[]): Promise<void> {
    const wanted = events.filter(({ type }) => (handler.types as readonly EventType[]).includes(type));
    if (wanted.length > 0) await handleOnce(handler, wanted, pools.get(handler.name)!);
  }
  /** All events to all consumers until nothing comes any more. */
  async function settle(): Promise<EventEnvelope[]> {
    const all: EventEnvelope[] = [];
    for (let events = await outbox(); events.length > 0; events = await outbox()) {
      all.push(...events);
      for (const handler of handlers()) await deliver(handler, events);
    }
    return all;
  }
  async function state(orderId: string) {
    const { rows: [row] } = await db.admin.query('SELECT status, version, items, reason, shortages FROM orders.orders WHERE order_id = $1', [orderId]);
    const { rows } = await db.admin.query<{ sku: string; held: number; taken: number }>(
      `SELECT sku, sum(delta_reserved)::int AS held, -sum(delta_on_hand)::int AS taken FROM inventory.ledger WHERE document_id = $1 AND location IS NOT NULL
       GROUP BY sku HAVING sum(delta_reserved) <> 0 OR sum(delta_on_hand) <> 0 ORDER BY sku`, [orderId]);
    return { status: row.status, version: row.version, items: row.items, reason: row.reason, shortages: row.shortages, stock: rows };
  }
  const types = (events: readonly EventEnvelope[], orderId: string) => (
    events.filter(({ subject, source }) => subject === orderId && source === '/order-service').map(({ type, sequence }) => `${sequence} ${type}`));

  it('cancels an order: locked until its stock is back', async () => {
    const id = await create([{ sku: 'A', quantity: 3 }]);
    await settle();
    assert.deepEqual(await state(id), {
      status: 'CONFIRMED',
      version: 2,
      items: [{ sku: 'A', quantity: 3 }],
      reason: null,
      shortages: null,
      stock: [{ sku: 'A', held: 0, taken: 3 }],
    });
    const answer = await cancel(id, '"2"', { reason: 'found it cheaper' });
    assert.deepEqual(answer, { status: 202, etag: '"3"', body: { orderId: id, status: 'CANCEL_PENDING' } });
    const again = await cancel(id, '"3"');
    assert.deepEqual([again.status, again.body.type, again.body.orderStatus, again.body.allowed], [409, 'urn:cdk-order-pipeline:problem:illegal-transition', 'CANCEL_PENDING', []]);
    const events = await settle();
    assert.deepEqual(types(events, id), ['3 order.cancel-requested', '4 order.cancelled']);
    assert.deepEqual(await state(id), { status: 'CANCELLED', version: 4, items: [{ sku: 'A', quantity: 3 }], reason: 'found it cheaper', shortages: null, stock: [] });
    const { rows: told } = await db.admin.query('SELECT outcome, version FROM notification.notification WHERE order_id = $1 ORDER BY version, outcome', [id]);
    assert.deepEqual(told, [{ outcome: 'CONFIRMED', version: 2 }, { outcome: 'DEDUCTED', version: 2 }, { outcome: 'CANCELLED', version: 4 }]);
  });

  it('updates an order: reserves what is wanted on top, takes it, and returns what is not wanted any more', async () => {
    const id = await create([{ sku: 'A', quantity: 3 }, { sku: 'B', quantity: 1 }]);
    await settle();
    assert.deepEqual(await patch(id, '"2"', [{ sku: 'A', quantity: 5 }, { sku: 'C', quantity: 1 }]), { status: 202, etag: '"3"', body: { orderId: id, status: 'UPDATE_PENDING' } });
    const [requested] = await outbox();
    assert.ok(requested?.type === 'order.update-requested');
    assert.deepEqual(requested.data.changed, [{ sku: 'A', from: 3, to: 5 }, { sku: 'B', from: 1, to: 0 }, { sku: 'C', from: 0, to: 1 }]);
    await deliver(inventoryHandler as unknown as Handler, [requested]);
    assert.deepEqual((await state(id)).stock, [{ sku: 'A', held: 2, taken: 3 }, { sku: 'B', held: 0, taken: 1 }, { sku: 'C', held: 1, taken: 0 }]);
    for (const handler of handlers().slice(3)) await deliver(handler, [requested]);
    assert.deepEqual(types(await settle(), id), ['4 order.updated']);
    const { status, version, items, stock: has } = await state(id);
    assert.deepEqual({ status, version, items, has }, {
      status: 'CONFIRMED', version: 4, items: [{ sku: 'A', quantity: 5 }, { sku: 'C', quantity: 1 }], has: [{ sku: 'A', held: 0, taken: 5 }, { sku: 'C', held: 0, taken: 1 }],
    });
  });

  it('leaves an order as it was when stock is not enough for its update', async () => {
    const id = await create([{ sku: 'A', quantity: 1 }]);
    await settle();
    await patch(id, '"2"', [{ sku: 'A', quantity: 2 }, { sku: 'C', quantity: 100 }]);
    const { rows: [locked] } = await db.admin.query('SELECT requested FROM orders.orders WHERE order_id = $1', [id]);
    assert.deepEqual(locked.requested, [{ sku: 'A', quantity: 2 }, { sku: 'C', quantity: 100 }]);
    assert.deepEqual(types(await settle(), id), ['3 order.update-requested', '4 order.update-rejected']);
    const { status, version, items, reason, shortages, stock: has } = await state(id);
    assert.deepEqual({ status, version, items, reason, shortages, has }, {
      status: 'CONFIRMED',
      version: 4,
      items: [{ sku: 'A', quantity: 1 }],
      reason: 'UPDATE_REJECTED',
      shortages: [{ sku: 'C', requested: 100, available: 2 }],
      has: [{ sku: 'A', held: 0, taken: 1 }],
    });
    await patch(id, '"4"', [{ sku: 'A', quantity: 2 }]);
    await settle();
    assert.deepEqual((await state(id)).stock, [{ sku: 'A', held: 0, taken: 2 }]);
    await cancel(id, '"6"');
    await settle();
    const end = await state(id);
    assert.deepEqual([end.status, end.version, end.stock], ['CANCELLED', 8, []]);
  });

  it('a cancellation that is published before its creation was handled ends CANCELLED with no stock held', async () => {
    const id = await create([{ sku: 'A', quantity: 2 }]);
    assert.equal((await cancel(id, '"1"')).status, 202);
    const [created, requested] = await outbox() as [EventEnvelope, EventEnvelope];
    for (const handler of handlers()) await deliver(handler, [requested]);
    const { rows } = await db.admin.query('SELECT consumer, version::int FROM messaging.parked WHERE order_id = $1 AND applied_at IS NULL ORDER BY consumer', [id]);
    assert.deepEqual(rows, [{ consumer: 'analytics-service', version: 2 }, { consumer: 'inventory-service', version: 2 }]);
    for (const handler of handlers()) await deliver(handler, [created]);
    await settle();
    const { status, version, stock: has } = await state(id);
    assert.deepEqual({ status, version, has }, { status: 'CANCELLED', version: 3, has: [] });
    const { rows: [left] } = await db.admin.query('SELECT count(*)::int AS waiting FROM messaging.parked WHERE applied_at IS NULL');
    assert.equal(left.waiting, 0);
  });

  it('asks for If-Match, and refuses another version and what the status does not allow', async () => {
    const id = await create([{ sku: 'A', quantity: 1 }]);
    const items = [{ sku: 'A', quantity: 2 }];
    for (const [answer, status, type, etag] of [
      [await send('PATCH', `/orders/${id}`, { items }), 428, 'precondition-required', null],
      [await send('POST', `/orders/${id}/cancel`), 428, 'precondition-required', null],
      [await patch(id, '"2"', items), 412, 'precondition-failed', '"1"'],
      [await patch(id, 'W/"1"', items), 412, 'precondition-failed', '"1"'],
      [await cancel(id, '"7", "8"'), 412, 'precondition-failed', '"1"'],
      [await cancel(id, '1'), 400, 'validation', null],
      [await patch(id, '"1"', items), 409, 'illegal-transition', '"1"'],
      [await patch(newId(), '"1"', items), 404, 'order-not-found', null],
      [await patch('x', '"1"', items), 400, 'validation', null],
    ] as const) {
      assert.deepEqual([answer.status, answer.body.type, answer.etag], [status, `urn:cdk-order-pipeline:problem:${type}`, etag]);
    }
    const refused = await patch(id, '*', items);
    assert.deepEqual([refused.body.orderStatus, refused.body.allowed], ['PENDING', ['cancel']]);
    await settle();
    assert.equal((await patch(id, '"2"', [{ sku: 'nowhere', quantity: 1 }])).body.type, 'urn:cdk-order-pipeline:problem:unknown-sku');
    const same = await patch(id, '"2"', [{ sku: 'A', quantity: 1 }]);
    assert.deepEqual([same.status, same.etag, same.body.status], [202, '"2"', 'CONFIRMED'], 'nothing to change');
    for (const body of [{}, { customerId: 'x' }, { items: [] }, { items, customerId: 'x' }, { items: [...items, ...items] }, null]) {
      assert.equal((await send('PATCH', `/orders/${id}`, body, { 'if-match': '"2"' })).status, 400, JSON.stringify(body));
    }
    assert.equal((await cancel(id, '"2"', { reason: ' ' })).status, 400);
    const snake = await send('PATCH', `/api/orders/${id}`, { items: [{ product_id: 'A', quantity: 2 }] }, { 'if-match': '*', 'content-type': 'application/merge-patch+json' });
    assert.deepEqual([snake.status, snake.body], [202, { order_id: id, status: 'UPDATE_PENDING' }]);
    await settle();
  });

  it('a command that is sent again with its key has its first answer again; another with the key is refused', async () => {
    const id = await create([{ sku: 'A', quantity: 1 }]);
    await settle();
    const key = { 'idempotency-key': newId() };
    const items = [{ sku: 'A', quantity: 4 }];
    const [first, second] = await Promise.all([patch(id, '"2"', items, key), patch(id, '"2"', items, key)]);
    assert.deepEqual(first, { status: 202, etag: '"3"', body: { orderId: id, status: 'UPDATE_PENDING' } });
    assert.deepEqual(second, first);
    await settle();
    assert.deepEqual(await patch(id, '"2"', items, key), first);
    assert.equal((await patch(id, '"4"', [{ sku: 'A', quantity: 9 }], key)).status, 422);
    assert.equal((await cancel(id, '"4"', undefined, key)).status, 422);
    assert.equal((await patch(await create([{ sku: 'A', quantity: 1 }]), '*', items, key)).status, 422, 'the same for another order');
    assert.deepEqual((await state(id)).stock, [{ sku: 'A', held: 0, taken: 4 }]);
  });

  it('an order and what takes its place have at most a hundred products together', async () => {
    const many = (from: number, count: number) => Array.from({ length: count }, (_, i) => ({ sku: `M${from + i}`, quantity: 1 }));
    await db.admin.query(`INSERT INTO inventory.product SELECT 'M' || n, 'M' FROM generate_series(1, 160) n;
      INSERT INTO inventory.stock_level (sku, on_hand) SELECT 'M' || n, 10 FROM generate_series(1, 160) n;
      INSERT INTO inventory.ledger (sku, location, type, delta_on_hand, delta_reserved) SELECT 'M' || n, 'MAIN', 'RECEIPT', 10, 0 FROM generate_series(1, 160) n`);
    const id = await create(many(1, 60));
    await settle();
    const answer = await patch(id, '"2"', many(61, 60));
    const message = 'and those that they take the place of are 120 products; at most 100 together, so change the order in two steps';
    assert.deepEqual([answer.status, answer.body.errors], [400, [{ field: 'items', message }]]);
    assert.equal((await patch(id, '"2"', many(41, 60))).status, 202);
    await settle();
    assert.deepEqual((await state(id)).stock.map(({ sku }) => sku).sort(), many(41, 60).map(({ sku }) => sku).sort());
  });

  it('two hundred clients update and cancel the same ten orders at once: each hears 202, 409, 412 or 428, and every invariant holds', async () => {
    const orders = await Promise.all(Array.from({ length: 10 }, () => create([{ sku: 'A', quantity: 2 }, { sku: 'B', quantity: 1 }])));
    await settle();
    let running = 0;
    const statuses = new Map<number, number>();
    const client = async (n: number) => {
      running++;
      let etag = '"2"';
      for (let i = 0; i < 6; i++) {
        const id = orders[(n + i * 3) % orders.length]!;
        const headers: Record<string, string> = (n + i) % 17 === 0 ? {} : { 'if-match': (n + i) % 5 === 0 ? '*' : etag };
        const answer = (n * 7 + i) % 40 === 39
          ? await send('POST', `/orders/${id}/cancel`, undefined, headers)
          : await send('PATCH', `/orders/${id}`, { items: [{ sku: 'A', quantity: 1 + ((n + i) % 5) }, { sku: i % 2 ? 'B' : 'C', quantity: 1 }] }, headers);
        statuses.set(answer.status, (statuses.get(answer.status) ?? 0) + 1);
        etag = answer.etag ?? etag;
      }
      running--;
    };
    const clients = Promise.all(Array.from({ length: 200 }, (_, n) => client(n)));
    // The consumers work beside them.
    do await settle(); while (running > 0);
    await clients;
    // The outbox shows what was committed before the oldest transaction that still runs.
    for (let open = 1; open > 0;) {
      await settle();
      open = (await db.admin.query('SELECT FROM orders.orders WHERE status IN (\'UPDATE_PENDING\', \'CANCEL_PENDING\')')).rowCount!;
    }
    assert.deepEqual([...statuses.keys()].filter((status) => ![202, 409, 412, 428].includes(status)), [], JSON.stringify([...statuses]));
    for (const status of [202, 409, 412, 428]) assert.ok(statuses.get(status)! > 0, `some were answered with ${status}: ${JSON.stringify([...statuses])}`);
    for (const { invariant, what, sql, parameters } of CHECKS) {
      if (invariant === 'I1' || /relay_cursor/.test(sql)) continue;
      const { rows } = await db.admin.query(sql, (parameters ?? []).map(() => []));
      assert.deepEqual(rows, [], `${invariant}: ${what}`);
    }
    const { rows } = await db.admin.query('SELECT order_id FROM messaging.parked WHERE applied_at IS NULL');
    assert.deepEqual(rows, []);
  });
});
