import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';
import fc from 'fast-check';
import { GroupCommit } from './group-commit.ts';
import type { IntakeOutcome, NewOrder } from './intake.ts';
import type { Pool } from '../../shared/database.ts';
import { newEvent, newId } from '../../shared/events/index.ts';
import { Problem } from '../../shared/http/problem.ts';
import { startTestServer, type TestDatabase, type TestServer } from '../../shared/testing.ts';

let server: TestServer;
let db: TestDatabase;
before(async () => {
  server = await startTestServer();
  db = await server.database({ workload: 'api-write-service' });
  await db.admin.query('INSERT INTO inventory.product (sku, name) VALUES (\'A\', \'a\'), (\'B\', \'b\')');
});
after(() => server.stop());
beforeEach(() => db.admin.query('TRUNCATE orders.orders, orders.status_change, orders.idempotency_key, messaging.outbox'));

function order(sku = 'A', key?: string, body = 1, subject = ''): NewOrder {
  const orderId = newId();
  const event = newEvent({
    type: 'order.created',
    source: '/order-service',
    subject: orderId,
    sequence: 1,
    cause: { id: newId() },
    data: { orderId, customerId: 'c', items: [{ sku, quantity: 1 }], createdAt: new Date().toISOString() },
  });
  return {
    orderId,
    customerId: 'c',
    items: [{ sku, quantity: 1 }],
    createdAt: new Date(),
    traceparent: event.traceparent!,
    causeId: newId(),
    idempotency: key === undefined ? undefined : { subject, key, fingerprint: Buffer.from([body]) },
    event: { id: event.id, envelope: JSON.stringify(event) },
  };
}

/** Counts the calls, and lets the test hold them up. */
function watched(pool: Pool, onCall = () => {}) {
  const seen = { calls: 0, atOnce: 0, most: 0, gate: Promise.resolve() };
  const query = async (...args: Parameters<Pool['query']>) => {
    onCall();
    seen.calls++;
    seen.most = Math.max(seen.most, ++seen.atOnce);
    try {
      await seen.gate;
      return await (pool.query as (...values: unknown[]) => Promise<unknown>)(...args);
    } finally {
      seen.atOnce--;
    }
  };
  return { seen, pool: new Proxy(pool, { get: (target, name) => (name === 'query' ? query : Reflect.get(target, name) as unknown) }) };
}

test('what arrives while a commit is under way is committed together; an order alone goes alone, at once', async () => {
  const { seen, pool } = watched(db.command);
  const intake = new GroupCommit(pool, { connections: 1, groupSize: 100 });
  assert.equal((await intake.accept(order())).result, 'accepted');
  assert.equal(seen.calls, 1);
  const gate = Promise.withResolvers<void>();
  seen.gate = gate.promise;
  const first = intake.accept(order());
  await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
  const others = Array.from({ length: 250 }, () => intake.accept(order()));
  gate.resolve();
  assert.deepEqual(new Set((await Promise.all([first, ...others])).map(({ result }) => result)), new Set(['accepted']));
  assert.equal(seen.calls, 1 + 1 + 3);
  assert.equal(seen.most, 1);
});

test('a few orders wait for the commit that is under way, many get one of their own, and one that hangs holds up nobody', async () => {
  const { seen, pool } = watched(db.command);
  const intake = new GroupCommit(pool, { connections: 3 });
  const gate = Promise.withResolvers<void>();
  seen.gate = gate.promise;
  const turn = () => new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
  const answers = [intake.accept(order())];
  await turn();
  answers.push(...Array.from({ length: 10 }, () => intake.accept(order())));
  await turn();
  assert.equal(seen.atOnce, 1);
  answers.push(...Array.from({ length: 90 }, () => intake.accept(order())));
  await turn();
  assert.equal(seen.atOnce, 3);
  gate.resolve();
  await Promise.all(answers);
  assert.equal(seen.calls, 3);

  const hanging = Promise.withResolvers<void>();
  seen.gate = hanging.promise;
  const late = intake.accept(order());
  await turn();
  seen.gate = Promise.resolve();
  assert.equal((await intake.accept(order())).result, 'accepted');
  assert.equal(seen.atOnce, 1);
  hanging.resolve();
  assert.equal((await late).result, 'accepted');
});

