import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import fc from 'fast-check';
import type { FastifyInstance, InjectOptions, LightMyRequestResponse } from 'fastify';
import { Registry } from 'prom-client';
import { createReadApi } from './api-read-service/api.ts';
import { formatCursor, ORDER_STATUSES } from './api-read-service/list-request.ts';
import { routes as readRoutes } from './api-read-service/routes.ts';
import { createWriteApi } from './api-write-service/api.ts';
import { routes as writeRoutes } from './api-write-service/routes.ts';
import type { Authentication, Caller } from '../shared/http/caller.ts';
import { formatConsistencyToken } from '../shared/http/consistency-token.ts';
import { silentLogger, startTestServer, type TestDatabase, type TestServer } from '../shared/testing.ts';

const ANN: Caller = { subject: 'ann-1', customerId: 'ann' };
const EVE: Caller = { subject: 'eve-1', customerId: 'eve' };
const DAN: Caller = { subject: 'dan-1', customerId: 'dan' };
const BEN: Caller = { subject: 'ben-1', customerId: 'ben' };
const OPERATOR: Caller = { subject: 'operator-1', customerId: undefined };
const CALLERS = new Map([ANN, DAN, EVE, BEN, OPERATOR].map((caller) => [caller.subject, caller]));
const authentication: Authentication = { ready: () => true, authenticate: (header) => CALLERS.get(header!)! };

const ROUTES = { ...writeRoutes, ...readRoutes };
type RouteName = keyof typeof ROUTES;

/** What a request may be about: an order of somebody else, or one that does not exist. */
interface About {
  readonly orderId: string;
  readonly version: number;
  readonly customerId: string;
  readonly key: string;
}
type Template = (about: About) => InjectOptions;

const base = fc.constantFrom('', '/api');
const style = fc.constantFrom('', '?style=camel', '?style=snake');
const body = fc.record({ sku: fc.constantFrom('SKU-1', 'SKU-1', 'nope'), quantity: fc.integer({ min: 1, max: 3 }), snake: fc.boolean() });
/** Waiting for one takes its time. */
const token = fc.oneof({ weight: 10, arbitrary: fc.constant('none') }, { weight: 1, arbitrary: fc.constant('its') }, { weight: 1, arbitrary: fc.constant('later') });
const tokenHeader = (kind: string, { orderId, version }: About): Record<string, string> => (kind === 'none' ? {}
  : { 'consistency-token': formatConsistencyToken({ orderId, version: kind === 'its' ? version : version + 1 }) });
const withKey = fc.boolean();
const keyHeader = (has: boolean, { key }: About): Record<string, string> => (has ? { 'idempotency-key': key } : {});
const ifMatch = fc.constantFrom('none', '*', 'version', 'version', 'former');
const ifMatchHeader = (kind: string, { version }: About): Record<string, string> => (kind === 'none' ? {}
  : { 'if-match': kind === '*' ? '*' : `"${kind === 'version' ? version : 1}"` });
/** By its customer or by nobody: a body that names the caller is a request about its own order. */
const names = fc.constantFrom('nobody', 'nobody', 'the customer');
const orderBody = ({ sku, quantity, snake }: { sku: string; quantity: number; snake: boolean }, named: string, { customerId }: About) => ({
  ...(named === 'nobody' ? {} : { [snake ? 'customer_id' : 'customerId']: customerId }),
  items: [{ [snake ? 'product_id' : 'sku']: sku, quantity }],
});

