import assert from 'node:assert/strict';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { after, before, describe, it, type TestContext } from 'node:test';
import fc from 'fast-check';
import type { FastifyInstance } from 'fastify';
import pg from 'pg';
import { Registry } from 'prom-client';
import { createReadApi } from './api.ts';
import { STATEMENT_TIMEOUT_MS, orderList } from './statements.ts';
import { watchAnswers, type Watch } from '../../../scripts/contracts/answers.ts';
import { documents } from '../../../scripts/contracts/documents.ts';
import { newEvent, newId, parseEnvelope } from '../../shared/events/index.ts';
import { withoutAuthorization as authentication, type Authentication } from '../../shared/http/caller.ts';
import { formatConsistencyToken } from '../../shared/http/consistency-token.ts';
import type { ProblemBody } from '../../shared/http/problem.ts';
import { noteDeadLetters } from '../../shared/messaging/dead-letters.ts';
import { park } from '../../shared/messaging/parking.ts';
import { NO_ANSWER } from '../../shared/releases.ts';
import { appendToOutbox, eventually, silentLogger, startTestServer } from '../../shared/testing.ts';
import type { TestDatabase, TestServer } from '../../shared/testing.ts';
import { createWriteApi } from '../api-write-service/api.ts';

const SKUS = ['SKU-123', 'SKU-101', 'SKU-102'];

interface OrderBody {
  orderId: string;
  customerId: string;
  status: string;
  version: number;
  items: { sku: string; quantity: number }[];
}
interface ListBody { orders: OrderBody[]; next: string | null }

