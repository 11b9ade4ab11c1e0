import assert from 'node:assert/strict';
import { request as httpRequest } from 'node:http';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { after, before, describe, it } from 'node:test';
import fc from 'fast-check';
import type { FastifyInstance } from 'fastify';
import pg from 'pg';
import { Registry } from 'prom-client';
import { createWriteApi } from './api.ts';
import { GroupCommit } from './group-commit.ts';
import { acceptOrders } from './intake.ts';
import type { NewOrder } from './intake.ts';
import { fingerprint } from './order-request.ts';
import { watchAnswers, type Watch } from '../../../scripts/contracts/answers.ts';
import { documents } from '../../../scripts/contracts/documents.ts';
import { parseEnvelope, newEvent, newId } from '../../shared/events/index.ts';
import { withoutAuthorization as authentication, type Authentication } from '../../shared/http/caller.ts';
import { parseConsistencyToken } from '../../shared/http/consistency-token.ts';
import type { ProblemBody } from '../../shared/http/problem.ts';
import { NO_ANSWER } from '../../shared/releases.ts';
import { createLogger } from '../../shared/telemetry.ts';
import { eventually, silentLogger, startTestServer } from '../../shared/testing.ts';
import type { TestDatabase, TestServer } from '../../shared/testing.ts';

const camel = { customerId: 'cust-123', items: [{ sku: 'SKU-123', quantity: 2 }, { sku: 'prod-1', quantity: 1 }] };
const snake = { customer_id: 'cust-101', items: [{ product_id: 'prod-1', quantity: 2 }] };
const SKUS = ['SKU-123', 'prod-1', 'SKU-101', 'SKU-102'];

