import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { isAlive } from 'cdk-local-run/processes/identity';
import { synthesizeReferenceApp } from './assembly.ts';
import { assertAllTrue, deadLettersOf, failedIds, failedReceives, putEvent, scratch, startSystem, until } from './system.ts';
import type { System } from './system.ts';
import { feed } from '../load/feed.ts';
import { randomOrders, readSampleOrders } from '../load/orders.ts';
import { deadLetters } from '../profiles/queues.ts';

// The reference app as it is, on one machine, with everything real. The tests follow each other on one system.

const SEED_4 = { customerId: 'cust-123', items: [{ sku: 'SKU-123', quantity: 2 }] };
const SEED_2 = { customer_id: 'cust-101', items: [{ product_id: 'prod-1', quantity: 2 }] };

describe('the reference app, synthesized and run', { timeout: 300_000 }, () => {
  let folder: Awaited<ReturnType<typeof scratch>>;
  let assembly: string;
  let system: System;

  before(async () => {
    folder = await scratch();
    assembly = await synthesizeReferenceApp(folder.path);
    system = await startSystem(assembly, join(folder.path, 'data'));
  });
  after(async () => {
    await system?.stop();
    await folder.remove();
  });

  const write = (path: string) => system.pipeline.writeUrl + path;
  const read = (path: string) => system.pipeline.readUrl + path;
  const get: System['get'] = (...request) => system.get(...request);
  const post: System['post'] = (...request) => system.post(...request);
  const terminal = async (orderId: string) =>
    until(`order ${orderId} is decided`, () => get(read(`/orders/${orderId}`)), ({ json }) => json.status !== 'PENDING');

  test('nothing in the assembly is left out', () => {
    assert.deepEqual(system.run.warnings, []);
  });

  test('the sample orders end as their file says', async () => {
    const client = system.client();
    const samples = readSampleOrders();
    const fed = await feed({ orders: samples, rate: 100, client });
    client.close();
    assert.equal(fed.accepted.length, samples.length);
    assert.ok(await system.pipeline.settle());
    let either = 0;
    for (const { orderId, planned } of fed.accepted) {
      const { status } = (await get(read(`/orders/${orderId}`))).json;
      if (planned.expect !== 'EITHER') assert.equal(status, planned.expect, JSON.stringify(planned.body));
      else if (status === 'CONFIRMED') either++;
    }
    assert.ok(either <= 1, 'the last chess set is sold once at most');
  });

  test('takes an order with the body and at the path of seed 4, and shows its stock there', async () => {
    const stock = async () => (await get(read('/api/inventory/SKU-123'))).json;
    const before = await stock();
    const answer = await post(write('/api/orders'), SEED_4);
    assert.equal(answer.status, 202);
    assert.deepEqual(Object.keys(answer.json), ['orderId', 'status']);
    assert.equal(answer.headers.get('location'), `/orders/${answer.json.orderId}`);
    assert.equal((await terminal(answer.json.orderId)).json.status, 'CONFIRMED');
    await until('the stock is deducted', stock, ({ onHand, reserved }) => onHand === before.onHand - 2 && reserved === before.reserved);
  });

  test('takes an order with the body of seed 2 and answers in its style', async () => {
    const answer = await post(write('/api/orders'), SEED_2);
    assert.equal(answer.status, 202);
    assert.deepEqual(Object.keys(answer.json), ['order_id', 'status']);
    assert.equal((await terminal(answer.json.order_id)).json.status, 'CONFIRMED');
    assert.equal((await post(write('/api/orders'), { ...SEED_2, items: [] })).status, 400);
  });

  test('takes and shows orders at the paths of seed 1, with the timeline of each', async () => {
    const answer = await post(write('/orders'), SEED_4);
    const id = answer.json.orderId;
    assert.equal(answer.headers.get('location'), `/orders/${id}`);
    await terminal(id);
    const list = await get(read('/orders?customerId=cust-123&status=CONFIRMED&limit=1'));
    assert.deepEqual((list.json.orders as { orderId: string }[]).map(({ orderId }) => orderId), [id]);
    await until('the whole timeline is there', () => get(read(`/orders/${id}/timeline`)), ({ json }) => (json.entries as unknown[]).length === 5);
    const { json } = await get(read(`/orders/${id}/timeline`));
    assert.deepEqual((json.entries as { type: string }[]).map(({ type }) => type),
      ['order.created', 'inventory.validated', 'inventory.updated', 'order.confirmed', 'inventory.updated']);
  });

  test('updates and cancels an order; its timeline shows each step with its cause, and its stock goes out and comes back', async () => {
    const client = system.client();
    const stock = async (sku: string) => (await get(read(`/inventory/${sku}`))).json;
    const before = await stock('SKU-124');
    const { json: { orderId } } = await post(write('/orders'), { customerId: 'seed-3', items: [{ sku: 'SKU-124', quantity: 1 }] });
    const send = async (method: string, path: string, etag: string, body?: object) => {
      const answer = await client.send(method, path, { ...(body && { body: JSON.stringify(body) }), headers: { 'if-match': etag } });
      return { status: answer.status, etag: answer.headers.etag, json: JSON.parse(answer.body) as Record<string, unknown> };
    };
    const settled = (version: number) => until(`order ${orderId} is at version ${version}`, () => get(read(`/orders/${orderId}`)), ({ json }) => json.version === version);
    assert.equal((await settled(2)).json.status, 'CONFIRMED');
    const updated = await send('PATCH', `/orders/${orderId}`, '"2"', { items: [{ sku: 'SKU-124', quantity: 3 }] });
    assert.deepEqual([updated.status, updated.etag, updated.json.status], [202, '"3"', 'UPDATE_PENDING']);
    // It may be decided before it is read; until then both are shown.
    const { json: locked } = await get(read(`/orders/${orderId}`));
    if (locked.version === 3) assert.deepEqual([locked.items, locked.requestedItems], [[{ sku: 'SKU-124', quantity: 1 }], [{ sku: 'SKU-124', quantity: 3 }]]);
    const { json: changed } = await settled(4);
    assert.deepEqual([changed.status, changed.items], ['CONFIRMED', [{ sku: 'SKU-124', quantity: 3 }]]);
    await until('the stock is deducted', () => stock('SKU-124'), ({ onHand, reserved }) => onHand === before.onHand - 3 && reserved === before.reserved);
    assert.equal((await send('POST', `/orders/${orderId}/cancel`, '"2"')).status, 412);
    assert.equal((await send('POST', `/orders/${orderId}/cancel`, '"4"', { reason: 'changed my mind' })).status, 202);
    const { json: cancelled } = await settled(6);
    assert.deepEqual([cancelled.status, cancelled.reason], ['CANCELLED', 'changed my mind']);
    await until('the stock is back', () => stock('SKU-124'), ({ onHand, reserved }) => onHand === before.onHand && reserved === before.reserved);
    const late = await send('PATCH', `/orders/${orderId}`, '*', { items: [{ sku: 'SKU-124', quantity: 9 }] });
    assert.deepEqual([late.status, late.json.orderStatus, late.json.allowed], [409, 'CANCELLED', []]);
    client.close();

    interface Entry {
      type: string;
      eventId: string;
      causationId: string;
      command?: string;
      status?: { to: string };
      data: { outcome?: string };
    }
    const { entries } = (await get(read(`/orders/${orderId}/timeline`))).json as { entries: Entry[] };
    assert.deepEqual(entries.flatMap(({ status }) => status?.to ?? []), ['PENDING', 'CONFIRMED', 'UPDATE_PENDING', 'CONFIRMED', 'CANCEL_PENDING', 'CANCELLED']);
    assert.deepEqual(entries.flatMap(({ command }) => command ?? []), ['create', 'update', 'cancel']);
    assert.deepEqual(entries.filter(({ type }) => type === 'inventory.updated').map(({ data }) => data.outcome), ['RESERVED', 'DEDUCTED', 'RESERVED', 'DEDUCTED', 'RETURNED']);
    const ids = new Set(entries.map(({ eventId }) => eventId));
    assert.ok(entries.every(({ causationId, command }) => command !== undefined || ids.has(causationId)), 'what no client asked for follows from another event');
    assert.ok(await system.pipeline.settle());
    assertAllTrue(await system.pipeline.checkInvariants());
  });

  test('refuses bad input by field, and stores and publishes nothing', async () => {
    const counts = async () => {
      const { rows } = await system.pipeline.database.query(
        'SELECT (SELECT count(*) FROM orders.orders) AS orders, (SELECT count(*) FROM messaging.outbox) AS events');
      return rows[0];
    };
    await system.pipeline.settle();
    const before = await counts();
    for (const [body, status, field] of [
      [{ ...SEED_4, items: [{ sku: 'SKU-123', quantity: 0 }] }, 400, 'items[0].quantity'],
      [{ ...SEED_4, items: [{ sku: 'SKU-999', quantity: 1 }] }, 400, 'items[0].sku'],
      [{ ...SEED_4, colour: 'red' }, 400, 'colour'],
      ['{"customerId":', 400, 'body'],
      [{ customerId: 'x'.repeat(70_000), items: [] }, 413, 'body'],
    ] as const) {
      const answer = await post(write('/orders'), body);
      assert.equal(answer.status, status, JSON.stringify(answer.json));
      assert.equal(answer.headers.get('content-type')?.split(';')[0], 'application/problem+json');
      assert.deepEqual((answer.json.errors as { field: string }[]).map((error) => error.field), [field]);
    }
    assert.equal((await get(read('/orders?cursor=nonsense'))).status, 400);
    assert.equal((await get(read('/orders/nonsense'))).status, 400);
    assert.equal((await get(read('/orders/01a1fbbe-b2f9-7443-a6da-fd456930659f'))).status, 404);
    await system.pipeline.settle();
    assert.deepEqual(await counts(), before);
  });

  test('an order can be read right after its 202, every time, with the replica paused for two seconds too', async () => {
    const readBack = async () => {
      const answer = await post(write('/orders'), { customerId: 'cust-123', items: [{ sku: 'SKU-128', quantity: 1 }] });
      assert.equal(answer.status, 202);
      const id = answer.json.orderId;
      const shown = await get(read(`/orders/${id}`));
      assert.equal(shown.status, 200, JSON.stringify(shown.json));
      assert.equal(shown.json.orderId, id);
      return shown.headers.get('read-source');
    };
    for (let n = 0; n < 50; n++) await readBack();

    await system.run.pauseReplica();
    const end = Date.now() + 2_000;
    const sources = new Set<string | null>();
    try {
      while (Date.now() < end) sources.add(await readBack());
    } finally {
      await system.run.resumeReplica();
    }
    assert.deepEqual(sources, new Set(['writer']), 'a paused replica cannot have shown them');
    for (let n = 0; n < 10; n++) await readBack();
  });

  test('after 200 orders at 100 per second every invariant holds, and the orders that must be rejected were', async () => {
    const fed = await system.feed(200, 100);
    assert.deepEqual([fed.accepted.length, fed.refused, fed.unanswered], [200, [], []]);
    assert.ok(await system.pipeline.settle());
    const summary = await system.pipeline.summarize(fed, true);
    assertAllTrue(summary.invariants);
    assert.equal(summary.ok, true);
    assert.equal(summary.orders.confirmed + summary.orders.rejected, 200);
    assert.ok(summary.orders.rejected >= fed.accepted.filter(({ planned }) => planned.expect === 'REJECTED').length && summary.orders.rejected > 0);
    assert.deepEqual([summary.orders.wronglyConfirmed, summary.deadLetters], [0, 0]);
    for (const { checked, id } of summary.invariants) assert.ok(checked >= (id === 'I9' ? summary.orders.rejected : 40), `${id} looked at ${checked}`);
    assert.ok(summary.endToEndMs.p50! > 0 && summary.endToEndMs.p99! >= summary.endToEndMs.p50!);
  });

  test('nobody comes in without a token, a customer sees their own orders only, and the issuer can take another key', async () => {
    assert.deepEqual([(await fetch(read('/orders'))).status, (await fetch(write('/orders'), { method: 'POST', body: 'x' })).status], [401, 401]);
    const { issuer } = system.run;
    await issuer.rotate();
    const scope = 'orders.read orders.write';
    const [mine, theirs] = await Promise.all(['jane', 'john'].map(async (subject) => ({ authorization: `Bearer ${await issuer.token({ subject, scope })}` })));
    const placed = await post(write('/api/orders'), { items: [{ sku: 'SKU-128', quantity: 1 }] }, mine);
    assert.equal(placed.status, 202, 'the customer is that of the token');
    const shown = read(`/orders/${placed.json.orderId}`);
    assert.deepEqual([(await get(shown, mine)).json.customerId, (await get(shown, theirs)).status, (await get(shown)).status], ['jane', 404, 200]);
    assert.deepEqual((await get(read('/orders'), theirs)).json.orders, []);
    const readOnly = { authorization: `Bearer ${await issuer.token({ subject: 'jane', scope: 'orders.read' })}` };
    assert.equal((await post(write('/orders'), SEED_4, readOnly)).status, 403);
  });

  test('the load test runs against it', async () => {
    const script = fileURLToPath(new URL('../scripts/load-test.ts', import.meta.url));
    const { stdout } = await promisify(execFile)(process.execPath, [script, '--orders', '50', '--rate', '100', '--json'], {
      env: { PATH: process.env.PATH, API_URL: system.pipeline.writeUrl, API_TOKEN: system.pipeline.token },
    });
    assert.deepEqual((JSON.parse(stdout) as { answers: object }).answers, { 202: 50 });
  });

  test('the replica streams and shows the orders, to the query role too', async () => {
    const { rows } = await system.pipeline.database.query('SELECT state FROM pg_stat_replication');
    assert.deepEqual(rows, [{ state: 'streaming' }]);
    const { rows: [counted] } = await system.pipeline.database.query<{ count: string }>('SELECT count(*) FROM orders.orders');
    const onReplica = async () => {
      const { rows: [row] } = await system.reader.query<{ count: string; replica: boolean }>(
        'SELECT count(*), pg_is_in_recovery() AS replica FROM orders.orders');
      return row;
    };
    await until('the replica shows all orders', onReplica, (row) => row?.count === counted!.count && row.replica);
  });

  test('a poison event ends in the dead-letter queue of its consumers after maxReceiveCount tries; its neighbours succeed', async () => {
    const [fed] = await Promise.all([
      system.feed(40, 40, 2),
      putEvent(system, { source: 'com.example.orders', detailType: 'OrderCreated', detail: '{"poison":"apple"}' }),
    ]);
    for (const consumer of ['stock-service', 'analytics-service']) {
      assert.equal(system.run.queues.find((queue) => queue.consumer === consumer)!.maxReceiveCount, 5);
      await until('a dead letter', () => deadLettersOf(system, consumer).length, (count) => count > 0);
      assert.deepEqual(deadLettersOf(system, consumer).map((body) => (JSON.parse(body) as { detail: { poison?: string } }).detail.poison), ['apple']);
      assert.deepEqual(failedReceives(system, consumer), [1, 2, 3, 4, 5]);
    }
    assert.ok(await system.pipeline.settle());
    const summary = await system.pipeline.summarize(fed, true);
    assert.equal(summary.orders.accepted, 40);
    assert.equal(summary.orders.open, 0);
    assertAllTrue(summary.invariants);
  });

  test('SIGKILL of every process in turn while orders flow: each is restarted, every order is decided, all invariants hold', async () => {
    const targets = system.run.workloads.flatMap(({ name, replicas }) =>
      Array.from({ length: replicas }, (_, replica) => ({ name, replica })));
    assert.equal(targets.length, 16);
    const restarts = new Map(system.run.workloads.map((service) => [service.name, service.restarts()]));
    // As many orders as the killings take, and a few more.
    const stop = new AbortController();
    const client = system.client();
    const feeding = feed({ orders: randomOrders(100_000, 3), rate: 40, client, signal: stop.signal });
    for (const { name, replica } of targets) {
      const pid = system.run.kill(name, 'SIGKILL', replica);
      await until(`${name} is gone`, () => isAlive(pid), (alive) => !alive);
      await sleep(100);
    }
    await until('all are back', () => system.run.workloads.filter((service) => !service.ready()).map(({ name }) => name), (away) => away.length === 0);
    stop.abort();
    const fed = await feeding;
    client.close();
    for (const service of system.run.workloads) {
      assert.ok(service.restarts() >= restarts.get(service.name)! + service.replicas, service.name);
    }
    // An order that had no answer when the feeding ended may exist or not; all others do.
    assert.deepEqual(fed.refused, []);
    assert.ok(fed.accepted.length >= 50, `${fed.accepted.length} orders`);
    const unsure = new Set(fed.unanswered.map(({ key }) => key));

    assert.ok(await system.pipeline.settle(), 'everything came to rest');
    const { rows } = await system.pipeline.database.query<{ key: string; order_id: string }>(
      'SELECT key, order_id FROM orders.idempotency_key WHERE key = ANY ($1)', [[...unsure]]);
    const accepted = [...fed.accepted, ...rows.map(({ key, order_id }) => ({ ...fed.accepted[0]!, key, orderId: order_id }))];
    const summary = await system.pipeline.summarize({ ...fed, accepted, unanswered: [] }, true);
    assertAllTrue(summary.invariants);
    assert.equal(summary.orders.open, 0);
  });

  test('a restart in the middle keeps data, queues and the orders on their way', async () => {
    const first = await post(write('/orders'), SEED_4);
    const fed = await system.feed(100, 200, 4);
    await system.stop();
    system = await startSystem(assembly, join(folder.path, 'data'));
    assert.equal((await get(read(`/orders/${first.json.orderId}`))).status, 200);
    assert.equal(deadLetters(system.run).length, 2, 'the poison of before');
    assert.ok(await system.pipeline.settle());
    const summary = await system.pipeline.summarize(fed, true);
    assert.equal(summary.orders.confirmed + summary.orders.rejected, 100);
    assertAllTrue(summary.invariants);
    assertAllTrue(await system.pipeline.checkInvariants());
  });

  test('planted violations are found out', async () => {
    const { database } = system.pipeline;
    await database.query(`DELETE FROM messaging.inbox WHERE consumer = 'order-status'
      AND event_id = (SELECT event_id FROM messaging.inbox WHERE consumer = 'order-status' LIMIT 1)`);
    assert.deepEqual(failedIds(await system.pipeline.checkInvariants()), ['I11']);
    await database.query('INSERT INTO inventory.ledger (sku, location, type, delta_on_hand, delta_reserved) VALUES (\'SKU-101\', \'MAIN\', \'RECEIPT\', 1, 0)');
    assert.deepEqual(failedIds(await system.pipeline.checkInvariants()), ['I4', 'I11']);
    await database.query(`ALTER TABLE inventory.ledger DROP CONSTRAINT ledger_deltas;
      WITH doubled AS (
        INSERT INTO inventory.ledger (document_id, version, line, sku, location, type, delta_on_hand, delta_reserved, event_id)
        SELECT document_id, version + 1, line, sku, location, type, delta_on_hand, 0, event_id FROM inventory.ledger WHERE type = 'COMMIT' AND sku = 'SKU-102' LIMIT 1 RETURNING *)
      UPDATE inventory.stock_level l SET on_hand = on_hand + doubled.delta_on_hand FROM doubled WHERE l.sku = doubled.sku`);
    assert.deepEqual(failedIds(await system.pipeline.checkInvariants()), ['I4', 'I5', 'I10', 'I11']);
    await database.query(`ALTER TABLE orders.orders DISABLE TRIGGER orders_transition;
      UPDATE orders.orders SET status = 'PENDING' WHERE order_id = (SELECT order_id FROM orders.orders WHERE status = 'REJECTED' LIMIT 1)`);
    assert.deepEqual(failedIds(await system.pipeline.checkInvariants()), ['I4', 'I5', 'I6', 'I10', 'I11']);
    await database.query(`DELETE FROM orders.orders WHERE order_id = ANY (ARRAY[]::uuid[]); ALTER TABLE inventory.stock_level DROP CONSTRAINT stock_level_check;
      UPDATE inventory.stock_level SET reserved = on_hand + 1 WHERE sku = 'SKU-103'`);
    assert.deepEqual(failedIds(await system.pipeline.checkInvariants()), ['I3', 'I4', 'I5', 'I6', 'I10', 'I11']);
    const unknown = { keyPrefix: 'none-', accepted: [{ orderId: '01a1fbbe-b2f9-7443-a6da-fd456930659f', key: 'none-1' }] };
    const all = await system.pipeline.checkInvariants({ ...unknown, refused: [], unanswered: [], retries: 0 } as never);
    assert.deepEqual(failedIds(all), ['I1', 'I3', 'I4', 'I5', 'I6', 'I10', 'I11']);
  });
});