describe('api-read-service', () => {
  let server: TestServer;
  let db: TestDatabase;
  let reader: pg.Pool;
  let writeApp: FastifyInstance;
  let readApp: FastifyInstance;
  let watch: Watch;
  let writeUrl: string;
  let url: string;
  const readRegistry = new Registry();

  before(async () => {
    server = await startTestServer({ replica: true });
    db = await server.database();
    await db.admin.query(`INSERT INTO inventory.product (sku, name)
      SELECT sku, 'Product ' || sku FROM unnest($1::text[]) AS s (sku)`, [SKUS]);
    await db.admin.query(`INSERT INTO inventory.stock_level (sku, location, on_hand, reserved)
      VALUES ('SKU-123', 'MAIN', 10, 3), ('SKU-123', 'EAST', 5, 0)`);
    reader = replicaPool();
    await eventually(() => reader.query('SELECT FROM inventory.stock_level').then((r) => r.rowCount, () => 0), (n) => n === 2);
    writeApp = createWriteApi({ authentication, pool: db.command, logger: silentLogger(), registry: new Registry() });
    writeUrl = await writeApp.listen({ host: '127.0.0.1', port: 0 });
    readApp = createReadApi({ authentication, reader, writer: db.query, logger: silentLogger(), registry: readRegistry });
    watch = watchAnswers(readApp, (await documents()).openapi);
    url = await readApp.listen({ host: '127.0.0.1', port: 0 });
  });
  after(async () => {
    await readApp?.close();
    assert.deepEqual(watch.violations, [], 'every answer is as the OpenAPI document says');
    await writeApp?.close();
    await reader?.end();
    await server?.stop();
  });

  function replicaPool(options: pg.PoolConfig = {}): pg.Pool {
    const { host, port } = server.postgres.reader!;
    const { user, password, database } = db.query.options;
    const pool = new pg.Pool({ host, port, user, password, database, max: 8, ...options });
    pool.on('error', () => undefined);
    return pool;
  }

  async function order(customerId = 'cust-1', sku = 'SKU-123') {
    const answer = await fetch(`${writeUrl}/orders`, {
      method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ customerId, items: [{ sku, quantity: 2 }] }),
    });
    assert.equal(answer.status, 202);
    const { orderId } = await answer.json() as { orderId: string };
    return { orderId, token: answer.headers.get('consistency-token')!, location: answer.headers.get('location')! };
  }
  const get = (path: string, headers: Record<string, string> = {}) => fetch(`${url}${path}`, { headers });
  const onReplica = (orderId: string) => eventually(
    async () => (await reader.query('SELECT FROM orders.orders WHERE order_id = $1', [orderId])).rowCount, (n) => n === 1);
  const metric = async (line: RegExp) => Number(line.exec(await readRegistry.metrics())?.[1]);

  /** Replay stands still while the work runs; the replica answers, only with what it had before. */
  async function whilePaused(work: () => Promise<void>): Promise<void> {
    await server.postgres.pauseReplay();
    try {
      await work();
    } finally {
      await server.postgres.resumeReplay();
    }
  }

  /** Readers of orders on the replica wait as long as the work runs (on the writer as well); stock is free. */
  async function whileLocked(work: () => Promise<void>): Promise<void> {
    const client = await db.admin.connect();
    try {
      await client.query('BEGIN; LOCK TABLE orders.orders IN ACCESS EXCLUSIVE MODE; SELECT pg_switch_wal()');
      await eventually(async () => (await reader.query('SELECT FROM pg_locks WHERE mode = \'AccessExclusiveLock\' AND granted')).rowCount, (n) => n !== 0);
      await work();
    } finally {
      await client.query('ROLLBACK');
      client.release();
    }
    await eventually(() => reader.query({ text: 'SELECT FROM orders.orders LIMIT 1', query_timeout: 1_000 } as pg.QueryConfig).then(() => true, () => false), Boolean);
  }

  /** The API with another replica, which it closes in the end. */
  async function serveFrom(t: TestContext, replica: pg.Pool, registry = new Registry()): Promise<string> {
    const app = createReadApi({ authentication, reader: replica, writer: db.query, logger: silentLogger(), registry });
    t.after(async () => {
      await app.close();
      void replica.end();
    });
    return app.listen({ host: '127.0.0.1', port: 0 });
  }

  async function assertProblem(answer: Response, status: number, type: string, field?: string): Promise<void> {
    assert.equal(answer.headers.get('content-type'), 'application/problem+json; charset=utf-8');
    const problem = await answer.json() as ProblemBody;
    assert.equal(answer.status, status, JSON.stringify(problem));
    assert.equal(problem.type, `urn:cdk-order-pipeline:problem:${type}`);
    if (field) {
      assert.deepEqual(problem.errors?.map((e) => e.field), [field]);
      assert.ok(problem.detail.includes(field));
    }
  }

  describe('one order', () => {
    it('is shown from the replica, at both addresses, with its version as ETag', async () => {
      const { orderId, location } = await order('cust-7');
      await onReplica(orderId);
      for (const path of [location, `/api${location}`, `/orders/${orderId.toUpperCase()}`]) {
        const answer = await get(path);
        assert.equal(answer.status, 200);
        assert.equal(answer.headers.get('read-source'), 'replica');
        assert.equal(answer.headers.get('etag'), '"1"');
        const { createdAt, updatedAt, ...body } = await answer.json() as Record<string, unknown>;
        assert.deepEqual(body, { orderId, customerId: 'cust-7', status: 'PENDING', version: 1, items: [{ sku: 'SKU-123', quantity: 2 }] });
        assert.ok(Math.abs(Date.parse(String(createdAt)) - Date.now()) < 60_000);
        assert.equal(createdAt, updatedAt);
      }
    });

    it('is not sent again to whom has it', async () => {
      const { orderId } = await order();
      await onReplica(orderId);
      for (const tag of ['"1"', 'W/"1"', '"0", "1"', '*']) {
        const answer = await get(`/orders/${orderId}`, { 'if-none-match': tag });
        assert.equal(answer.status, 304, tag);
        assert.equal(answer.headers.get('etag'), '"1"');
        assert.equal(await answer.text(), '');
      }
      assert.equal((await get(`/orders/${orderId}`, { 'if-none-match': '"2"' })).status, 200);
    });

    it('is shown in snake case when asked', async () => {
      const { orderId } = await order('cust-8');
      const body = await (await get(`/orders/${orderId}?style=snake`)).json() as Record<string, unknown>;
      assert.deepEqual([body.order_id, body.customer_id, body.items], [orderId, 'cust-8', [{ product_id: 'SKU-123', quantity: 2 }]]);
      assert.ok(body.created_at);
      await assertProblem(await get(`/orders/${orderId}?style=kebab`), 400, 'validation', 'style');
    });

    it('is 404 only when there is no such order, 400 when that is no order id', async () => {
      const answer = await get(`/orders/${newId()}`);
      await assertProblem(answer, 404, 'order-not-found');
      for (const id of ['1', 'not-a-uuid', `${newId()}x`, '%27%3B--', 'x'.repeat(500), '019a9c5e-7d3b-7c41-9b1f-3f5f0a6f2d1g']) {
        await assertProblem(await get(`/orders/${id}`), 400, 'validation', 'id');
        await assertProblem(await get(`/api/orders/${id}/timeline`), 400, 'validation', 'id');
      }
    });

    it('says which methods are possible', async () => {
      const answer = await fetch(`${url}/orders/${newId()}`, { method: 'DELETE' });
      assert.equal(answer.headers.get('allow'), 'GET, HEAD');
      await assertProblem(answer, 405, 'method-not-allowed');
    });
  });

  describe('read your writes', () => {
    it('shows each order right after its 202, with and without the token', async () => {
      for (let n = 0; n < 30; n++) {
        const { orderId, token } = await order();
        const answer = await get(`/orders/${orderId}`, n % 2 ? { 'consistency-token': token } : {});
        assert.equal(answer.status, 200);
      }
    });

    it('does so too while the replica stands still for seconds', async () => {
      const before = await metric(/^read_your_writes_fallback_total (\d+)/m);
      let reads = 0;
      await whilePaused(async () => {
        const end = Date.now() + 2_000;
        while (Date.now() < end) {
          const { orderId, token } = await order('paused');
          for (const headers of [{}, { 'consistency-token': token }] as Record<string, string>[]) {
            const start = Date.now();
            const answer = await get(`/orders/${orderId}`, headers);
            assert.equal(answer.status, 200);
            assert.equal(answer.headers.get('read-source'), 'writer');
            // With a token the replica gets its 200 ms (timers may be a little early); without there is nothing to wait for.
            if ('consistency-token' in headers) assert.ok(Date.now() - start >= 190, `${Date.now() - start} ms`);
            assert.ok(Date.now() - start < 5_000);
            reads++;
          }
          const timeline = await get(`/orders/${orderId}/timeline`);
          assert.equal(timeline.status, 200);
          reads++;
          const list = await (await get('/orders?customerId=paused&limit=1', { 'consistency-token': token })).json() as ListBody;
          assert.equal(list.orders[0]?.orderId, orderId);
          reads++;
        }
        assert.ok(await metric(/^db_replica_lag_seconds (\S+)/m) > 0);
      });
      assert.equal(await metric(/^read_your_writes_fallback_total (\d+)/m), before + reads);
      await eventually(() => metric(/^db_replica_lag_seconds (\S+)/m), (lag) => lag === 0);
    });

    it('waits for the replica when it is about to catch up', async () => {
      await server.postgres.pauseReplay();
      const { orderId, token } = await order();
      const asked = get(`/orders/${orderId}`, { 'consistency-token': token });
      await server.postgres.resumeReplay();
      const answer = await asked;
      assert.equal(answer.status, 200);
      // On a slow machine the wait may be over first; the answer is right either way.
      assert.match(answer.headers.get('read-source') ?? '', /^(replica|writer)$/);
    });

    it('never shows an older version than the token says', async () => {
      const { orderId } = await order();
      await onReplica(orderId);
      await whilePaused(async () => {
        await db.admin.query('UPDATE orders.orders SET status = \'CONFIRMED\', version = 2 WHERE order_id = $1', [orderId]);
        const stale = await (await get(`/orders/${orderId}`)).json() as OrderBody;
        assert.deepEqual([stale.status, stale.version], ['PENDING', 1]);
        const answer = await get(`/orders/${orderId}`, { 'consistency-token': formatConsistencyToken({ orderId, version: 2 }) });
        assert.equal(answer.headers.get('read-source'), 'writer');
        assert.equal(answer.headers.get('etag'), '"2"');
        assert.equal((await answer.json() as OrderBody).status, 'CONFIRMED');
      });
    });

    it('refuses a forged token: of a version that the writer does not have, or of no order', async () => {
      const { orderId } = await order();
      for (const token of [{ orderId, version: 9 }, { orderId: newId(), version: 1 }]) {
        const answer = await get(`/orders/${orderId}`, { 'consistency-token': formatConsistencyToken(token) });
        await assertProblem(answer, 400, 'validation', 'Consistency-Token');
      }
    });

    it('refuses a malformed token', async () => {
      const { orderId, token } = await order();
      const forged = (text: string) => Buffer.from(text).toString('base64url');
      const texts = [orderId, `${orderId}:0`, `${orderId}:1:1`, `${orderId}:01`, '🦊:1'];
      for (const bad of ['x', `${token}=`, ` ${token}!`, ...texts.map(forged)]) {
        await assertProblem(await get(`/orders/${orderId}`, { 'consistency-token': bad }), 400, 'validation', 'Consistency-Token');
        await assertProblem(await get('/orders', { 'consistency-token': bad }), 400, 'validation', 'Consistency-Token');
      }
    });
  });

  describe('a database away', () => {
    const nowhere = () => new pg.Pool({ host: '127.0.0.1', port: 1, user: 'x', password: 'x', database: 'x' });

    it('answers from the writer when the replica is away, and stays ready', async (t) => {
      const gone = nowhere();
      const registry = new Registry();
      const app = createReadApi({ authentication, reader: gone, writer: db.query, logger: silentLogger(), registry });
      t.after(async () => {
        await app.close();
        await gone.end();
      });
      const base = await app.listen({ host: '127.0.0.1', port: 0 });
      const { orderId } = await order('without-replica');
      const answer = await fetch(`${base}/orders/${orderId}`);
      assert.deepEqual([answer.status, answer.headers.get('read-source')], [200, 'writer']);
      const list = await (await fetch(`${base}/orders?customerId=without-replica`)).json() as ListBody;
      assert.deepEqual(list.orders.map((o) => o.orderId), [orderId]);
      assert.equal(await app.readiness(), true);
      assert.doesNotMatch(await registry.metrics(), /^db_replica_lag_seconds /m);
    });

    it('goes to the writer after a moment when the replica takes connections but says nothing', async (t) => {
      const sockets = new Set<Socket>();
      const mute = createServer((socket) => sockets.add(socket.on('error', () => undefined)));
      await new Promise<void>((resolve) => mute.listen(0, '127.0.0.1', resolve));
      const silent = new pg.Pool({
        host: '127.0.0.1', port: (mute.address() as AddressInfo).port, user: 'x', password: 'x', database: 'x', max: 2,
      });
      silent.on('error', () => undefined);
      const app = createReadApi({ authentication, reader: silent, writer: db.query, logger: silentLogger(), registry: new Registry() });
      t.after(async () => {
        for (const socket of sockets) socket.destroy();
        mute.close();
        await app.close();
      });
      const base = await app.listen({ host: '127.0.0.1', port: 0 });
      const { location } = await order();
      const first = await Promise.all(Array.from({ length: 20 }, () => fetch(`${base}${location}`)));
      assert.deepEqual(new Set(first.map((answer) => answer.status)), new Set([200]));
      // Now that it is known to be away, only now and then a request waits for it.
      const start = Date.now();
      for (let n = 0; n < 50; n++) assert.equal((await fetch(`${base}${location}`)).status, 200);
      assert.ok(Date.now() - start < 50 * 1_000, `${Date.now() - start} ms`);
      assert.equal(await app.readiness(), true);
    });

    for (const [who, limits] of [['the server', { statement_timeout: STATEMENT_TIMEOUT_MS }], ['the client', {}]] as const) {
      it(`lets a query that takes too long fail alone, and keeps reading the replica (ended by ${who})`, async (t) => {
        const registry = new Registry();
        const base = await serveFrom(t, replicaPool(limits), registry);
        const { orderId } = await order();
        await whileLocked(async () => {
          const start = Date.now();
          const stock = () => fetch(`${base}/inventory/SKU-123`);
          // More than there are connections: the other client waits until one of the slow ones is given up.
          const slow = Array.from({ length: 8 }, () => fetch(`${base}/orders?status=PENDING`));
          slow.push(fetch(`${base}/orders/${orderId}`));
          const beside = await stock();
          assert.deepEqual([beside.status, beside.headers.get('read-source')], [200, 'replica']);
          for (const answer of await Promise.all(slow)) {
            assert.equal(answer.headers.get('retry-after'), '5');
            await assertProblem(answer, 503, 'unavailable');
          }
          assert.ok(Date.now() - start >= STATEMENT_TIMEOUT_MS);
          const later = await stock();
          assert.deepEqual([later.status, later.headers.get('read-source')], [200, 'replica']);
        });
        assert.match(await registry.metrics(), /^read_your_writes_fallback_total 0$/m);
        const answer = await fetch(`${base}/orders/${orderId}`);
        assert.deepEqual([answer.status, answer.headers.get('read-source')], [200, 'replica']);
      });
    }

    it('says 503 when queries have all connections to the replica for too long', async (t) => {
      const base = await serveFrom(t, replicaPool({ statement_timeout: STATEMENT_TIMEOUT_MS, max: 1 }));
      await whileLocked(async () => {
        const asked = [fetch(`${base}/orders`), fetch(`${base}/orders`)];
        await eventually(async () => (await reader.query('SELECT FROM pg_locks WHERE NOT granted')).rowCount, (n) => n === 1);
        const third = await fetch(`${base}/inventory/SKU-123`);
        assert.equal(third.headers.get('retry-after'), '1');
        await assertProblem(third, 503, 'unavailable');
        for (const answer of await Promise.all(asked)) await assertProblem(answer, 503, 'unavailable');
        const answer = await fetch(`${base}/inventory/SKU-123`);
        assert.deepEqual([answer.status, answer.headers.get('read-source')], [200, 'replica']);
      });
    });

    it('finds out by the look-up for a token, or by the next connection, that the replica has gone silently', async (t) => {
      const { host, port } = server.postgres.reader!;
      for (const withToken of [true, false]) {
        const sockets: Socket[] = [];
        let mute = false;
        const proxy = createServer((socket) => {
          sockets.push(socket.on('error', () => undefined));
          if (mute) return;
          const upstream = connect(port, host);
          sockets.push(upstream.on('error', () => undefined));
          socket.pipe(upstream).pipe(socket);
        });
        await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
        t.after(() => {
          for (const socket of sockets) socket.destroy();
          proxy.close();
        });
        const base = await serveFrom(t, replicaPool({ host: '127.0.0.1', port: (proxy.address() as AddressInfo).port, max: 1 }));
        const { orderId, token } = await order();
        await onReplica(orderId);
        const ask = async (headers: Record<string, string> = {}) => {
          const answer = await fetch(`${base}/orders/${orderId}`, { headers });
          return [answer.status, answer.headers.get('read-source')];
        };
        assert.deepEqual(await ask(), [200, 'replica']);
        mute = true;
        for (const socket of sockets) socket.unpipe();
        if (!withToken) assert.deepEqual(await ask(), [503, null]);
        assert.deepEqual(await ask(withToken ? { 'consistency-token': token } : {}), [200, 'writer']);
        const start = Date.now();
        assert.deepEqual(await ask(), [200, 'writer']);
        assert.ok(Date.now() - start < 1_000, 'nobody waits for a replica that is known to be away');
      }
    });

    it('answers from the replica when the writer is away, with 503 and never 404 for what the replica lacks', async (t) => {
      const gone = nowhere();
      const app = createReadApi({ authentication, reader, writer: gone, logger: silentLogger(), registry: new Registry() });
      t.after(async () => {
        await app.close();
        await gone.end();
      });
      const base = await app.listen({ host: '127.0.0.1', port: 0 });
      const { orderId } = await order();
      await onReplica(orderId);
      assert.equal((await fetch(`${base}/orders/${orderId}`)).status, 200);
      await whilePaused(async () => {
        const fresh = await order();
        for (const path of [fresh.location, `${fresh.location}/timeline`]) {
          const answer = await fetch(`${base}${path}`);
          assert.equal(answer.headers.get('retry-after'), '1');
          await assertProblem(answer, 503, 'unavailable');
        }
        await assertProblem(await fetch(`${base}/orders`, { headers: { 'consistency-token': fresh.token } }), 503, 'unavailable');
      });
    });

    it('is not ready and says 503 when both are away', async (t) => {
      const gone = nowhere();
      const app = createReadApi({ authentication, reader: gone, writer: gone, logger: silentLogger(), registry: new Registry() });
      t.after(async () => {
        await app.close();
        await gone.end();
      });
      const base = await app.listen({ host: '127.0.0.1', port: 0 });
      assert.equal(await app.readiness(), NO_ANSWER);
      await assertProblem(await fetch(`${base}/orders/${newId()}`), 503, 'unavailable');
      await assertProblem(await fetch(`${base}/inventory/SKU-123`), 503, 'unavailable');
    });

    it('spends no more connections on the writer than its pool has, and sheds the rest', async (t) => {
      const small = server.pool({ database: db.name, max: 2 });
      const app = createReadApi({ authentication, reader, writer: small, logger: silentLogger(), registry: new Registry() });
      t.after(() => app.close());
      const base = await app.listen({ host: '127.0.0.1', port: 0 });
      const held = await Promise.all([small.connect(), small.connect()]);
      const start = Date.now();
      const asked = Array.from({ length: 260 }, () => fetch(`${base}/orders/${newId()}`).then((answer) => answer.status));
      const refused = await Promise.race(asked);
      assert.equal(refused, 503);
      assert.ok(Date.now() - start < 5_000, 'refused at once, not after waiting for a connection');
      for (const client of held) client.release();
      const statuses = await Promise.all(asked);
      assert.deepEqual(new Set(statuses), new Set([503, 404]));
      assert.ok(statuses.filter((s) => s === 404).length >= 200);
    });
  });

  describe('lists', () => {
    it('shows a page, newest first, with the way to the next', async () => {
      const ids: string[] = [];
      for (let n = 0; n < 5; n++) ids.unshift((await order('lister', SKUS[n % 3])).orderId);
      await onReplica(ids[0]!);
      const first = await get('/api/orders?customerId=lister&limit=2');
      const page = await first.json() as ListBody;
      assert.deepEqual(page.orders.map((o) => o.orderId), ids.slice(0, 2));
      assert.deepEqual(page.orders[0]?.items, [{ sku: 'SKU-101', quantity: 2 }]);
      const link = /^<(.+)>; rel="next"$/.exec(first.headers.get('link') ?? '')?.[1];
      assert.equal(link, `/api/orders?customerId=lister&limit=2&cursor=${page.next}`);
      const second = await (await get(link!)).json() as ListBody;
      assert.deepEqual(second.orders.map((o) => o.orderId), ids.slice(2, 4));
      const third = await get(`/orders?customer_id=lister&limit=2&style=snake&cursor=${second.next}`);
      const last = await third.json() as { orders: { order_id: string }[]; next: null };
      assert.deepEqual([last.orders.map((o) => o.order_id), last.next], [ids.slice(4), null]);
      assert.equal(third.headers.get('link'), null);
      // A page that ends exactly at the last order has no next one.
      assert.equal((await (await get('/orders?customerId=lister&limit=5')).json() as ListBody).next, null);
    });

    it('filters by status and customer, and an empty list is a list', async () => {
      const mine = await order('filter-1');
      const other = await order('filter-1');
      await db.admin.query(
        'UPDATE orders.orders SET status = \'REJECTED\', version = 2, reason = \'INSUFFICIENT_STOCK\', shortages = $2 WHERE order_id = $1',
        [other.orderId, JSON.stringify([{ sku: 'SKU-123', requested: 2, available: 0 }])]);
      const token = formatConsistencyToken({ orderId: other.orderId, version: 2 });
      const list = async (query: string) => {
        const answer = await get(`/orders?${query}`, { 'consistency-token': token });
        return (await answer.json() as ListBody).orders;
      };
      assert.deepEqual((await list('customerId=filter-1&status=PENDING')).map((o) => o.orderId), [mine.orderId]);
      const [rejected] = await list('customerId=filter-1&status=REJECTED') as (OrderBody & { reason: string; shortages: unknown })[];
      assert.deepEqual([rejected?.orderId, rejected?.reason, rejected?.shortages],
        [other.orderId, 'INSUFFICIENT_STOCK', [{ sku: 'SKU-123', requested: 2, available: 0 }]]);
      assert.ok((await list('status=REJECTED')).every((o) => o.status === 'REJECTED'));
      assert.deepEqual(await list('customerId=nobody'), []);
    });

    it('refuses a wrong parameter by its name', async () => {
      const cursor = Buffer.from(`1:${newId()}`).toString('base64url');
      const cases: [query: string, field: string][] = [
        ['limit=0', 'limit'], ['limit=101', 'limit'], ['limit=-1', 'limit'], ['limit=1.5', 'limit'], ['limit=x', 'limit'],
        ['limit=', 'limit'], ['limit=1&limit=2', 'limit'], ['limit=%201', 'limit'],
        ['status=pending', 'status'], ['status=DONE', 'status'], ['status=', 'status'],
        ['status=PENDING&status=REJECTED', 'status'], ['cursor=', 'cursor'], ['cursor=x', 'cursor'], [`cursor=${cursor}=`, 'cursor'],
        [`cursor=${cursor.slice(0, -1)}`, 'cursor'], [`cursor=${Buffer.from(`2:${newId()}`).toString('base64url')}`, 'cursor'],
        [`cursor=${Buffer.from('1:x').toString('base64url')}`, 'cursor'], [`cursor=${cursor}&cursor=${cursor}`, 'cursor'],
        ['customerId=', 'customerId'], ['customerId=%00', 'customerId'], [`customerId=${'x'.repeat(65)}`, 'customerId'],
        ['customerId=a&customer_id=b', 'customer_id'], ['page=2', 'page'], ['__proto__=1', '__proto__'],
      ];
      for (const [query, field] of cases) await assertProblem(await get(`/orders?${query}`), 400, 'validation', field);
    });

    it('refuses any made-up cursor, and is never broken by one', async () => {
      await fc.assert(fc.asyncProperty(fc.oneof(fc.string(), fc.base64String(), fc.uuid()), async (cursor) => {
        const answer = await get(`/orders?cursor=${encodeURIComponent(cursor)}`);
        await assertProblem(answer, 400, 'validation', 'cursor');
      }), { numRuns: 200 });
    });

    it('walks over many orders without gap or double while more arrive', async () => {
      const there = new Set<string>();
      for (let n = 0; n < 12; n++) {
        const made = await Promise.all(Array.from({ length: 50 }, () => order('walker')));
        for (const { orderId } of made) there.add(orderId);
      }
      await eventually(
        async () => (await reader.query('SELECT FROM orders.orders WHERE customer_id = \'walker\'')).rowCount, (n) => n === there.size);
      let writing = true;
      let extra = 0;
      const writer = (async () => {
        while (writing) {
          await order('walker');
          extra++;
        }
      })();
      const seen: string[] = [];
      let path: string | undefined = '/orders?customerId=walker&limit=7';
      try {
        while (path) {
          const answer: Response = await get(path);
          seen.push(...(await answer.json() as ListBody).orders.map((o) => o.orderId));
          path = /^<(.+)>/.exec(answer.headers.get('link') ?? '')?.[1];
        }
      } finally {
        writing = false;
        await writer;
      }
      assert.ok(extra > 0);
      assert.equal(new Set(seen).size, seen.length, 'no order twice');
      assert.deepEqual([...there].filter((id) => !seen.includes(id)), [], 'no order left out');
      assert.deepEqual(seen, [...seen].sort().reverse(), 'newest first');
    });

    it('walks an index whatever the filter', async () => {
      await db.admin.query(`INSERT INTO orders.orders (order_id, customer_id, status, version)
        SELECT gen_random_uuid(), 'bulk-' || n % 500, CASE n % 50 WHEN 0 THEN 'FAILED' ELSE 'COMPLETED' END, 1
        FROM generate_series(1, 20000) n`);
      await db.admin.query('ANALYZE orders.orders');
      for (const filter of [{}, { customerId: 'bulk-7' }, { status: 'FAILED' }, { customerId: 'bulk-7', status: 'COMPLETED' }]) {
        for (const after of [undefined, newId()]) {
          const { text, values } = orderList({ ...filter, after }, 20);
          const { rows } = await db.admin.query(`EXPLAIN ${text}`, values);
          const plan = rows.map((r) => Object.values(r)[0]).join('\n');
          assert.doesNotMatch(plan, /Seq Scan on orders/, plan);
        }
      }
      await db.admin.query('DELETE FROM orders.orders WHERE customer_id LIKE \'bulk-%\'');
    });
  });

  describe('the list by status, with many orders that have left it', () => {
    // As orders of today: newest first, they stand before all that wait.
    const insert = (status: string, count: number) => db.admin.query(`INSERT INTO orders.orders (order_id, customer_id, status, version)
      SELECT overlay(gen_random_uuid()::text PLACING '7fffffff-ffff-7' FROM 1 FOR 15)::uuid, 'settled', $1, 1 FROM generate_series(1, $2)`, [status, count]);
    const settle = () => db.admin.query('UPDATE orders.orders SET status = \'CONFIRMED\', version = 2 WHERE status = \'PENDING\' AND customer_id = \'settled\'');
    /** Pages that the replica looks at, once it has all of the writer's. */
    async function pagesRead(): Promise<number> {
      const { rows: [now] } = await db.admin.query<{ lsn: string }>('SELECT pg_current_wal_insert_lsn() AS lsn');
      await eventually(async () => (await reader.query<{ there: boolean }>('SELECT pg_last_wal_replay_lsn() >= $1::pg_lsn AS there', [now!.lsn])).rows[0]!.there, Boolean);
      const { text, values } = orderList({ status: 'PENDING' }, 1);
      const { rows } = await reader.query<{ 'QUERY PLAN': { Plan: Record<string, number> }[] }>(`EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) ${text}`, values);
      const { Plan: plan } = rows[0]!['QUERY PLAN'][0]!;
      return plan['Shared Hit Blocks']! + plan['Shared Read Blocks']!;
    }

    it('costs the same on the replica after a vacuum, and there is one after 50,000 orders however large the table', async () => {
      await order();
      await insert('COMPLETED', 300_000);
      await db.admin.query('VACUUM (ANALYZE) orders.orders');
      // On few pages: by default vacuum would not care for the indexes.
      await insert('PENDING', 2_000);
      await settle();
      assert.ok(await pagesRead() >= 1_000);
      await eventually(async () => {
        // Not before the replica has said that nobody reads the old rows there.
        await db.admin.query('VACUUM orders.orders');
        return pagesRead();
      }, (pages) => pages < 50);
      // By default a table of this size is vacuumed after 60,000.
      await insert('PENDING', 55_000);
      await settle();
      await db.admin.query('ALTER SYSTEM SET autovacuum_naptime = \'1s\'');
      try {
        await db.admin.query('SELECT pg_reload_conf()');
        await eventually(pagesRead, (pages) => pages < 500, 60_000);
      } finally {
        await db.admin.query('ALTER SYSTEM RESET autovacuum_naptime');
        await db.admin.query('SELECT pg_reload_conf()');
      }
    });
  });

  it('shows what an update asks for beside what the order has, until it is decided', async () => {
    const { orderId } = await order('changer');
    for (const [version, from, to, requested] of [
      [2, 'PENDING', 'CONFIRMED', null],
      [3, 'CONFIRMED', 'UPDATE_PENDING', [{ sku: 'SKU-123', quantity: 7 }]],
      [4, 'UPDATE_PENDING', 'CONFIRMED', null],
    ] as const) {
      const update = 'UPDATE orders.orders SET status = $2, version = $3, requested = $4 WHERE order_id = $1 AND status = $5';
      await db.admin.query(update, [orderId, to, version, requested && JSON.stringify(requested), from]);
      const response = await get(`/orders/${orderId}`, { 'consistency-token': formatConsistencyToken({ orderId, version }) });
      const answer = await response.json() as { status: string; requestedItems?: object[] };
      assert.deepEqual([answer.status, answer.requestedItems], [to, requested ?? undefined]);
    }
  });

  describe('timeline', () => {
    it('shows events and status changes in order, with times and cause', async () => {
      const { orderId } = await order('historian');
      const { rows: [created] } = await db.admin.query('SELECT event_id FROM messaging.outbox WHERE aggregate_id = $1', [orderId]);
      const validated = newEvent({
        type: 'inventory.validated',
        source: '/stock-service',
        subject: orderId,
        sequence: 1,
        cause: { id: created.event_id, correlationid: orderId, traceparent: undefined },
        data: { orderId, lines: [{ sku: 'SKU-123', requested: 2, available: 12 }], sufficient: true, asOf: new Date().toISOString() },
      });
      const confirmed = newEvent({
        type: 'order.confirmed',
        source: '/order-service',
        subject: orderId,
        sequence: 2,
        cause: { id: validated.id, correlationid: orderId, traceparent: undefined },
        data: { orderId, customerId: 'historian', version: 2, confirmedAt: new Date().toISOString() },
      });
      await appendToOutbox(db.command, [validated]);
      await appendToOutbox(db.command, [confirmed]);
      await db.command.query(`WITH change AS (
          INSERT INTO orders.status_change (order_id, version, from_status, to_status, event_id, cause_id)
          VALUES ($1, 2, 'PENDING', 'CONFIRMED', $2, $3)
        ) UPDATE orders.orders SET status = 'CONFIRMED', version = 2 WHERE order_id = $1`, [orderId, confirmed.id, validated.id]);

      interface Entry { at: string; type?: string; causationId: string; status?: { from: string | null; to: string; version: number } }
      const fetchTimeline = async () => {
        const newest = formatConsistencyToken({ orderId, version: 2 });
        const answer = await get(`/api/orders/${orderId}/timeline`, { 'consistency-token': newest });
        return await answer.json() as { orderId: string; status: string; version: number; entries: Entry[]; complete: boolean };
      };
      const timeline = await fetchTimeline();
      assert.deepEqual([timeline.orderId, timeline.status, timeline.version, timeline.complete], [orderId, 'CONFIRMED', 2, true]);
      assert.deepEqual(timeline.entries.map((e) => e.type), ['order.created', 'inventory.validated', 'order.confirmed']);
      assert.deepEqual(timeline.entries.map((e) => e.status),
        [{ from: null, to: 'PENDING', version: 1 }, undefined, { from: 'PENDING', to: 'CONFIRMED', version: 2 }]);
      assert.deepEqual(timeline.entries.slice(1).map((e) => e.causationId), [created.event_id, validated.id]);
      assert.deepEqual(timeline.entries[1]?.at, validated.time);

      // A change whose event is not kept any more still has its place.
      await db.admin.query('DELETE FROM messaging.outbox WHERE event_id = $1', [created.event_id]);
      await eventually(fetchTimeline, (later) => {
        const [first] = later.entries;
        return later.entries.length === 3 && first?.type === undefined && first?.status?.to === 'PENDING';
      });
    });

    it('shows commands, and events that were parked or given up, until when', async () => {
      const { orderId } = await order('patient');
      const requested = newEvent({
        type: 'order.cancel-requested',
        source: '/order-service',
        subject: orderId,
        sequence: 2,
        cause: { id: newId() },
        data: { orderId, customerId: 'patient', version: 2, reason: 'too late', requestedAt: new Date().toISOString() },
      });
      await appendToOutbox(db.command, [requested]);
      await db.command.query(`WITH change AS (
          INSERT INTO orders.status_change (order_id, version, from_status, to_status, event_id, cause_id) VALUES ($1, 2, 'PENDING', 'CANCEL_PENDING', $2, $3)
        ) UPDATE orders.orders SET status = 'CANCEL_PENDING', version = 2 WHERE order_id = $1`, [orderId, requested.id, requested.causationid]);
      await park({ name: 'inventory-service' }, [requested], [{ eventId: requested.id, result: 'parked', reason: 'version 1 of the order comes first' }], db.command);
      await noteDeadLetters('order-status', [{ event: requested, error: 'division by zero' }], db.command);
      await db.admin.query(`INSERT INTO messaging.outbox_dead (xid, id, event_id, aggregate_id, detail_type, envelope, error)
        SELECT xid, id, event_id, aggregate_id, detail_type, envelope, 'too large'
        FROM messaging.outbox WHERE event_id = $1`, [requested.id]);
      interface Entry {
        at: string;
        type: string;
        causationId: string;
        command?: string;
        status?: object;
        parked?: { consumer: string; version: number; reason: string; appliedAt: string | null };
        deadLetter?: { consumer: string; error: string; handledAt: string | null };
      }
      const entries = async () => {
        const response = await get(`/orders/${orderId}/timeline`, { 'consistency-token': formatConsistencyToken({ orderId, version: 2 }) });
        return (await response.json() as { entries: Entry[] }).entries;
      };
      const before = await eventually(entries, (all) => all.length === 5);
      assert.deepEqual(before.filter(({ command }) => command).map(({ type, command }) => [type, command]), [['order.created', 'create'], ['order.cancel-requested', 'cancel']]);
      assert.equal(before.find(({ command }) => command === 'cancel')!.causationId, requested.causationid);
      const waiting = { consumer: 'inventory-service', version: 2, reason: 'version 1 of the order comes first', appliedAt: null };
      assert.deepEqual(before.flatMap(({ parked }) => parked ?? []), [waiting]);
      assert.deepEqual(before.flatMap(({ deadLetter }) => deadLetter ?? []).sort((a, b) => (a.consumer < b.consumer ? -1 : 1)), [
        { consumer: 'bus', error: 'too large', handledAt: null }, { consumer: 'order-status', error: 'division by zero', handledAt: null },
      ]);
      assert.ok(before.filter(({ parked, deadLetter }) => parked ?? deadLetter)
        .every(({ type, causationId }) => type === 'order.cancel-requested' && causationId === requested.id));
      assert.deepEqual(before.map(({ at }) => at), before.map(({ at }) => at).sort());
      // The gap is closed, and the dead letter was moved back and handled.
      await db.command.query('SELECT messaging.unpark($1, $2)', ['inventory-service', [requested.id]]);
      await db.command.query('SELECT messaging.remember($1, $2)', ['order-status', [requested.id]]);
      await eventually(entries, (all) => all.every(({ parked, deadLetter }) => parked?.appliedAt !== null && (deadLetter?.consumer === 'bus' || deadLetter?.handledAt !== null)));
    });

    it('tells a customer that an event was parked or given up, and neither where nor the error', async (t) => {
      const { orderId } = await order('curious');
      const { rows: [created] } = await db.admin.query<{ envelope: string }>(
        'SELECT envelope FROM messaging.outbox WHERE aggregate_id = $1', [orderId]);
      const event = parseEnvelope(created!.envelope);
      const { id } = event;
      await park({ name: 'order-status' }, [event], [{ eventId: id, result: 'parked', reason: 'an internal reason' }], db.command);
      await noteDeadLetters('order-status', [{ event, error: 'relation "orders.secret" does not exist' }], db.command);
      await db.admin.query(`INSERT INTO messaging.outbox_dead (xid, id, event_id, aggregate_id, detail_type, envelope, error)
        SELECT xid, id, event_id, aggregate_id, detail_type, envelope, 'arn:aws:events:eu-west-1:111122223333:event-bus/b' FROM messaging.outbox WHERE event_id = $1`, [id]);
      const customers: Authentication = { ready: () => true, authenticate: (name = '') => ({ subject: name, customerId: name }) };
      const api = createReadApi({
        authentication: customers, reader: db.query, writer: db.query, logger: silentLogger(), registry: new Registry(),
      });
      const contract = watchAnswers(api, (await documents()).openapi);
      t.after(() => api.close());
      for (const [style, deadLetter] of [['camel', 'deadLetter'], ['snake', 'dead_letter']] as const) {
        const { body } = await api.inject({ url: `/orders/${orderId}/timeline?style=${style}`, headers: { authorization: 'curious' } });
        const entries = (JSON.parse(body) as { entries: { [name: string]: { error?: string } }[] }).entries;
        assert.deepEqual([entries.length, entries.filter(({ parked }) => parked).length], [4, 1]);
        const errors = entries.flatMap((entry) => entry[deadLetter]?.error ?? []);
        assert.deepEqual(errors, Array(2).fill('The event could not be handled; the operators see why.'));
        for (const part of ['order-status', 'internal', 'relation', 'arn:', '"bus"', 'consumer']) assert.ok(!body.includes(part), `${part} in ${body}`);
      }
      assert.deepEqual(contract.violations, []);
    });

    it('has the last 500 entries, and says that there were others', async () => {
      const { orderId } = await order('restless');
      const { rows: [created] } = await db.admin.query<{ envelope: string }>('SELECT envelope FROM messaging.outbox WHERE aggregate_id = $1', [orderId]);
      const { envelope } = created!;
      const { time } = JSON.parse(envelope) as { time: string };
      const add = (count: number, from: number) => db.admin.query(`
        WITH event AS (
          SELECT n, gen_random_uuid() AS id, to_char(($4::timestamptz + n * interval '1 s') AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS at
          FROM generate_series($2::int, $2::int + $3::int - 1) n
        ), change AS (
          INSERT INTO orders.status_change (order_id, version, from_status, to_status, event_id, at)
          SELECT $1, n, 'CONFIRMED', 'UPDATE_PENDING', id, at::timestamptz FROM event
        ) INSERT INTO messaging.outbox (event_id, aggregate_id, detail_type, envelope)
        SELECT id, $1::text, 'OrderUpdateRequested', $5::jsonb || jsonb_build_object('id', id, 'time', at) FROM event ORDER BY n`, [orderId, from, count, time, envelope]);
      const timeline = async () => (await (await get(`/orders/${orderId}/timeline`)).json()) as {
        complete: boolean; entries: { at: string; eventId?: string; status: { version: number } }[];
      };
      await add(499, 2);
      const whole = await eventually(timeline, ({ entries }) => entries.length === 500);
      assert.equal(whole.complete, true);
      await add(600, 501);
      const { complete, entries } = await eventually(timeline, (later) => later.entries.at(-1)?.status.version === 1_100);
      assert.equal(complete, false);
      assert.deepEqual(entries.map(({ status }) => status.version), Array.from({ length: 500 }, (_, n) => 601 + n));
      assert.ok(entries.every(({ eventId }) => eventId !== undefined));
    });

    it('is 404 for no order', async () => {
      await assertProblem(await get(`/orders/${newId()}/timeline`), 404, 'order-not-found');
    });
  });

  describe('inventory', () => {
    it('sums the locations of a SKU', async () => {
      for (const path of ['/inventory/SKU-123', '/api/inventory/SKU-123']) {
        const answer = await get(path);
        assert.deepEqual(await answer.json(), { sku: 'SKU-123', name: 'Product SKU-123', onHand: 15, reserved: 3, available: 12 });
        assert.equal(answer.headers.get('read-source'), 'replica');
      }
      assert.deepEqual(await (await get('/inventory/SKU-101?style=snake')).json(),
        { product_id: 'SKU-101', name: 'Product SKU-101', on_hand: 0, reserved: 0, available: 0 });
    });

    it('is 404 for no SKU, 400 for what can be none', async () => {
      await assertProblem(await get('/inventory/SKU-999'), 404, 'sku-not-found');
      await assertProblem(await get('/inventory/a%20b'), 400, 'validation', 'sku');
      await assertProblem(await get(`/inventory/${'x'.repeat(65)}`), 400, 'validation', 'sku');
    });
  });

  it('cannot write with the role it has', async () => {
    await assert.rejects(db.query.query('UPDATE orders.orders SET status = \'FAILED\''), { code: /^(25006|42501)$/ });
  });
});