/** Requests to each route. A route that is missing here does not compile, and fails the first test. */
const TEMPLATES: { readonly [N in RouteName]: fc.Arbitrary<Template> } = {
  createOrder: fc.record({ base, body, withKey, names }).map((p) => (about) => ({
    method: 'POST', url: `${p.base}/orders`, headers: keyHeader(p.withKey, about), payload: orderBody(p.body, p.names, about),
  })),
  createOrders: fc.record({
    base, entries: fc.array(fc.record({ body, withKey, names }), { minLength: 1, maxLength: 3 }),
  }).map((p) => (about) => ({
    method: 'POST',
    url: `${p.base}/orders/batch`,
    payload: {
      orders: p.entries.map((entry, i) => ({
        ...orderBody(entry.body, entry.names, about), ...(entry.withKey && i === 0 ? { [entry.body.snake ? 'idempotency_key' : 'idempotencyKey']: about.key } : {}),
      })),
    },
  })),
  updateOrder: fc.record({ base, body, withKey, ifMatch }).map((p) => (about) => ({
    method: 'PATCH',
    url: `${p.base}/orders/${about.orderId}`,
    headers: { ...keyHeader(p.withKey, about), ...ifMatchHeader(p.ifMatch, about) },
    payload: orderBody(p.body, 'nobody', about),
  })),
  cancelOrder: fc.record({ base, withKey, ifMatch, reason: fc.constantFrom(undefined, 'mine') }).map((p) => (about) => ({
    method: 'POST',
    url: `${p.base}/orders/${about.orderId}/cancel`,
    headers: { ...keyHeader(p.withKey, about), ...ifMatchHeader(p.ifMatch, about) },
    ...(p.reason === undefined ? {} : { payload: { reason: p.reason } }),
  })),
  getOrder: fc.record({ base, style, token, seen: fc.constantFrom('none', '*', 'version') }).map((p) => (about) => ({
    method: 'GET',
    url: `${p.base}/orders/${about.orderId}${p.style}`,
    headers: { ...tokenHeader(p.token, about), ...(p.seen === 'none' ? {} : { 'if-none-match': p.seen === '*' ? '*' : `"${about.version}"` }) },
  })),
  getTimeline: fc.record({ base, style, token }).map((p) => (about) => ({
    method: 'GET', url: `${p.base}/orders/${about.orderId}/timeline${p.style}`, headers: tokenHeader(p.token, about),
  })),
  listOrders: fc.record({
    base,
    token,
    customer: fc.constantFrom('none', 'none', 'customerId', 'customer_id'),
    cursor: fc.boolean(),
    status: fc.constantFrom(undefined, ...ORDER_STATUSES),
    limit: fc.constantFrom(1, 2, 100),
  }, { requiredKeys: ['base', 'token', 'customer', 'cursor', 'limit'] }).map((p) => (about) => {
    const query = new URLSearchParams({ limit: String(p.limit) });
    if (p.customer !== 'none') query.set(p.customer, about.customerId);
    if (p.cursor) query.set('cursor', formatCursor(about.orderId));
    if (p.status) query.set('status', p.status);
    return { method: 'GET', url: `${p.base}/orders?${query}`, headers: tokenHeader(p.token, about) };
  }),
  getStock: fc.record({ base, style, token, sku: fc.constantFrom('SKU-1', 'nope') }).map((p) => (about) => ({
    method: 'GET', url: `${p.base}/inventory/${p.sku}${p.style}`, headers: tokenHeader(p.token, about),
  })),
};

