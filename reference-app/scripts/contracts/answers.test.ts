import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import Fastify, { type FastifyInstance } from 'fastify';
import { Registry } from 'prom-client';
import { watchAnswers, type Watch } from './answers.ts';
import { documents } from './documents.ts';
import { createReadApi } from '../../services/order-service/api-read-service/api.ts';
import { createWriteApi } from '../../services/order-service/api-write-service/api.ts';
import { newId } from '../../services/shared/events/index.ts';
import { withoutAuthorization as authentication } from '../../services/shared/http/caller.ts';
import { formatConsistencyToken } from '../../services/shared/http/consistency-token.ts';
import { eventually, silentLogger, startTestServer, type TestDatabase, type TestServer } from '../../services/shared/testing.ts';

const { openapi } = await documents();

describe('the running services answer as the document says', () => {
  let server: TestServer;
  let db: TestDatabase;
  let write: FastifyInstance;
  let read: FastifyInstance;
  let writes: Watch;
  let reads: Watch;
  let writeUrl: string;
  let readUrl: string;

  before(async () => {
    server = await startTestServer();
    db = await server.database();
    await db.admin.query('INSERT INTO inventory.product (sku, name) VALUES (\'SKU-123\', \'A thing\')');
    await db.admin.query('INSERT INTO inventory.stock_level (sku, location, on_hand, reserved) VALUES (\'SKU-123\', \'MAIN\', 10, 3)');
    write = createWriteApi({ authentication, pool: db.command, logger: silentLogger(), registry: new Registry() });
    read = createReadApi({ authentication, reader: db.query, writer: db.query, logger: silentLogger(), registry: new Registry() });
    writes = watchAnswers(write, openapi);
    reads = watchAnswers(read, openapi);
    writeUrl = await write.listen({ host: '127.0.0.1', port: 0 });
    readUrl = await read.listen({ host: '127.0.0.1', port: 0 });
  });
  after(async () => {
    await write?.close();
    await read?.close();
    await server?.stop();
  });

  const camel = { customerId: 'cust-1', items: [{ sku: 'SKU-123', quantity: 2 }] };
  const snake = { customer_id: 'cust-1', items: [{ product_id: 'SKU-123', quantity: 2 }] };
  const post = (path: string, body: unknown, headers: Record<string, string> = {}) => fetch(writeUrl + path, {
    method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body: typeof body === 'string' ? body : JSON.stringify(body),
  });
  const get = (path: string, headers: Record<string, string> = {}) => fetch(readUrl + path, { headers });
  const statuses = (watch: Watch, operation: string) => [...watch.seen].filter((name) => name.startsWith(`${operation} `))
    .map((name) => Number(name.split(' ')[1])).sort();

  it('takes orders', async () => {
    for (const base of ['', '/api']) {
      await post(`${base}/orders`, camel, { 'idempotency-key': `key${base}`, 'traceparent': '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' });
      await post(`${base}/orders`, snake, { 'x-request-id': newId() });
      await post(`${base}/orders`, { ...camel, customerId: 'other' }, { 'idempotency-key': `"key${base}"` });
    }
    await post('/orders', { ...camel, items: [] });
    await post('/orders', { ...camel, items: [{ sku: 'no-such', quantity: 1 }] });
    await post('/orders', '{');
    await post('/orders', camel, { 'content-type': 'text/plain' });
    await post('/orders', { ...camel, customerId: 'x'.repeat(70_000) });
    assert.deepEqual(statuses(writes, 'createOrder'), [202, 400, 413, 415, 422]);
  });

  it('takes batches', async () => {
    const key = newId();
    const orders = [
      camel, snake, { ...camel, idempotencyKey: key }, { ...snake, idempotency_key: key, customer_id: 'other' },
      { ...camel, items: [{ sku: 'no-such', quantity: 1 }] }, { nonsense: 1 },
    ];
    await post('/orders/batch', { orders });
    await post('/orders/batch', { orders: [] });
    await post('/orders/batch', '[');
    await post('/orders/batch', { orders: ['x'.repeat(1_100_000)] });
    await post('/orders/batch', camel, { 'content-type': 'text/plain' });
    assert.deepEqual(statuses(writes, 'createOrders'), [200, 400, 413, 415]);
  });

  it('shows orders, timelines and stock', async () => {
    const accepted = await post('/orders', camel);
    const { orderId } = await accepted.json() as { orderId: string };
    const token = { 'consistency-token': accepted.headers.get('consistency-token')! };
    for (const [id, names] of [[orderId, ''], [orderId, '?style=snake'], [newId(), ''], ['no-id', ''], [orderId, '?style=loud']] as const) {
      await get(`/orders/${id}${names}`, token);
      await get(`/api/orders/${id}/timeline${names}`, token);
    }
    await get(`/orders/${orderId}`, { 'if-none-match': '"1"' });
    await get(`/orders/${orderId}`, { 'consistency-token': '?' });
    await get(`/orders/${orderId}`, { 'consistency-token': formatConsistencyToken({ orderId, version: 9 }) });
    await get(`/orders/${orderId}/timeline`, { 'consistency-token': formatConsistencyToken({ orderId, version: 9 }) });
    for (const query of ['', '?limit=1', '?limit=1&style=snake', '?customerId=cust-1&status=PENDING', '?customer_id=cust-1', '?limit=none']) {
      await get(`/orders${query}`, token);
    }
    await get('/orders', { 'consistency-token': formatConsistencyToken({ orderId, version: 9 }) });
    for (const sku of ['SKU-123', 'SKU-123?style=snake', 'no-such', '%20']) await get(`/inventory/${sku}`);
    await get('/inventory/SKU-123', { 'consistency-token': formatConsistencyToken({ orderId, version: 9 }) });
    assert.deepEqual(statuses(reads, 'getOrder'), [200, 304, 400, 404]);
    assert.deepEqual(statuses(reads, 'getTimeline'), [200, 400, 404]);
    assert.deepEqual(statuses(reads, 'listOrders'), [200, 400]);
    assert.deepEqual(statuses(reads, 'getStock'), [200, 400, 404]);
  });

  it('shows every status and what came of an order', async () => {
    const { orderId } = await (await post('/orders', camel)).json() as { orderId: string };
    await db.admin.query(`UPDATE orders.orders SET status = 'REJECTED', reason = 'INSUFFICIENT_STOCK', version = 2,
      shortages = '[{"sku":"SKU-123","requested":2,"available":1}]' WHERE order_id = $1`, [orderId]);
    for (const style of ['camel', 'snake']) {
      const body = JSON.stringify(await (await get(`/orders/${orderId}?style=${style}`)).json());
      assert.match(body, /INSUFFICIENT_STOCK.*shortages/);
    }
  });

  it('says that there is nothing elsewhere, not even its health', async () => {
    for (const path of ['/livez', '/readyz', '/metrics', '/nowhere']) {
      await fetch(writeUrl + path);
      await get(path);
    }
    await get('/orders', {});
    await fetch(`${writeUrl}/orders`, { method: 'DELETE' });
    assert.deepEqual([...writes.seen].filter((name) => name.startsWith('no operation ')).sort(), ['no operation 404', 'no operation 405']);
  });

  it('answers also without a database', async () => {
    await db.drop();
    await eventually(() => write.readiness(), (readiness) => readiness !== true);
    await post('/orders', camel);
    await post('/orders/batch', { orders: [camel] });
    await get(`/orders/${newId()}`);
    assert.ok(writes.seen.has('createOrder 503') || writes.seen.has('createOrder 500'), [...writes.seen].join());
  });

  it('and did so all the time', () => {
    assert.deepEqual(writes.violations, []);
    assert.deepEqual(reads.violations, []);
  });
});

