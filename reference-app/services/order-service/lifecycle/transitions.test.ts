import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { generated } from './generate.ts';
import { FORMER } from './render.ts';
import { EXPIRING, STATUSES, TRANSITIONS, allowedCommands, transitionOf, type Status } from './transitions.ts';
import { newId } from '../../shared/events/index.ts';
import { startTestServer, type TestDatabase, type TestServer } from '../../shared/testing.ts';

let server: TestServer;
let db: TestDatabase;
before(async () => {
  server = await startTestServer();
  db = await server.database();
});
after(() => server.stop());

const ALL = Object.keys(STATUSES) as Status[];
const isLegal = (from: Status, to: Status) => TRANSITIONS.some((one) => one.from === from && one.to === to)
  // Of a former version.
  || (from === 'UPDATE_PENDING' && to === 'EXPIRED');

test('the guard in the database and the page are made from the table as it is now', async () => {
  for (const { path, is, shouldBe } of await generated()) {
    assert.equal(is, shouldBe, `${path} is stale; run node reference-app/services/order-service/lifecycle/generate.ts`);
  }
});

test('final statuses lead nowhere, every other leads to an end, and what waits has a deadline', () => {
  for (const status of ALL) {
    const next = TRANSITIONS.filter(({ from }) => from === status);
    assert.equal(next.length === 0, STATUSES[status] === 'final', status);
    const reachable = new Set<Status>([status]);
    for (const one of reachable) for (const { from, to } of TRANSITIONS) if (from === one) reachable.add(to);
    assert.ok([...reachable].some((one) => STATUSES[one] === 'final'), status);
  }
  // Steps of the commerce profile, which have no event yet, get their deadlines with it.
  const used = new Set(TRANSITIONS.filter(({ event }) => event).map(({ from }) => from));
  assert.deepEqual([...used].filter((status) => STATUSES[status] === 'waiting').sort(), [...EXPIRING].sort());
  assert.equal(new Set(TRANSITIONS.map(({ from, on }) => `${from} ${on}`)).size, TRANSITIONS.length, 'a trigger leads to one status');
  assert.deepEqual(allowedCommands('CONFIRMED'), ['update', 'cancel']);
  assert.equal(transitionOf('CANCELLED', 'update'), undefined);
  for (const [before, after] of FORMER) assert.ok(!TRANSITIONS.some(({ from, to }) => from === before && to === after), 'a former transition is one no more');
});

test('the database knows the same transitions, and refuses any other to every writer', async () => {
  const orderId = newId();
  await db.admin.query('INSERT INTO orders.orders (order_id, customer_id, status, version) VALUES ($1, \'c\', \'PENDING\', 1)', [orderId]);
  for (const from of ALL) {
    for (const to of ALL) {
      const { rows: [row] } = await db.admin.query('SELECT orders.is_transition($1, $2) AS legal', [from, to]);
      assert.equal(row.legal, isLegal(from, to), `${from} to ${to}`);
      await db.admin.query(`ALTER TABLE orders.orders DISABLE TRIGGER orders_transition;
        UPDATE orders.orders SET status = '${from}', version = 1;
        ALTER TABLE orders.orders ENABLE TRIGGER orders_transition`);
      const write = () => db.command.query('UPDATE orders.orders SET status = $2, version = 2 WHERE order_id = $1', [orderId, to]);
      const note = () => db.command.query(`INSERT INTO orders.status_change (order_id, version, from_status, to_status, event_id)
        VALUES ($1, 2, $2, $3, gen_random_uuid())`, [newId(), from, to]);
      if (isLegal(from, to)) {
        await write();
        await note();
      } else {
        await assert.rejects(write, { code: '23001', message: `Order ${orderId} cannot go from ${from} to ${to}` });
        await assert.rejects(note, { code: '23514' });
      }
    }
  }
  await assert.rejects(db.command.query(`INSERT INTO orders.status_change (order_id, version, from_status, to_status, event_id)
    VALUES ($1, 1, NULL, 'CONFIRMED', gen_random_uuid())`, [newId()]), { code: '23514' });
});