test('orders that come one after the other share a commit; one after a quiet time waits for nothing, and many do not wait', async () => {
  const { seen, pool } = watched(db.command);
  // Longer than the test may take: only an order that does not wait gets an answer.
  const patient = new GroupCommit(pool, { gatherMs: 600_000, connections: 2, maxWaitMs: 600_000 });
  assert.equal((await patient.accept(order())).result, 'accepted');
  const few = Array.from({ length: 49 }, () => patient.accept(order()));
  await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
  assert.equal(seen.calls, 1);
  const last = patient.accept(order());
  assert.deepEqual(new Set((await Promise.all([...few, last])).map(({ result }) => result)), new Set(['accepted']));
  assert.equal(seen.calls, 2);

  const intake = new GroupCommit(pool, { gatherMs: 50 });
  const first = intake.accept(order());
  await first;
  const others = Array.from({ length: 3 }, async () => intake.accept(order()));
  await Promise.all(others);
  assert.equal(seen.calls, 4);
});

test('each order gets the answer that it would have got alone, however they arrive', async () => {
  const kinds = fc.array(fc.record({
    sku: fc.constantFrom('A', 'B', 'nope'),
    key: fc.option(fc.constantFrom('k1', 'k2', 'k3'), { nil: undefined }),
    body: fc.constantFrom(1, 2),
    subject: fc.constantFrom('ann', 'ben'),
    pause: fc.boolean(),
  }), { minLength: 1, maxLength: 40 });
  let round = 0;
  const sizes = [fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 7 })] as const;
  await fc.assert(fc.asyncProperty(kinds, ...sizes, async (wanted, connections, groupSize) => {
    const prefix = `${++round}-`;
    const intake = new GroupCommit(db.command, { connections, groupSize });
    const orders: NewOrder[] = [];
    const answers: Promise<IntakeOutcome>[] = [];
    for (const { sku, key, body, subject, pause } of wanted) {
      const one = order(sku, key === undefined ? undefined : prefix + key, body, subject);
      orders.push(one);
      answers.push(intake.accept(one));
      if (pause) await new Promise((resolve) => setImmediate(resolve));
    }
    const outcomes = await Promise.all(answers);
    const nameOf = ({ idempotency }: NewOrder) => `${idempotency?.key} of ${idempotency?.subject}`;
    const owners = new Map<string, { orderId: string; body: number }>();
    orders.forEach((one, i) => {
      if (outcomes[i]!.result !== 'accepted' || !one.idempotency) return;
      assert.ok(!owners.has(nameOf(one)), 'one order for a key of a subject');
      owners.set(nameOf(one), { orderId: one.orderId, body: one.idempotency.fingerprint[0]! });
    });
    orders.forEach((one, i) => {
      const outcome = outcomes[i]!;
      const owner = one.idempotency && owners.get(nameOf(one));
      switch (outcome.result) {
        case 'accepted': assert.equal(outcome.orderId, one.orderId); assert.notEqual(one.items[0]!.sku, 'nope'); break;
        case 'replayed': assert.equal(outcome.orderId, owner!.orderId); assert.equal(one.idempotency!.fingerprint[0], owner!.body); break;
        case 'mismatch': assert.notEqual(one.idempotency!.fingerprint[0], owner!.body); break;
        case 'unknown-sku': assert.deepEqual(outcome.skus, ['nope']); break;
      }
    });
    const { rows } = await db.admin.query<{ order_id: string }>('SELECT order_id FROM orders.orders WHERE order_id = ANY ($1)', [orders.map(({ orderId }) => orderId)]);
    const stored = orders.filter((_, i) => outcomes[i]!.result === 'accepted').map(({ orderId }) => orderId);
    assert.deepEqual(rows.map(({ order_id }) => order_id).sort(), stored.sort());
  }), { numRuns: 150 });
});

test('an order that the database cannot take fails alone', async () => {
  const bad = { ...order(), traceparent: 'no\u0000such text' };
  const intake = new GroupCommit(db.command, { connections: 1 });
  const answers = await Promise.allSettled(
    [...Array.from({ length: 20 }, () => order()), bad, ...Array.from({ length: 20 }, () => order())].map((one) => intake.accept(one)),
  );
  assert.deepEqual(answers.map(({ status }) => status), answers.map((_, i) => (i === 20 ? 'rejected' : 'fulfilled')));
  assert.equal((await db.admin.query('SELECT FROM orders.orders')).rowCount, 40);
});

test('a conflict is tried again after a moment, on the same connection', async () => {
  await db.admin.query(`CREATE SEQUENCE tries;
    CREATE FUNCTION taken_meanwhile() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
    BEGIN
      IF nextval('public.tries') <= 5 THEN RAISE unique_violation; END IF;
      RETURN NEW;
    END $$;
    CREATE TRIGGER taken_meanwhile BEFORE INSERT ON orders.idempotency_key FOR EACH ROW EXECUTE FUNCTION taken_meanwhile()`);
  try {
    let opened = 0;
    const count = () => opened++;
    db.command.on('connect', count);
    const calls: number[] = [];
    const { pool } = watched(db.command, () => void calls.push(performance.now()));
    assert.equal((await new GroupCommit(pool, { connections: 1 }).accept(order('A', 'contended'))).result, 'accepted');
    db.command.off('connect', count);
    assert.equal(calls.length, 6);
    // A timer may be a little early.
    assert.deepEqual(calls.slice(1).map((at, i) => at - calls[i]! >= 4), Array(5).fill(true), String(calls));
    assert.ok(opened <= 1, `${opened} connections`);
  } finally {
    await db.admin.query('DROP FUNCTION taken_meanwhile CASCADE; DROP SEQUENCE tries');
  }
});