describe('the watch', () => {
  it('sees what is not as the document says', async () => {
    const answers: [number, Record<string, string>, unknown, RegExp][] = [
      [202, {}, { orderId: newId(), status: 'PENDING' }, /header Location is missing/],
      [202, {}, { orderId: '1', status: 'PENDING' }, /body: .*uuid/],
      [202, {}, { orderId: newId(), status: 'PENDING', secret: 1 }, /body: .*additional properties/],
      [418, {}, {}, /this status is not described/],
      [400, { 'content-type': 'application/json' }, {}, /media type application\/json is not described/],
      [404, {}, {}, /this status is not described/],
      [422, { 'content-type': 'application/problem+json' },
        { type: 'urn:cdk-order-pipeline:problem:validation', title: '', status: 422, detail: '' }, /body: .*constant/],
    ];
    for (const [status, headers, body, expected] of answers) {
      const app = Fastify();
      app.post('/orders', async (_request, reply) => reply.code(status).headers(headers).send(headers['content-type'] ? JSON.stringify(body) : body));
      const watch = watchAnswers(app, openapi);
      await app.inject({ method: 'POST', url: '/orders', payload: { customerId: 'c', items: [{ sku: 'S', quantity: 1 }] } });
      assert.match(watch.violations.join('\n'), expected);
      await app.close();
    }
  });

  it('sees a request that was taken though the document forbids it', async () => {
    const app = Fastify();
    app.post('/orders', async (_request, reply) => reply.code(202).send({}));
    const watch = watchAnswers(app, openapi);
    await app.inject({ method: 'POST', url: '/orders', headers: { 'idempotency-key': 'with space' }, payload: { customerId: 'c' } });
    assert.match(watch.violations.join('\n'), /was taken with a body that is not described/);
    assert.match(watch.violations.join('\n'), /was taken with Idempotency-Key "with space"/);
    await app.close();
  });
});