describe('api-write-service', () => {
  let server: TestServer;
  let db: TestDatabase;
  let app: FastifyInstance;
  let watch: Watch;
  let url: string;
  const registry = new Registry();

  before(async () => {
    server = await startTestServer();
    db = await server.database({ workload: 'api-write-service' });
    await db.admin.query('INSERT INTO inventory.product (sku, name) SELECT sku, sku FROM unnest($1::text[]) AS s (sku)', [SKUS]);
    app = createWriteApi({ authentication, pool: db.command, logger: silentLogger(), registry });
    watch = watchAnswers(app, (await documents()).openapi);
    url = await app.listen({ host: '127.0.0.1', port: 0 });
  });
  after(async () => {
    await app?.close();
    assert.deepEqual(watch.violations, [], 'every answer is as the OpenAPI document says');
    await server?.stop();
  });

  const post = (body: unknown, headers: Record<string, string> = {}, path = '/orders') => postTo(url, body, headers, path);
  const postTo = (base: string, body: unknown, headers: Record<string, string> = {}, path = '/orders') => fetch(`${base}${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: typeof body === 'string' || body instanceof Uint8Array ? body as string : JSON.stringify(body),
  });
  const counts = async () => (await db.admin.query<Record<string, string>>(`SELECT
    (SELECT count(*) FROM orders.orders) AS orders, (SELECT count(*) FROM orders.order_line) AS lines,
    (SELECT count(*) FROM orders.status_change) AS changes, (SELECT count(*) FROM orders.idempotency_key) AS keys,
    (SELECT count(*) FROM messaging.outbox) AS events`)).rows[0];
  const locksWaitedFor = (count: number) => eventually(
    async () => (await db.admin.query('SELECT FROM pg_locks WHERE NOT granted')).rowCount, (n) => n === count);
  const metric = async (line: RegExp) => Number(line.exec(await registry.metrics())?.[1] ?? 0);

  async function assertRefused(answer: Response, status: number, type: string, field?: string): Promise<ProblemBody> {
    assert.equal(answer.headers.get('content-type'), 'application/problem+json; charset=utf-8');
    const problem = await answer.json() as ProblemBody;
    assert.equal(answer.status, status, JSON.stringify(problem));
    assert.equal(problem.type, `urn:cdk-order-pipeline:problem:${type}`);
    assert.equal(problem.status, status);
    assert.match(problem.traceId ?? '', /^[0-9a-f]{32}$/);
    assert.doesNotMatch(JSON.stringify(problem), /\.ts:|node_modules|\\n +at /);
    if (field !== undefined) {
      assert.deepEqual(problem.errors?.map((e) => e.field), [field], JSON.stringify(problem));
      assert.ok(problem.detail.includes(field), `${problem.detail} names ${field}`);
    }
    return problem;
  }

  it('accepts an order and stores it with lines, first status and event in one go', async () => {
    const before = await metric(/^orders_created_total (\d+)/m);
    const answer = await post(camel, { traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' });
    assert.equal(answer.status, 202);
    const { orderId, status, ...rest } = await answer.json() as { orderId: string; status: string };
    assert.deepEqual({ status, rest }, { status: 'PENDING', rest: {} });
    assert.equal(answer.headers.get('location'), `/orders/${orderId}`);
    assert.equal(answer.headers.get('etag'), '"1"');
    assert.deepEqual(parseConsistencyToken(answer.headers.get('consistency-token') ?? undefined), { orderId, version: 1 });
    assert.match(answer.headers.get('traceparent') ?? '', /^00-0af7651916cd43dd8448eb211c80319c-(?!b7ad6b7169203331)[0-9a-f]{16}-01$/);
    assert.equal(await metric(/^orders_created_total (\d+)/m), before + 1);

    const { rows: [order] } = await db.admin.query('SELECT * FROM orders.orders WHERE order_id = $1', [orderId]);
    assert.equal(order.customer_id, 'cust-123');
    assert.deepEqual([order.status, order.version], ['PENDING', 1]);
    assert.match(order.traceparent, /^00-0af7651916cd43dd8448eb211c80319c-/);
    const { rows: lines } = await db.admin.query('SELECT sku, quantity FROM orders.order_line WHERE order_id = $1 ORDER BY sku', [orderId]);
    assert.deepEqual(lines, [{ sku: 'SKU-123', quantity: 2 }, { sku: 'prod-1', quantity: 1 }]);

    const { rows: [stored] } = await db.admin.query('SELECT * FROM messaging.outbox WHERE aggregate_id = $1', [orderId]);
    const event = parseEnvelope(stored.envelope);
    assert.equal(stored.detail_type, 'OrderCreated');
    assert.equal(stored.event_id, event.id);
    assert.equal(event.type, 'order.created');
    assert.deepEqual(event.data, { orderId, ...camel, createdAt: order.created_at.toISOString() });
    assert.deepEqual([event.subject, event.partitionkey, event.correlationid, event.sequence], [orderId, orderId, orderId, '1']);
    assert.match(event.traceparent ?? '', /^00-0af7651916cd43dd8448eb211c80319c-/);
    assert.equal(event.causationid, answer.headers.get('x-request-id'));
    const { rows: [change] } = await db.admin.query('SELECT * FROM orders.status_change WHERE order_id = $1', [orderId]);
    assert.deepEqual([change.version, change.from_status, change.to_status, change.event_id, change.cause_id],
      [1, null, 'PENDING', event.id, event.causationid]);
  });

  it('answers in the style of the request, at both addresses', async () => {
    for (const path of ['/orders', '/api/orders']) {
      assert.deepEqual(Object.keys(await (await post(camel, {}, path)).json() as object), ['orderId', 'status']);
      const answer = await post(snake, {}, path);
      assert.equal(answer.status, 202);
      const body = await answer.json() as { order_id: string };
      assert.deepEqual(Object.keys(body), ['order_id', 'status']);
      const { rows } = await db.admin.query('SELECT sku, quantity FROM orders.order_line WHERE order_id = $1', [body.order_id]);
      assert.deepEqual(rows, [{ sku: 'prod-1', quantity: 2 }]);
    }
  });

  it('writes one log line per order with order id and trace id', async (t) => {
    const lines: string[] = [];
    const logged = createWriteApi({
      authentication, pool: db.command, registry: new Registry(), logger: createLogger({ service: 'test' }, { write: (line) => void lines.push(line) }),
    });
    t.after(() => logged.close());
    const base = await logged.listen({ host: '127.0.0.1', port: 0 });
    const answer = await postTo(base, camel);
    const { orderId } = await answer.json() as { orderId: string };
    await eventually(() => lines.length, (n) => n > 0);
    const line = JSON.parse(lines[0]!) as Record<string, unknown>;
    assert.equal(lines.length, 1);
    assert.deepEqual([line.orderId, line.traceId, line.status, line.route],
      [orderId, answer.headers.get('traceparent')?.split('-')[1], 202, '/orders']);
  });

  describe('bad input', () => {
    const item = (change: object) => ({ ...camel, items: [camel.items[0], { ...camel.items[1], ...change }] });
    const long = 'x'.repeat(65);
    const unsupported = (headers: Record<string, string>) => ({ status: 415, type: 'unsupported-media-type', headers });
    interface Expected { status?: number; type?: string; headers?: Record<string, string> }
    const cases: [name: string, body: unknown, field: string, expected?: Expected][] = [
      ['unknown field', { ...camel, priority: 1 }, 'priority'],
      ['unknown field with a strange name', { ...camel, [`a"${'b'.repeat(90)}`]: 1 }, `["a\\"${'b'.repeat(62)}"]`],
      ['unknown field of an item', item({ price: 1 }), 'items[1].price'],
      ['field of the prototype', '{"customerId":"c","items":[{"sku":"SKU-123","quantity":1}],"__proto__":{}}', '__proto__'],
      ['other style in an item', item({ product_id: 'x' }), 'items[1].product_id'],
      ['no customer', { items: camel.items }, 'customerId'],
      ['no customer in snake case', { items: snake.items }, 'customer_id'],
      ['empty customer', { ...camel, customerId: '' }, 'customerId'],
      ['blank customer', { ...camel, customerId: '  ' }, 'customerId'],
      ['long customer', { ...camel, customerId: long }, 'customerId'],
      ['customer with NUL', { ...camel, customerId: 'a\u0000b' }, 'customerId'],
      ...['\u202e', '\u200b', '\uffff', '\u00ad', '\u2028', '\u{e0041}', '\u{1fffe}'].map((invisible): [string, unknown, string] => [
        `customer with U+${invisible.codePointAt(0)!.toString(16)}`, { ...camel, customerId: `a${invisible}b` }, 'customerId',
      ]),
      ['customer that begins with a space', { ...camel, customerId: ' a' }, 'customerId'],
      ['customer in snake case with half a character', { ...snake, customer_id: 'a\ud800' }, 'customer_id'],
      ['customer with half a character', { ...camel, customerId: 'a\ud800' }, 'customerId'],
      ['customer as a number', { ...camel, customerId: 7 }, 'customerId'],
      ['customer as null', { ...camel, customerId: null }, 'customerId'],
      ['no items', { customerId: 'c' }, 'items'],
      ['empty items', { ...camel, items: [] }, 'items'],
      ['items as an object', { ...camel, items: {} }, 'items'],
      ['items as null', { ...camel, items: null }, 'items'],
      ['too many items', { ...camel, items: Array.from({ length: 101 }, (_, n) => ({ sku: `SKU-${n}`, quantity: 1 })) }, 'items'],
      ['item as text', { ...camel, items: [camel.items[0], 'SKU-1'] }, 'items[1]'],
      ['item as null', { ...camel, items: [null] }, 'items[0]'],
      ['no sku', { ...camel, items: [{ quantity: 1 }] }, 'items[0].sku'],
      ['empty sku', item({ sku: '' }), 'items[1].sku'],
      ['long sku', item({ sku: long }), 'items[1].sku'],
      ['sku with a space', item({ sku: 'SKU 1' }), 'items[1].sku'],
      ['sku with a line end', item({ sku: 'SKU-1\n' }), 'items[1].sku'],
      ['sku as a list', item({ sku: ['SKU-123'] }), 'items[1].sku'],
      ['no quantity', { ...camel, items: [{ sku: 'SKU-123' }] }, 'items[0].quantity'],
      ['zero', item({ quantity: 0 }), 'items[1].quantity'],
      ['negative', item({ quantity: -1 }), 'items[1].quantity'],
      ['fractional', item({ quantity: 1.5 }), 'items[1].quantity'],
      ['huge', item({ quantity: 10_001 }), 'items[1].quantity'],
      ['very huge', item({ quantity: 1e300 }), 'items[1].quantity'],
      ['infinite', '{"customerId":"c","items":[{"sku":"SKU-123","quantity":1e999}]}', 'items[0].quantity'],
      ['quantity as text', item({ quantity: '2' }), 'items[1].quantity'],
      ['quantity as null', item({ quantity: null }), 'items[1].quantity'],
      ['quantity as boolean', item({ quantity: true }), 'items[1].quantity'],
      ['unknown sku', item({ sku: 'SKU-999' }), 'items[1].sku', { type: 'unknown-sku' }],
      ['unknown sku that differs in case', item({ sku: 'sku-123' }), 'items[1].sku', { type: 'unknown-sku' }],
      ['unknown sku in snake case', { ...snake, items: [{ product_id: 'no', quantity: 1 }] }, 'items[0].product_id',
        { type: 'unknown-sku' }],
      ['duplicate sku', item({ sku: 'SKU-123' }), 'items[1].sku'],
      ['duplicate sku in snake case', { ...snake, items: [...snake.items, ...snake.items] }, 'items[1].product_id'],
      ['zero in snake case', { ...snake, items: [{ product_id: 'prod-1', quantity: 0 }] }, 'items[0].quantity'],
      ['no product id', { ...snake, items: [{ quantity: 1 }] }, 'items[0].product_id'],
      ['body is a list', [], 'body'],
      ['body is null', 'null', 'body'],
      ['body is text', '"order"', 'body'],
      ['empty body', '', 'body', { type: 'malformed-json' }],
      ['malformed JSON', '{"customerId": "c", ', 'body', { type: 'malformed-json' }],
      ['JSON with a trailing comma', '{"customerId": "c",}', 'body', { type: 'malformed-json' }],
      ['not UTF-8', Buffer.from('{"customerId":"a\xff","items":[{"sku":"SKU-123","quantity":1}]}', 'latin1'), 'body',
        { type: 'malformed-json' }],
      ['body over the limit', { ...camel, customerId: 'x'.repeat(64 * 1024) }, 'body', { status: 413, type: 'payload-too-large' }],
      ['wrong content type', camel, 'Content-Type', unsupported({ 'content-type': 'text/plain' })],
      ['form', 'customerId=c', 'Content-Type', unsupported({ 'content-type': 'application/x-www-form-urlencoded' })],
      ['broken content type', camel, 'Content-Type', unsupported({ 'content-type': 'json' })],
      ['compressed body', camel, 'Content-Encoding', unsupported({ 'content-encoding': 'gzip' })],
      ['empty idempotency key', camel, 'Idempotency-Key', { headers: { 'idempotency-key': '' } }],
      ['long idempotency key', camel, 'Idempotency-Key', { headers: { 'idempotency-key': 'k'.repeat(256) } }],
      ['idempotency key with a space', camel, 'Idempotency-Key', { headers: { 'idempotency-key': 'a b' } }],
      ['idempotency key beyond ASCII', camel, 'Idempotency-Key', { headers: { 'idempotency-key': 'clé' } }],
      ['half quoted idempotency key', camel, 'Idempotency-Key', { headers: { 'idempotency-key': '"abc' } }],
    ];
    for (const [name, body, field, { status = 400, type = 'validation', headers = {} } = {}] of cases) {
      it(`${name}: ${status} names ${field}`, async () => {
        const before = await counts();
        await assertRefused(await post(body, headers), status, type, field);
        // Not even a key is left behind: corrected, the order passes with the same one.
        if (!('idempotency-key' in headers)) {
          await assertRefused(await post(body, { 'idempotency-key': newId(), ...headers }), status, type, field);
        }
        assert.deepEqual(await counts(), before);
      });
    }

    it('names every wrong field at once', async () => {
      const answer = await post({ customerId: '', items: [{ sku: 'SKU-123', quantity: 0 }, { sku: 'a b', quantity: 1 }] });
      const { errors } = await answer.json() as ProblemBody;
      assert.deepEqual(errors?.map((e) => e.field), ['customerId', 'items[0].quantity', 'items[1].sku']);
      assert.equal(errors?.[1]?.message, 'must be a whole number from 1 to 10000');
    });

    it('refuses an idempotency key given twice, and no body at all', async () => {
      const before = await counts();
      const twice = await new Promise<number | undefined>((resolve, reject) => {
        const headers = { 'content-type': 'application/json', 'idempotency-key': ['a', 'b'] };
        const request = httpRequest(`${url}/orders`, { method: 'POST', headers }, (answer) => resolve(answer.resume().statusCode));
        request.on('error', reject);
        request.end(JSON.stringify(camel));
      });
      assert.equal(twice, 400);
      await assertRefused(await fetch(`${url}/orders`, { method: 'POST' }), 400, 'validation', 'body');
      assert.deepEqual(await counts(), before);
    });

    it('refuses any order that was made invalid, and accepts any valid one', async () => {
      const text = (max: number) => fc.string({ unit: 'grapheme', minLength: 1, maxLength: max })
        .filter((s) => /^(?!\s)[^\p{C}\p{Zl}\p{Zp}\ufffc\ufffd]{1,64}(?<!\s)$/u.test(s));
      const valid = fc.record({
        customerId: text(64),
        items: fc.uniqueArray(fc.record({ sku: fc.constantFrom(...SKUS), quantity: fc.integer({ min: 1, max: 10_000 }) }),
          { minLength: 1, maxLength: SKUS.length, selector: (i) => i.sku }),
      });
      await fc.assert(fc.asyncProperty(valid, fc.boolean(), async (order, inSnake) => {
        const body = inSnake
          ? { customer_id: order.customerId, items: order.items.map(({ sku, quantity }) => ({ product_id: sku, quantity })) }
          : order;
        const answer = await post(body);
        assert.equal(answer.status, 202, await answer.clone().text());
      }), { numRuns: 60 });

      const before = await counts();
      const notAnObject = fc.oneof(fc.string(), fc.integer(), fc.boolean(), fc.constant(null));
      const badQuantity = fc.oneof(
        fc.integer({ max: 0 }), fc.integer({ min: 10_001 }), fc.double().filter((n) => !Number.isInteger(n)),
        fc.string(), fc.boolean(), fc.constant(null), fc.array(fc.integer()), fc.object(),
      );
      const badSku = fc.oneof(
        fc.string().filter((s) => !SKUS.includes(s)), fc.integer(), fc.constant(null), fc.boolean(), fc.object(),
        fc.array(fc.constantFrom(...SKUS)),
      );
      const badCustomer = fc.oneof(
        fc.integer(), fc.constant(null), fc.boolean(), fc.object(), fc.constant(''), text(64).map((s) => s + '\u0007'),
        fc.string({ minLength: 65 }),
      );
      const otherKey = fc.string().filter((k) => !['customerId', 'items', 'sku', 'quantity'].includes(k));
      type Mutation = (order: { customerId: string; items: { sku: string; quantity: number }[] }) => unknown;
      const mutation = fc.oneof<fc.Arbitrary<Mutation>[]>(
        badQuantity.map((quantity) => (o) => ({ ...o, items: [...o.items.slice(1), { ...o.items[0], quantity }] })),
        badSku.map((sku) => (o) => ({ ...o, items: [{ ...o.items[0], sku }, ...o.items.slice(1)] })),
        badCustomer.map((customerId) => (o) => ({ ...o, customerId })),
        fc.tuple(otherKey, fc.jsonValue()).map(([key, value]) => (o) => Object.defineProperty({ ...o }, key, { value, enumerable: true })),
        fc.tuple(otherKey, fc.jsonValue()).map(([key, value]) => (o) => (
          { ...o, items: o.items.map((i) => Object.defineProperty({ ...i }, key, { value, enumerable: true })) })),
        fc.constantFrom('customerId', 'items').map((key) => (o) => ({ ...o, [key]: undefined })),
        fc.constantFrom('sku', 'quantity').map((key) => (o) => ({ ...o, items: o.items.map((i) => ({ ...i, [key]: undefined })) })),
        fc.constant<Mutation>((o) => ({ ...o, items: [...o.items, o.items[0]] })),
        fc.constant<Mutation>((o) => ({ ...o, items: [] })),
        notAnObject.map((value) => (o) => ({ ...o, items: [value, ...o.items] })),
        notAnObject.map((value) => (o) => ({ ...o, items: value })),
        notAnObject.map((value) => () => value),
      );
      await fc.assert(fc.asyncProperty(valid, mutation, async (order, mutate) => {
        const body = JSON.stringify(mutate(order));
        const answer = await post(body);
        const problem = await answer.json() as ProblemBody;
        assert.equal(answer.status, 400, `${body} → ${JSON.stringify(problem)}`);
        assert.ok(problem.errors?.length && problem.errors.every((e) => e.field && e.message), JSON.stringify(problem));
      }), { numRuns: 500 });
      assert.deepEqual(await counts(), before);
    });
  });

  describe('idempotency', () => {
    it('gives the same answer to the same request, whatever its white space, order of fields or style', async () => {
      const first = await post(camel, { 'idempotency-key': 'same-1' });
      const before = await counts();
      const reordered = JSON.stringify({ items: camel.items, customerId: camel.customerId }, null, 2);
      const again = await post(reordered, { 'idempotency-key': '"same-1"' });
      assert.equal(again.status, 202);
      assert.deepEqual(await again.json(), await first.json());
      for (const header of ['location', 'etag', 'consistency-token']) assert.equal(again.headers.get(header), first.headers.get(header));
      const inSnake = { customer_id: camel.customerId, items: camel.items.map((i) => ({ product_id: i.sku, quantity: i.quantity })) };
      const other = await post(inSnake, { 'idempotency-key': 'same-1' });
      assert.equal(other.headers.get('location'), first.headers.get('location'));
      assert.deepEqual(await counts(), before);
    });

    it('refuses another request with the key', async () => {
      await post(camel, { 'idempotency-key': 'other-1' });
      const before = await counts();
      const others = [
        { ...camel, items: [{ sku: 'SKU-123', quantity: 3 }, { sku: 'prod-1', quantity: 1 }] },
        { ...camel, items: [{ sku: 'SKU-101', quantity: 2 }, { sku: 'prod-1', quantity: 1 }] },
        { ...camel, items: camel.items.slice(0, 1) },
      ];
      for (const other of others) await assertRefused(await post(other, { 'idempotency-key': 'other-1' }), 422, 'idempotency-mismatch', 'Idempotency-Key');
      const answer = await post({ ...camel, customerId: 'someone-else' }, { 'idempotency-key': 'other-1' });
      await assertRefused(answer, 422, 'idempotency-mismatch', 'Idempotency-Key');
      assert.deepEqual(await counts(), before);
    });

    it('takes the key once the refused request was corrected', async () => {
      const wrong = { ...camel, items: [{ sku: 'nope', quantity: 1 }] };
      await assertRefused(await post(wrong, { 'idempotency-key': 'corrected-1' }), 400, 'unknown-sku');
      assert.equal((await post(camel, { 'idempotency-key': 'corrected-1' })).status, 202);
    });

    it('makes one order of 50 concurrent requests with one key', async () => {
      const before = await counts();
      const created = await metric(/^orders_created_total (\d+)/m);
      const replayed = await metric(/^idempotency_requests_total\{result="replayed"\} (\d+)/m);
      const answers = await Promise.all(Array.from({ length: 50 }, () => post(camel, { 'idempotency-key': 'rush-1' })));
      assert.deepEqual(new Set(answers.map((a) => a.status)), new Set([202]));
      assert.equal(new Set(await Promise.all(answers.map((a) => a.text()))).size, 1);
      const after = await counts();
      assert.deepEqual(Object.entries(after!).map(([k, n]) => [k, Number(n) - Number(before![k])]),
        [['orders', 1], ['lines', 2], ['changes', 1], ['keys', 1], ['events', 1]]);
      assert.equal(await metric(/^orders_created_total (\d+)/m), created + 1);
      assert.equal(await metric(/^idempotency_requests_total\{result="replayed"\} (\d+)/m), replayed + 49);
    });

    it('lets exactly one of two bodies have the key when both arrive at once', async () => {
      const bodies = Array.from({ length: 40 }, (_, n) => ({ ...camel, customerId: `rival-${n % 2}` }));
      const answers = await Promise.all(bodies.map((body) => post(body, { 'idempotency-key': 'rival-1' })));
      const winners = new Set(bodies.filter((_, n) => answers[n]!.status === 202).map((b) => b.customerId));
      assert.equal(winners.size, 1);
      for (const [n, answer] of answers.entries()) assert.equal(answer.status, winners.has(bodies[n]!.customerId) ? 202 : 422);
    });

    it('does not deadlock when batches hold the same keys in another order', async () => {
      // In which order a statement comes by its rows is up to the planner, so one round may pass by luck.
      for (let round = 0; round < 8; round++) {
        const keys = Array.from({ length: 31 }, (_, n) => `batch-${round}-${n}`);
        // Both batches come to a stop at the middle key, with what they have claimed before it.
        const blocker = await db.admin.connect();
        await blocker.query('BEGIN');
        await blocker.query('INSERT INTO orders.idempotency_key (key, body_hash, order_id) VALUES ($1, \'\', $2)', [keys[15], newId()]);
        const batches = [keys, keys.toReversed()].map((order) => {
          const intake = new GroupCommit(db.command);
          return Promise.all(order.map((key) => intake.accept(newOrder(key))));
        });
        await locksWaitedFor(2);
        await blocker.query('ROLLBACK');
        blocker.release();
        const results = (await Promise.all(batches)).flat().map((outcome) => outcome.result);
        assert.deepEqual(results.toSorted(), [...keys.map(() => 'accepted'), ...keys.map(() => 'replayed')]);
      }
    });
  });

  describe('intake of a batch', () => {
    it('answers for each order by itself, also for two with one key', async () => {
      const good = newOrder('mixed-1');
      const twin = newOrder('mixed-1');
      const rival = { ...newOrder('mixed-1'), idempotency: { subject: '', key: 'mixed-1', fingerprint: Buffer.alloc(32) } };
      const unknown = { ...newOrder(undefined), items: [{ sku: 'nope', quantity: 1 }, { sku: 'prod-1', quantity: 1 }] };
      const plain = newOrder(undefined);
      const outcomes = await acceptOrders([unknown, good, twin, rival, plain], db.command);
      assert.deepEqual(outcomes[0], { result: 'unknown-sku', skus: ['nope'] });
      assert.deepEqual(outcomes[4], { result: 'accepted', orderId: plain.orderId });
      // Which of the three gets the key is open, not that one does.
      const kinds = outcomes.slice(1, 4).map((o) => o.result).sort();
      assert.ok(kinds.join() === 'accepted,mismatch,replayed' || kinds.join() === 'accepted,mismatch,mismatch', kinds.join());
      const { rows } = await db.admin.query('SELECT order_id FROM orders.orders WHERE order_id = ANY ($1)',
        [[unknown, good, twin, rival, plain].map((o) => o.orderId)]);
      assert.equal(rows.length, 2);
    });

    it('takes the same orders again without storing them twice', async () => {
      const orders = [newOrder('again-1'), newOrder(undefined)];
      const first = await acceptOrders(orders, db.command);
      const before = await counts();
      const second = await acceptOrders(orders, db.command);
      assert.deepEqual(second, first);
      assert.deepEqual(second.map((o) => o.result), ['accepted', 'accepted']);
      assert.deepEqual(await counts(), before);
    });

    it('is undone with the transaction it is part of', async () => {
      const before = await counts();
      const client = await db.command.connect();
      await client.query('BEGIN');
      assert.deepEqual((await acceptOrders([newOrder('undone-1')], client)).map((o) => o.result), ['accepted']);
      await client.query('ROLLBACK');
      client.release();
      assert.deepEqual(await counts(), before);
    });
  });

  function newOrder(idempotencyKey: string | undefined): NewOrder {
    const request = { style: 'camel' as const, customerId: 'cust-1', items: [{ sku: 'SKU-101', quantity: 1 }] };
    const orderId = newId();
    const createdAt = new Date();
    const event = newEvent({
      type: 'order.created',
      source: '/order-service',
      subject: orderId,
      sequence: 1,
      cause: { id: newId(), correlationid: orderId, traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' },
      data: { orderId, customerId: request.customerId, items: request.items, createdAt: createdAt.toISOString() },
    });
    return {
      orderId,
      customerId: request.customerId,
      items: request.items,
      createdAt,
      traceparent: event.traceparent ?? '',
      causeId: event.causationid,
      idempotency: idempotencyKey === undefined ? undefined : { subject: '', key: idempotencyKey, fingerprint: fingerprint(request) },
      event: { id: event.id, envelope: JSON.stringify(event) },
    };
  }

  describe('a batch of orders', () => {
    interface Result {
      outcome: string;
      orderId?: string;
      order_id?: string;
      status?: string;
      location?: string;
      consistencyToken?: string;
      problem?: ProblemBody;
    }
    const batch = (orders: unknown, headers: Record<string, string> = {}, path = '/orders/batch') => post({ orders }, headers, path);
    const resultsOf = async (answer: Response) => await answer.json() as { accepted: number; refused: number; results: Result[] };

    it('stores the good ones and says of each other one what is wrong with it', async () => {
      await post(camel, { 'idempotency-key': 'taken-by-another' });
      const before = await counts();
      const answer = await batch([
        camel, snake, { ...camel, items: [] }, { ...camel, items: [{ sku: 'nope', quantity: 1 }] },
        { ...camel, idempotencyKey: 'batch-key' }, { ...snake, idempotency_key: 'taken-by-another' }, 7, { ...camel, idempotencyKey: 'with space' },
      ], {}, '/api/orders/batch');
      assert.equal(answer.status, 200);
      const { accepted, refused, results } = await resultsOf(answer);
      assert.deepEqual({ accepted, refused }, { accepted: 3, refused: 5 });
      assert.deepEqual(results.map(({ outcome, problem }) => problem?.type.split(':').at(-1) ?? outcome),
        ['accepted', 'accepted', 'validation', 'unknown-sku', 'accepted', 'idempotency-mismatch', 'validation', 'validation']);
      assert.deepEqual(results.map(({ problem }) => problem?.errors?.map(({ field }) => field).join()),
        [undefined, undefined, 'orders[2].items', 'orders[3].items[0].sku', undefined, 'orders[5].idempotency_key', 'orders[6]', 'orders[7].idempotencyKey']);
      assert.deepEqual(parseConsistencyToken(results[0]!.consistencyToken!), { orderId: results[0]!.orderId, version: 1 });
      assert.equal(results[1]!.location, `/orders/${results[1]!.order_id}`);
      const after = await counts();
      assert.deepEqual(Object.entries(after!).map(([k, n]) => [k, Number(n) - Number(before![k])]),
        [['orders', 3], ['lines', 5], ['changes', 3], ['keys', 1], ['events', 3]]);

      const again = await resultsOf(await batch([{ ...camel, idempotencyKey: 'batch-key' }]));
      assert.deepEqual(again.results, [results[4]]);
      assert.deepEqual(await counts(), after);
    });

    it('is as many requests of a customer as it has orders', async () => {
      const customers: Authentication = {
        ready: () => true, authenticate: (name = '') => ({ subject: name, customerId: name === 'operator' ? undefined : name }),
      };
      const limited = createWriteApi({
        authentication: customers,
        pool: db.command,
        logger: silentLogger(),
        registry: new Registry(),
        rates: { perAddress: 0, perSubject: 50 },
      });
      const send = async (authorization: string) => {
        const orders = Array.from({ length: 100 }, () => ({ customerId: 'anna', items: camel.items }));
        return (await limited.inject({ method: 'POST', url: '/orders/batch', headers: { authorization }, payload: { orders } })).statusCode;
      };
      assert.deepEqual([await send('anna'), await send('anna')], [200, 429]);
      assert.deepEqual([await send('operator'), await send('operator')], [200, 200]);
      await limited.close();
    });

    it('takes 500 orders and not more, and refuses what is no batch', async () => {
      const { accepted } = await resultsOf(await batch(Array.from({ length: 500 }, () => camel)));
      assert.equal(accepted, 500);
      const before = await counts();
      await assertRefused(await batch(Array.from({ length: 501 }, () => camel)), 400, 'validation', 'orders');
      await assertRefused(await batch([]), 400, 'validation', 'orders');
      await assertRefused(await batch(camel), 400, 'validation', 'orders');
      await assertRefused(await post([camel], {}, '/orders/batch'), 400, 'validation', 'orders');
      await assertRefused(await post({ orders: [camel], more: 1 }, {}, '/orders/batch'), 400, 'validation', 'more');
      await assertRefused(await batch([camel], { 'idempotency-key': 'one' }), 400, 'validation', 'Idempotency-Key');
      await assertRefused(await batch([{ ...camel, customerId: 'x'.repeat(1_100_000) }]), 413, 'payload-too-large', 'body');
      assert.deepEqual(await counts(), before);
    });
  });

  describe('addresses, methods and headers', () => {
    it('names the addresses when there is nothing at this one, whatever was sent', async () => {
      const problem = await assertRefused(await fetch(`${url}/nothing`), 404, 'route-not-found');
      assert.match(problem.detail, /\/orders/);
      await assertRefused(await post('x', { 'content-type': 'text/plain' }, '/order'), 404, 'route-not-found');
    });

    it('says which methods an address takes', async () => {
      for (const method of ['GET', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']) {
        const answer = await fetch(`${url}/api/orders`, { method });
        assert.equal(answer.headers.get('allow'), 'POST');
        await assertRefused(answer, 405, 'method-not-allowed');
      }
    });

    it('refuses an address that is not valid', async () => {
      await assertRefused(await fetch(`${url}/orders/%zz`), 400, 'malformed-request', 'path');
    });

    it('starts a trace when there is none or a malformed one, and gives every request an id', async () => {
      for (const traceparent of ['', '00-zz-b7ad6b7169203331-01', `00-${'0'.repeat(32)}-b7ad6b7169203331-01`]) {
        const answer = await fetch(`${url}/nowhere`, { headers: traceparent ? { traceparent } : {} });
        assert.match(answer.headers.get('traceparent') ?? '', /^00-(?!0{32})[0-9a-f]{32}-[0-9a-f]{16}-01$/);
        assert.match(answer.headers.get('x-request-id') ?? '', /^[0-9a-f-]{36}$/);
      }
      const id = newId();
      assert.equal((await fetch(`${url}/nowhere`, { headers: { 'x-request-id': id } })).headers.get('x-request-id'), id);
      assert.notEqual((await fetch(`${url}/nowhere`, { headers: { 'x-request-id': 'made\tup' } })).headers.get('x-request-id'), 'made\tup');
    });

    it('answers broken HTTP and huge headers with a problem', async () => {
      const { hostname, port } = new URL(url);
      const send = (text: string) => new Promise<string>((resolve, reject) => {
        const socket = connect(Number(port), hostname, () => socket.write(text));
        let all = '';
        socket.setEncoding('utf8').on('data', (part) => { all += part; }).on('close', () => resolve(all)).on('error', reject);
      });
      assert.match(await send('this is not HTTP\r\n\r\n'), /^HTTP\/1\.1 400 .*problem:malformed-request/s);
      const huge = `GET / HTTP/1.1\r\nHost: x\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`;
      assert.match(await send(huge), /^HTTP\/1\.1 431 .*problem:headers-too-large/s);
    });

    it('counts requests by route, never by what clients make up', async () => {
      await fetch(`${url}/orders/made-up-by-a-client`);
      const metrics = await registry.metrics();
      assert.match(metrics, /^http_request_duration_seconds_count\{method="POST",route="\/orders",status="202"\} \d+$/m);
      assert.match(metrics, /^http_request_duration_seconds_count\{method="GET",route="none",status="404"\} \d+$/m);
      assert.doesNotMatch(metrics, /made-up-by-a-client/);
    });
  });

  describe('database away', () => {
    it('says 503 with Retry-After and is not ready; lives on', async (t) => {
      const away = new pg.Pool({ host: '127.0.0.1', port: 1, user: 'x', password: 'x', database: 'x' });
      const lines: { level: string; err?: unknown }[] = [];
      const logger = createLogger({ service: 'test' }, { write: (line) => void lines.push(JSON.parse(line) as typeof lines[number]) });
      const lonely = createWriteApi({ authentication, pool: away, logger, registry: new Registry() });
      t.after(async () => {
        await lonely.close();
        await away.end();
      });
      const base = await lonely.listen({ host: '127.0.0.1', port: 0 });
      const answer = await postTo(base, camel);
      assert.equal(answer.headers.get('retry-after'), '1');
      await assertRefused(answer, 503, 'unavailable');
      assert.equal(await lonely.readiness(), NO_ANSWER);
      lines.splice(0);
      for (const { status } of await Promise.all(Array.from({ length: 20 }, () => postTo(base, camel)))) assert.equal(status, 503);
      // A line for each request, and one explanation in a second.
      await eventually(() => lines.filter(({ err }) => !err).length, (count) => count === 20);
      assert.ok(lines.length <= 22, `${lines.length} lines`);
      assert.deepEqual([...new Set(lines.map(({ level }) => level))], ['warn']);
    });

    it('is not ready while the schema is missing, and says 503', async (t) => {
      const empty = server.pool({ database: 'postgres', max: 2 });
      const early = createWriteApi({ authentication, pool: empty, logger: silentLogger(), registry: new Registry() });
      t.after(() => early.close());
      const base = await early.listen({ host: '127.0.0.1', port: 0 });
      assert.match(String(await early.readiness()), /^The migration has not prepared/);
      const answer = await postTo(base, camel);
      await assertRefused(answer, 503, 'unavailable');
      assert.equal(await app.readiness(), true);
    });

    it('stores an order once when connections break while it is being stored', async () => {
      const before = Number((await counts())!.orders);
      let killing = true;
      const killer = (async () => {
        while (killing) {
          await db.admin.query(
            'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1 ORDER BY random() LIMIT 2', [`${db.name}_command`]);
          await new Promise((resolve) => setTimeout(resolve, 5 + Math.random() * 40));
        }
      })();
      let accepted = 0;
      let sent = 0;
      // However slow the machine is, some get through.
      for (let round = 0; round < 10 || (accepted === 0 && round < 200); round++) {
        const answers = await Promise.all(Array.from({ length: 30 }, () => post(camel)));
        sent += answers.length;
        for (const answer of answers) {
          assert.ok([202, 503].includes(answer.status), String(answer.status));
          if (answer.status === 202) accepted++;
        }
      }
      killing = false;
      await killer;
      const stored = Number((await counts())!.orders) - before;
      assert.ok(accepted > 0);
      // A 503 may stand for orders whose commit was the last thing to get through, the whole group of them; a 202 never for less than one.
      assert.ok(stored >= accepted && stored <= sent, `${stored} stored, ${accepted} accepted, ${sent} sent`);
      const { rows } = await db.admin.query(`SELECT count(*)::int AS n FROM orders.orders o
        WHERE (SELECT count(*) FROM messaging.outbox b WHERE b.aggregate_id = o.order_id::text) <> 1
           OR (SELECT count(*) FROM orders.status_change c WHERE c.order_id = o.order_id) <> 1`);
      assert.equal(rows[0].n, 0);
    });
  });

  it('recognizes its own order when the answer got lost and the first attempt is still going on', { timeout: 30_000 }, async (t) => {
    // The order's lines wait for an advisory lock, so that both attempts have begun before the first one commits.
    await db.admin.query(`
      CREATE FUNCTION public.hold() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN PERFORM pg_advisory_xact_lock_shared(42); RETURN NULL; END $$;
      GRANT EXECUTE ON FUNCTION public.hold TO PUBLIC;
      CREATE TRIGGER hold AFTER INSERT ON orders.orders FOR EACH STATEMENT EXECUTE FUNCTION public.hold()`);
    const holder = await db.admin.connect();
    await holder.query('SELECT pg_advisory_lock(42)');
    const { host, port } = server.postgres.writer;
    const connections: Socket[] = [];
    const proxy = createServer((socket) => {
      const upstream = connect(port, host);
      connections.push(socket);
      for (const end of [socket, upstream]) end.on('error', () => undefined);
      socket.pipe(upstream).pipe(socket, { end: false });
    });
    await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
    const { user, password, database } = db.command.options;
    const pool = new pg.Pool({ host: '127.0.0.1', port: (proxy.address() as AddressInfo).port, user, password, database });
    pool.on('error', () => undefined);
    const cut = createWriteApi({ authentication, pool, logger: silentLogger(), registry: new Registry() });
    t.after(async () => {
      await cut.close();
      await pool.end();
      proxy.close();
      await db.admin.query('DROP FUNCTION public.hold CASCADE');
    });
    const base = await cut.listen({ host: '127.0.0.1', port: 0 });

    const asked = postTo(base, { ...camel, customerId: 'answer-lost' });
    await locksWaitedFor(1);
    // The way back breaks; the database notices nothing and goes on.
    connections[0]!.destroy();
    await locksWaitedFor(2);
    await holder.query('SELECT pg_advisory_unlock(42)');
    holder.release();
    const answer = await asked;
    assert.equal(answer.status, 202);
    const { rows } = await db.admin.query('SELECT order_id FROM orders.orders WHERE customer_id = \'answer-lost\'');
    assert.deepEqual(rows, [{ order_id: (await answer.json() as { orderId: string }).orderId }]);
  });

  it('bounds the memory of requests in work, and single orders still get through', { timeout: 60_000 }, async (t) => {
    const metrics = new Registry();
    const small = createWriteApi({ authentication, pool: db.command, logger: silentLogger(), registry: metrics });
    const base = new URL(await small.listen({ host: '127.0.0.1', port: 0 }));
    const clients: Socket[] = [];
    t.after(async () => {
      clients.forEach((client) => client.destroy());
      await small.close();
    });
    const inFlight = async () => Number(/^http_request_bytes_in_flight (\d+)$/m.exec(await metrics.metrics())?.[1]);
    // A batch of a megabyte, whose last byte never comes.
    const half = Buffer.alloc(1024 * 1024 - 1, ' ');
    const answers: string[] = [];
    for (let i = 0; i < 150; i++) {
      const client = connect(Number(base.port), base.hostname);
      client.on('error', () => undefined);
      client.setEncoding('utf8').on('data', (text: string) => answers.push(text));
      client.write(`POST /orders/batch HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ${half.length + 1}\r\n\r\n`);
      client.write(half);
      clients.push(client);
    }
    await eventually(() => answers.length, (count) => count >= 140);
    for (const answer of answers) assert.match(answer, /^HTTP\/1\.1 503 [^]*\r\nretry-after: 1\r\n[^]*problem:unavailable/i);
    const busy = await inFlight();
    assert.ok(busy > 4 * 1024 * 1024 && busy <= 32 * 1024 * 1024, String(busy));
    assert.equal((await postTo(base.href.slice(0, -1), camel)).status, 202);
    clients.forEach((client) => client.destroy());
    await eventually(inFlight, (bytes) => bytes === 0);
    assert.equal((await postTo(base.href.slice(0, -1), { orders: [camel] }, {}, '/orders/batch')).status, 200);
  });

  it('stores no order whose client has left before its turn', { timeout: 30_000 }, async () => {
    const lock = await db.admin.connect();
    await lock.query('BEGIN; LOCK TABLE orders.orders IN ACCESS EXCLUSIVE MODE');
    const stay: Promise<Response>[] = [];
    // All connections of the intake are busy.
    for (let n = 1; n <= 4; n++) {
      stay.push(post({ ...camel, customerId: 'stays' }));
      await locksWaitedFor(n);
    }
    const left = new AbortController();
    const gone = fetch(`${url}/orders`, {
      method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ ...camel, customerId: 'gone' }), signal: left.signal,
    }).catch(() => 'gone');
    const waiting = () => metric(/^http_request_bytes_in_flight (\d+)$/m);
    const five = 5 * 32 * 1024;
    await eventually(waiting, (bytes) => bytes > five);
    left.abort();
    assert.equal(await gone, 'gone');
    await eventually(waiting, (bytes) => bytes < five);
    await lock.query('COMMIT');
    lock.release();
    for (const answer of await Promise.all(stay)) assert.equal(answer.status, 202);
    assert.equal((await post(camel)).status, 202);
    const { rows } = await db.admin.query('SELECT customer_id, count(*)::int AS n FROM orders.orders WHERE customer_id IN (\'stays\', \'gone\') GROUP BY 1');
    assert.deepEqual(rows, [{ customer_id: 'stays', n: 4 }]);
  });

  it('cuts clients that send their request too slowly, soon after their time is over', { timeout: 60_000 }, async (t) => {
    const slow = createWriteApi({ authentication, pool: db.command, logger: silentLogger(), registry: new Registry() });
    const clients: Socket[] = [];
    t.after(() => {
      clients.forEach((client) => client.destroy());
      return slow.close();
    });
    const { port } = new URL(await slow.listen({ host: '127.0.0.1', port: 0 }));
    const { headersTimeout, requestTimeout } = slow.server;
    assert.deepEqual({ headersTimeout, requestTimeout }, { headersTimeout: 10_000, requestTimeout: 15_000 });
    const cut = async (begin: string) => {
      const client = connect(Number(port), '127.0.0.1');
      clients.push(client);
      const got: string[] = [];
      client.setEncoding('utf8').on('data', (text: string) => got.push(text)).on('error', () => undefined);
      client.write(begin);
      // Node.js looks every 30 s by default.
      await eventually(() => got.join(''), (text) => text.length > 0, 15_000);
      assert.match(got.join(''), /^HTTP\/1\.1 408 [^]*problem:request-timeout/);
    };
    slow.server.headersTimeout = 100;
    slow.server.requestTimeout = 200;
    await Promise.all([cut('POST /orders HTTP/1.1\r\nHost'), cut('POST /orders HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{')]);
  });

  it('finishes what is in flight when it stops, and takes nothing new', { timeout: 30_000 }, async (t) => {
    const lockPool = server.pool({ database: db.name, max: 1 });
    const lock = await lockPool.connect();
    await lock.query('BEGIN');
    await lock.query('LOCK TABLE orders.orders IN ACCESS EXCLUSIVE MODE');
    const stopping = createWriteApi({ authentication, pool: db.command, logger: silentLogger(), registry: new Registry() });
    t.after(() => stopping.close());
    const base = await stopping.listen({ host: '127.0.0.1', port: 0 });
    const inFlight = postTo(base, camel);
    await locksWaitedFor(1);
    stopping.drain();
    assert.equal(await stopping.readiness(), 'The service is stopping.');
    const closed = stopping.close();
    await eventually(() => fetch(`${base}/nowhere`).then(() => true, () => false), (open) => !open);
    await lock.query('COMMIT');
    lock.release();
    const answer = await inFlight;
    assert.equal(answer.status, 202);
    await closed;
  });
});