test('an order that has waited for too long, or whose client is gone, is not stored any more', async () => {
  const { seen, pool } = watched(db.command);
  const gate = Promise.withResolvers<void>();
  seen.gate = gate.promise;
  const intake = new GroupCommit(pool, { connections: 1, maxWaitMs: 200 });
  const first = intake.accept(order());
  await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
  // The database says nothing at all, and still they get their answer.
  const late = Array.from({ length: 5 }, () => intake.accept(order()));
  for (const { status, ...answer } of await Promise.allSettled(late)) {
    assert.equal(status, 'rejected');
    const { reason } = answer as { reason: unknown };
    assert.ok(reason instanceof Problem && reason.problem === 'unavailable' && reason.headers['retry-after'] === '1', String(reason));
  }
  let isGone = false;
  const left = intake.accept(order(), () => isGone);
  const stays = intake.accept(order(), () => false);
  isGone = true;
  gate.resolve();
  const answers = await Promise.allSettled([first, stays, left]);
  assert.deepEqual(answers.map(({ status }) => status), ['fulfilled', 'fulfilled', 'rejected']);
  await assert.rejects(left, { status: 408 }, 'no overload');
  assert.equal((await db.admin.query('SELECT FROM orders.orders')).rowCount, 2);
});

test('under twice the load that it can store, it goes on answering in time', async () => {
  const { seen, pool } = watched(db.command);
  const intake = new GroupCommit(pool, { connections: 1, groupSize: 10, maxWaitMs: 100 });
  const answers: Promise<void>[] = [];
  let inTime = 0;
  const ROUNDS = 100;
  for (let round = 0; round < ROUNDS; round++) {
    // In each round twenty come, ten are stored, and a client leaves after 400 ms.
    for (let n = 0; n < 20; n++) {
      const start = performance.now();
      const hasLeft = () => performance.now() - start > 400;
      answers.push(intake.accept(order(), hasLeft).then(() => {
        if (!hasLeft()) inTime++;
      }, () => undefined));
    }
    const gate = Promise.withResolvers<void>();
    seen.gate = gate.promise;
    setTimeout(gate.resolve, 20);
    await gate.promise;
  }
  await Promise.all(answers);
  assert.ok(inTime >= 5 * ROUNDS, `${inTime} of ${10 * ROUNDS} got their answer in time`);
});

test('one sender can take a fifth of the waiting line, again and again, and operators all of it', async () => {
  const { seen, pool } = watched(db.command);
  const intake = new GroupCommit(pool, { connections: 1, maxWaiting: 10 });
  for (let round = 0; round < 2; round++) {
    const gate = Promise.withResolvers<void>();
    seen.gate = gate.promise;
    const first = intake.accept(order());
    await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
    let hasLeft = false;
    const of = (sender?: string) => intake.accept(order(), () => hasLeft && sender === 'anna', sender);
    const waiting = [of('anna'), of('anna'), of('bert')];
    await assert.rejects(of('anna'), (error) => error instanceof Problem && error.problem === 'unavailable' && error.headers['retry-after'] === '1');
    waiting.push(of('bert'), ...Array.from({ length: 6 }, () => of()));
    await assert.rejects(of(), { problem: 'unavailable' }, 'it is full');
    // Those that leave give their places back, too.
    hasLeft = round === 0;
    gate.resolve();
    const answers = await Promise.allSettled([first, ...waiting]);
    assert.equal(answers.filter(({ status }) => status === 'rejected').length, round === 0 ? 2 : 0);
  }
});

test('beyond what may wait, orders are refused at once and nothing is lost', async () => {
  const { seen, pool } = watched(db.command);
  const gate = Promise.withResolvers<void>();
  seen.gate = gate.promise;
  const intake = new GroupCommit(pool, { connections: 1, maxWaiting: 5 });
  const first = intake.accept(order());
  await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
  const waiting = Array.from({ length: 5 }, () => intake.accept(order()));
  await assert.rejects(intake.accept(order()), (error) => error instanceof Problem && error.problem === 'unavailable' && error.headers['retry-after'] === '1');
  gate.resolve();
  assert.deepEqual((await Promise.all([first, ...waiting])).map(({ result }) => result), Array(6).fill('accepted'));
});