describe('orders of other customers', () => {
  let server: TestServer;
  let db: TestDatabase;
  let write: FastifyInstance;
  let read: FastifyInstance;
  let pairs: { readonly other: About; readonly nothing: About }[];

  const send = (name: RouteName, { headers, ...request }: InjectOptions, { subject }: Caller): Promise<LightMyRequestResponse> => (
    (name in writeRoutes ? write : read).inject({ ...request, headers: { ...headers, authorization: subject } }));
  const post = async (caller: Caller, payload: object, headers: Record<string, string> = {}) => (
    send('createOrder', { method: 'POST', url: '/orders', payload, headers }, caller));
  const items = [{ sku: 'SKU-1', quantity: 1 }];

  before(async () => {
    server = await startTestServer();
    db = await server.database();
    await db.admin.query(`INSERT INTO inventory.product VALUES ('SKU-1', 'A thing');
      INSERT INTO inventory.stock_level (sku, on_hand) VALUES ('SKU-1', 1000)`);
    const common = { authentication, logger: silentLogger() };
    write = createWriteApi({ ...common, pool: db.command, registry: new Registry() });
    read = createReadApi({ ...common, reader: db.query, writer: db.query, registry: new Registry() });
    await Promise.all([ANN, EVE].flatMap((caller) => [1, 2, 3].map(() => post(caller, { items }))));
    pairs = [];
    for (const status of ['PENDING', 'CONFIRMED', 'CANCELLED']) {
      const key = `ben-key-${pairs.length}`;
      const { orderId } = (await post(BEN, { items }, { 'idempotency-key': key })).json<{ orderId: string }>();
      const path = { PENDING: [], CONFIRMED: ['CONFIRMED'], CANCELLED: ['CANCEL_PENDING', 'CANCELLED'] }[status]!;
      for (const next of path) await db.admin.query('UPDATE orders.orders SET status = $2, version = version + 1 WHERE order_id = $1', [orderId, next]);
      const version = 1 + path.length;
      // Beside it, for the sake of cursors, and never used.
      const beside = orderId.slice(0, -1) + (orderId.endsWith('0') ? '1' : '0');
      pairs.push({ other: { orderId, version, customerId: 'ben', key }, nothing: { orderId: beside, version, customerId: 'nob', key: `nob-key-${pairs.length}` } });
    }
    // A key of the time before keys had a subject.
    await db.admin.query('UPDATE orders.idempotency_key SET subject = \'\' WHERE key = \'ben-key-2\'');
  });
  after(async () => {
    await Promise.all([write?.close(), read?.close()]);
    await server?.stop();
  });

  it('are asked for by all routes', () => {
    assert.deepEqual(Object.keys(TEMPLATES).sort(), Object.keys(ROUTES).sort());
  });

  /** Without what is new in each answer, and without the names that the request has said itself. */
  function comparable({ statusCode, headers, body: text }: LightMyRequestResponse, about: About) {
    const plain = (value: string) => [formatCursor(about.orderId), about.orderId, about.key].reduce((all, name) => all.replaceAll(name, '<asked for>'), value)
      .replace(new RegExp(`\\b${about.customerId}\\b`, 'g'), '<customer>')
      .replace(/\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b/g, '<id>').replace(/"traceId":"[0-9a-f]{32}"/g, '<trace>')
      .replace(/(?<=onsistency_?[Tt]oken":")[\w-]+|^[\w-]{51}$/g, '<token>');
    const { date: _, traceparent: __, 'x-request-id': ___, ...others } = headers;
    const all = Object.entries(others).map(([name, value]) => [name, plain(String(value))]);
    return { status: statusCode, headers: Object.fromEntries(all) as object, body: plain(text) };
  }

  const stateOfOthers = async () => (await db.admin.query(`SELECT json_build_array(
    (SELECT json_agg(o ORDER BY order_id) FROM orders.orders o WHERE customer_id = 'ben'),
    (SELECT json_agg(c ORDER BY c.order_id, c.version) FROM orders.status_change c JOIN orders.orders o USING (order_id) WHERE customer_id = 'ben'),
    (SELECT json_agg(k ORDER BY key) FROM orders.idempotency_key k JOIN orders.orders o USING (order_id) WHERE customer_id = 'ben'),
    (SELECT count(*) FROM messaging.outbox WHERE aggregate_id IN (SELECT order_id::text FROM orders.orders WHERE customer_id = 'ben'))) AS state`)).rows[0].state as unknown;

  it('are as if they were not there: the answer is that about an order which does not exist, and nothing of theirs changes', { timeout: 60_000 }, async () => {
    const before = await stateOfOthers();
    const seen = new Map<RouteName, Set<number>>();
    // All at once, since some requests wait; lists stay as they are while others order.
    const ends = await Promise.allSettled((Object.keys(TEMPLATES) as RouteName[]).map(async (name) => {
      const caller = name === 'createOrder' ? ANN : name === 'createOrders' ? DAN : EVE;
      const statuses = new Set<number>();
      seen.set(name, statuses);
      await fc.assert(fc.asyncProperty(TEMPLATES[name], fc.nat({ max: 2 }), async (template, i) => {
        const { other, nothing } = pairs[i]!;
        const answerAbout = async (about: About) => comparable(await send(name, template(about), caller), about);
        const [ofOther, ofNothing] = await Promise.all([answerAbout(other), answerAbout(nothing)]);
        assert.deepEqual(ofOther, ofNothing, JSON.stringify(template(other)));
        statuses.add(ofOther.status);
        // Else the same key is the caller's own in the next run.
        await db.admin.query('DELETE FROM orders.idempotency_key WHERE subject = $1', [caller.subject]);
      }), { numRuns: 100 });
    }));
    for (const end of ends) if (end.status === 'rejected') throw end.reason;
    assert.deepEqual(Object.fromEntries([...seen].map(([name, statuses]) => [name, [...statuses].sort()])), {
      createOrder: [202, 400],
      createOrders: [200],
      updateOrder: [404, 428],
      cancelOrder: [404, 428],
      getOrder: [400, 404],
      getTimeline: [400, 404],
      listOrders: [200, 400, 404],
      getStock: [200, 400, 404],
    });
    assert.deepEqual(await stateOfOthers(), before);
  });

  it('are in no page of a list, whatever is asked for', async () => {
    interface Page { readonly orders: readonly { readonly customerId: string }[]; readonly next: string | null }
    const all = async (caller: Caller, query: Record<string, string>) => {
      const ids: string[] = [];
      for (let cursor: string | null = ''; cursor !== null;) {
        const search: URLSearchParams = new URLSearchParams({ ...query, limit: '2', ...(cursor === '' ? {} : { cursor }) });
        const answer = await send('listOrders', { method: 'GET', url: `/orders?${search}` }, caller);
        const page: Page = answer.json<Page>();
        ids.push(...page.orders.map(({ customerId }) => customerId));
        cursor = page.next;
      }
      return new Set(ids);
    };
    assert.deepEqual(await all(EVE, {}), new Set(['eve']));
    assert.deepEqual(await all(EVE, { customerId: 'eve' }), new Set(['eve']));
    assert.deepEqual(await all(EVE, { status: 'PENDING' }), new Set(['eve']));
    assert.deepEqual(await all(EVE, { status: 'CONFIRMED' }), new Set());
    assert.deepEqual(await all(OPERATOR, {}), new Set(['ann', 'ben', 'dan', 'eve']));
    assert.deepEqual(await all(OPERATOR, { customerId: 'ben' }), new Set(['ben']));
    assert.deepEqual(await all(OPERATOR, { customerId: 'nob' }), new Set());
  });

  it('are there for their customer and for operators, in the same words', async () => {
    for (const { other } of pairs) {
      for (const name of ['getOrder', 'getTimeline'] as const) {
        const url = `/orders/${other.orderId}${name === 'getOrder' ? '' : '/timeline'}`;
        const headers = { 'consistency-token': formatConsistencyToken(other) };
        const [own, byOperator] = await Promise.all([BEN, OPERATOR].map(async (caller) => comparable(await send(name, { method: 'GET', url, headers }, caller), other)));
        assert.equal(own!.status, 200);
        assert.match(own!.body, /"version":\d/);
        assert.deepEqual(byOperator, own);
      }
    }
    const command = (caller: Caller, { orderId, version }: About, payload: object, path = '', headers = {}) => send(
      path === '' ? 'updateOrder' : 'cancelOrder',
      { method: path === '' ? 'PATCH' : 'POST', url: `/orders/${orderId}${path}`, payload, headers: { 'if-match': `"${version}"`, ...headers } }, caller);
    const [pending, confirmed] = pairs.map(({ other }) => other);
    assert.equal((await command(OPERATOR, confirmed!, { items: [{ sku: 'SKU-1', quantity: 2 }] })).statusCode, 202);
    const key = { 'idempotency-key': 'cancel-1' };
    assert.equal((await command(BEN, pending!, {}, '/cancel', key)).statusCode, 202);
    assert.equal((await command(BEN, pending!, {}, '/cancel', key)).statusCode, 202);
    // The operator's key of this name is another one.
    assert.equal((await command(OPERATOR, pending!, {}, '/cancel', key)).statusCode, 412);
  });

  it('have keys of their own: the same key of another subject makes an order, also at the same moment', async () => {
    const key = { 'idempotency-key': 'shared-1' };
    const order = async (caller: Caller) => (await post(caller, { items }, key)).json<{ orderId: string }>().orderId;
    const orders = await Promise.all([ANN, EVE, ANN, EVE].map(order));
    assert.equal(new Set(orders).size, 2);
    assert.deepEqual(orders.slice(2), orders.slice(0, 2));
    const own = await post(ANN, { customerId: 'ann', items }, key);
    assert.equal(own.json<{ orderId: string }>().orderId, orders[0], 'with or without the customer it is the same order');
    assert.equal((await post(ANN, { items: [{ sku: 'SKU-1', quantity: 9 }] }, key)).statusCode, 422);
    const { statusCode, body: text } = await post(OPERATOR, { items }, key);
    assert.deepEqual([statusCode, /customerId is missing/.test(text)], [400, true]);
    assert.equal((await post(OPERATOR, { customerId: 'ann', items }, key)).statusCode, 202);
    const { rows } = await db.admin.query('SELECT subject FROM orders.idempotency_key WHERE key = \'shared-1\' ORDER BY 1');
    assert.deepEqual(rows.map(({ subject }) => subject as string), ['ann-1', 'eve-1', 'operator-1']);
  });

  it('cost the same statements and the same time as orders that do not exist', { timeout: 60_000 }, async (t) => {
    const sent: string[] = [];
    const pool = server.pool({ database: db.name, user: db.query.options.user!, password: db.query.options.password as string, max: 1 });
    pool.on('connect', (client) => {
      const query = client.query.bind(client) as (...values: unknown[]) => unknown;
      client.query = ((...values: [{ name?: string; text: string }, ...unknown[]]) => {
        sent.push(values[0].name ?? values[0].text);
        return query(...values);
      }) as typeof client.query;
    });
    const watched = createReadApi({ authentication, logger: silentLogger(), reader: pool, writer: pool, registry: new Registry() });
    t.after(() => watched.close());
    const requests = ({ orderId, version }: About) => [`/orders/${orderId}`, `/orders/${orderId}/timeline`].flatMap((url) => [
      { url, headers: {} }, { url, headers: { 'consistency-token': formatConsistencyToken({ orderId, version }) } },
    ]).concat({ url: '/orders', headers: { 'consistency-token': formatConsistencyToken({ orderId, version }) } });
    const statementsOf = async (about: About) => {
      const all: string[][] = [];
      for (const { url, headers } of requests(about)) {
        sent.length = 0;
        await watched.inject({ url, headers: { ...headers, authorization: EVE.subject } });
        // A wait asks again and again.
        all.push(sent.filter((statement, i) => statement !== sent[i - 1]));
      }
      return all;
    };
    const { other, nothing } = pairs[0]!;
    const statements = await statementsOf(other);
    assert.ok(statements.every(({ length }) => length > 0));
    assert.deepEqual(statements, await statementsOf(nothing));

    const waits = await Promise.all(Array.from({ length: 20 }, async (_, i) => {
      const about = i % 2 === 0 ? other : nothing;
      const start = performance.now();
      const answer = await send('getStock', { method: 'GET', url: '/inventory/SKU-1', headers: tokenHeader('its', about) }, EVE);
      assert.equal(answer.statusCode, 400);
      return performance.now() - start;
    }));
    const [ofOther, ofNothing] = [0, 1].map((odd) => waits.filter((_, i) => i % 2 === odd).sort((a, b) => a - b));
    assert.ok(ofOther![0]! >= 190 && ofNothing![0]! >= 190, `${String(ofOther)} and ${String(ofNothing)} ms`);
    assert.ok(Math.abs(ofOther![5]! - ofNothing![5]!) < 50, `${String(ofOther)} and ${String(ofNothing)} ms`);
  });
});
