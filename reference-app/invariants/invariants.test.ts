import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type pg from 'pg';
import { checkInvariants, identify } from './invariants.ts';
import type { FeedRecord, QueueContents, Subscription } from './invariants.ts';
import { CHECKS } from './sql.ts';
import { newEvent, newId } from '../services/shared/events/index.ts';
import type { EventEnvelope, EventType } from '../services/shared/events/index.ts';
import { appendToOutbox, startTestServer } from '../services/shared/testing.ts';
import type { TestDatabase, TestServer } from '../services/shared/testing.ts';

// A small history that is right, written with the schema's own functions; then one lie at a time, each of which must be found out.

const on = (rule: string, consumer: string, ...types: string[]): Subscription => ({ rule, queue: `${consumer}-queue`, consumer, matches: (type) => types.includes(type) });
const SUBSCRIPTIONS = [
  on('ToStock', 'stock-service', 'OrderCreated'),
  on('ToInventory', 'inventory-service', 'StockValidated', 'OrderConfirmed'),
  on('ToStatus', 'order-status', 'InventoryUpdated'),
];

interface History {
  readonly feed: FeedRecord;
  readonly queued: Map<string, string[]>;
  readonly dead: Map<string, string[]>;
  readonly orders: Record<'confirmed' | 'rejected' | 'held' | 'stuck', string>;
  readonly events: Record<string, EventEnvelope>;
}

let server: TestServer;
let template: TestDatabase;
let history: History;
let copies = 0;

before(async () => {
  server = await startTestServer();
  template = await server.database();
  history = await write(template.admin);
  // A database with open connections can't be copied.
  await server.pool({ database: 'postgres', max: 1 }).query('SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = $1', [template.name]);
});
after(() => server.stop());

/** Four orders: one whole, one rejected, one whose deduction is a dead letter, and one whose OrderCreated is. */
async function write(admin: pg.Pool): Promise<History> {
  const client = await admin.connect();
  const orders = { confirmed: newId(), rejected: newId(), held: newId(), stuck: newId() };
  const accepted = Object.values(orders).map((orderId, index) => ({ orderId, key: `feed-${index}` }));
  const events: Record<string, EventEnvelope> = {};
  const emit = (name: string, type: EventType, subject: string, data: object, sequence = 1) => {
    events[name] = newEvent({ type, source: '/test', subject, sequence, data: { orderId: subject, ...data } as never, cause: { id: 'request' } }) as EventEnvelope;
    return events[name];
  };
  const now = new Date().toISOString();
  const quantity = 2;

  await client.query('BEGIN');
  await client.query('INSERT INTO inventory.product VALUES (\'A\', \'a\'), (\'B\', \'b\')');
  await client.query('INSERT INTO inventory.stock_level (sku, on_hand) VALUES (\'A\', 10), (\'B\', 1)');
  await client.query('INSERT INTO inventory.ledger (sku, location, type, delta_on_hand, delta_reserved) SELECT sku, location, \'RECEIPT\', on_hand, 0 FROM inventory.stock_level');
  for (const [name, orderId] of Object.entries(orders)) {
    const sku = name === 'rejected' ? 'B' : 'A';
    const created = emit(`${name} created`, 'order.created', orderId, { customerId: 'c', items: [{ sku, quantity }], createdAt: now });
    await client.query(
      'INSERT INTO orders.orders (order_id, customer_id, status, version, items) VALUES ($1, \'c\', \'PENDING\', 1, $2)',
      [orderId, JSON.stringify([{ sku, quantity }])]);
    await client.query('INSERT INTO orders.status_change VALUES ($1, 1, NULL, \'PENDING\', $2, \'request\')', [orderId, created.id]);
    await client.query('INSERT INTO orders.idempotency_key VALUES ($1, \'\', $2)', [accepted.find((order) => order.orderId === orderId)!.key, orderId]);
    await appendToOutbox(client, [created]);
    if (name === 'stuck') continue;

    const lines = [{ sku, requested: quantity, available: 10 }];
    await appendToOutbox(client, [emit(`${name} validated`, 'inventory.validated', orderId, { lines, sufficient: true, asOf: now })]);
    const reserved = name !== 'rejected';
    const deltaReserved = reserved ? quantity : 0;
    const { rows: [level] } = await client.query<{ onHand: number; reserved: number }>(
      'UPDATE inventory.stock_level SET reserved = reserved + $2 WHERE sku = $1 RETURNING on_hand AS "onHand", reserved', [sku, deltaReserved]);
    const outcome = emit(`${name} decided`, 'inventory.updated', orderId, {
      reservationId: newId(),
      outcome: reserved ? 'RESERVED' : 'REJECTED',
      lines: [{ sku, quantity, deltaOnHand: 0, deltaReserved, ...level }],
      shortages: reserved ? [] : [{ sku, requested: quantity, available: 1 }],
    });
    await client.query('INSERT INTO inventory.ledger (document_id, sku, location, type, delta_on_hand, delta_reserved, event_id) VALUES ($1, $2, $3, $4, 0, $5, $6)',
      [orderId, sku, reserved ? 'MAIN' : null, reserved ? 'RESERVE' : 'REJECT', deltaReserved, outcome.id]);
    await appendToOutbox(client, [outcome]);

    const settled = reserved
      ? emit(`${name} settled`, 'order.confirmed', orderId, { customerId: 'c', version: 2, confirmedAt: now }, 2)
      : emit(`${name} settled`, 'order.rejected', orderId, { customerId: 'c', version: 2, reason: 'INSUFFICIENT_STOCK', shortages: [], rejectedAt: now }, 2);
    const status = reserved ? 'CONFIRMED' : 'REJECTED';
    await client.query('UPDATE orders.orders SET status = $2, version = 2 WHERE order_id = $1', [orderId, status]);
    await client.query('INSERT INTO orders.status_change VALUES ($1, 2, \'PENDING\', $2, $3, $4)', [orderId, status, settled.id, outcome.id]);
    await appendToOutbox(client, [settled]);
    if (name !== 'confirmed') continue;

    const { rows: [left] } = await client.query<{ onHand: number; reserved: number }>(
      'UPDATE inventory.stock_level SET on_hand = on_hand - $2, reserved = reserved - $2 WHERE sku = $1 RETURNING on_hand AS "onHand", reserved', [sku, quantity]);
    const deducted = emit(`${name} deducted`, 'inventory.updated', orderId, {
      reservationId: outcome.id,
      outcome: 'DEDUCTED',
      shortages: [],
      lines: [{ sku, quantity, deltaOnHand: -quantity, deltaReserved: -quantity, ...left }],
    }, 2);
    await client.query(`INSERT INTO inventory.ledger (document_id, version, sku, location, type, delta_on_hand, delta_reserved, event_id)
      VALUES ($1, 2, $2, 'MAIN', 'COMMIT', $3, $3, $4)`, [orderId, sku, -quantity, deducted.id]);
    await appendToOutbox(client, [deducted]);
  }
  const dead = new Map([
    ['stock-service-queue', [body(events['stuck created']!), 'poison']],
    ['inventory-service-queue', [body(events['held settled']!)]],
  ]);
  const inbox = (consumer: string, types: string[], except: EventEnvelope[]) => client.query(
    'INSERT INTO messaging.inbox (consumer, event_id) SELECT $1, event_id FROM messaging.outbox WHERE detail_type = ANY($2) AND event_id <> ALL ($3)',
    [consumer, types, except.map(({ id }) => id)]);
  await inbox('stock-service', ['OrderCreated'], [events['stuck created']!]);
  await inbox('inventory-service', ['StockValidated', 'OrderConfirmed'], [events['held settled']!]);
  await inbox('order-status', ['InventoryUpdated'], []);
  await client.query('UPDATE messaging.relay_cursor SET (xid, id) = (SELECT xid, id FROM messaging.outbox ORDER BY xid DESC, id DESC LIMIT 1)');
  await client.query('COMMIT');
  client.release();
  return { feed: { accepted, keyPrefix: 'feed-' }, queued: new Map(), dead, orders, events };
}

const body = (event: object) => JSON.stringify({ 'detail-type': 'x', 'detail': event });
const bundle = (...events: unknown[]) => body({ specversion: '1.0', data: {}, events });

interface Lie {
  /** Statements; `:name` is the id of that order or event. Triggers and foreign keys are off. */
  readonly sql?: string;
  readonly contents?: (contents: { queued: Map<string, string[]>; dead: Map<string, string[]> }) => void;
  readonly feed?: (feed: FeedRecord) => FeedRecord;
  readonly subscriptions?: readonly Subscription[];
  /** The statement (`what`) that must speak up, and the invariants that fail. */
  readonly finds?: RegExp;
  readonly fails: readonly string[];
}

async function check(lie: Lie) {
  const name = `copy_${++copies}`;
  const root = server.pool({ database: 'postgres', max: 1 });
  await root.query(`CREATE DATABASE ${name} TEMPLATE ${template.name}`);
  const client = await server.pool({ database: name, max: 1 }).connect();
  try {
    const events = Object.entries(history.events).map(([key, { id }]): [string, string] => [key, id]);
    const names = [...Object.entries(history.orders), ...events];
    // The longest names first: an order's name begins those of its events.
    const sql = names.sort(([a], [b]) => b.length - a.length).reduce((text, [key, id]) => text.replaceAll(`:'${key}'`, `'${id}'`), lie.sql ?? '');
    await client.query(`SET session_replication_role = replica; ${sql}`);
    const contents = structuredClone({ queued: history.queued, dead: history.dead });
    lie.contents?.(contents);
    return await checkInvariants({
      database: client,
      subscriptions: lie.subscriptions ?? SUBSCRIPTIONS,
      inspectQueues: (): QueueContents => contents,
      feed: lie.feed ? lie.feed(history.feed) : history.feed,
    });
  } finally {
    client.release(true);
  }
}

test('the true history passes, and everything in it is looked at', async () => {
  const results = await check({ fails: [] });
  assert.deepEqual(results.filter(({ ok }) => !ok), []);
  const checked = Object.fromEntries(results.map((result) => [result.id, result.checked]));
  assert.deepEqual(checked, { I1: 4, I3: 6, I4: 2, I5: 4, I6: 4, I7: 4, I8: 7, I9: 1, I10: 14, I11: 13 });
});

test('without a feed, every order of the database counts as accepted', async () => {
  const results = await check({ feed: () => undefined as unknown as FeedRecord, fails: [] });
  assert.deepEqual(results.filter(({ ok }) => !ok), []);
});

const GHOST = newId();
const LIES: Record<string, Lie> = {
  'an accepted order is gone': {
    sql: 'DELETE FROM orders.orders WHERE order_id = :\'stuck\'',
    finds: /no such order exists/,
    fails: ['I1', 'I10'],
  },
  'an accepted order that the database never had': {
    feed: (feed) => ({ ...feed, accepted: [...feed.accepted, { orderId: newId(), key: 'feed-9' }] }), finds: /no such order exists/, fails: ['I1'],
  },
  'a key leads to another order': {
    sql: 'UPDATE orders.idempotency_key SET order_id = :\'held\' WHERE order_id = :\'stuck\'', finds: /leads to no order or to another/, fails: ['I1'],
  },
  'a repeated request made a second order': {
    sql: `INSERT INTO orders.idempotency_key VALUES ('feed-4', '', '${newId()}')`, finds: /nobody got a 202/, fails: ['I1'],
  },
  'two requests were answered with one order': {
    feed: (feed) => ({ ...feed, accepted: feed.accepted.map(({ key }) => ({ key, orderId: feed.accepted[0]!.orderId })) }),
    finds: /answer to several idempotency keys/,
    fails: ['I1'],
  },
  'the dead letter of an order was lost': {
    contents: ({ dead }) => dead.set('stock-service-queue', []), finds: /OrderCreated neither in its inbox nor/, fails: ['I1', 'I6', 'I10', 'I11'],
  },
  'an event that was handled is dead only as the neighbour of another in its bundle': {
    sql: 'INSERT INTO messaging.inbox VALUES (\'stock-service\', :\'stuck created\')',
    contents: ({ dead }) => dead.set('stock-service-queue', [bundle(history.events['stuck created'], { id: 'poison' })]),
    finds: /neither terminal nor explained/,
    fails: ['I6'],
  },
  'dead letters in bundles explain their orders': {
    contents: ({ dead }) => dead.set('stock-service-queue', [bundle(history.events['confirmed created'], history.events['stuck created'])]),
    fails: [],
  },
  'the OrderCreated of an accepted order still waits': {
    contents: ({ dead, queued }) => {
      queued.set('stock-service-queue', dead.get('stock-service-queue')!);
      dead.delete('stock-service-queue');
    },
    finds: /OrderCreated neither in its inbox nor/,
    fails: ['I1', 'I6'],
  },
  'an inbox row is deleted': {
    sql: `INSERT INTO messaging.inbox SELECT 'listener', event_id FROM messaging.outbox WHERE detail_type = 'InventoryUpdated';
          DELETE FROM messaging.inbox WHERE event_id = :'confirmed decided' AND consumer = 'order-status'`,
    subscriptions: [...SUBSCRIPTIONS, on('ToListener', 'listener', 'InventoryUpdated')],
    finds: /neither handled nor waiting nor dead/,
    fails: ['I11'],
  },
  'the cursor has passed an event that was not given to the bus': {
    sql: 'DELETE FROM messaging.inbox WHERE event_id = :\'confirmed decided\'', finds: /none of its subscribers ever got it/, fails: ['I10', 'I11'],
  },
  'a consumer handled what no rule sends it': {
    sql: 'INSERT INTO messaging.inbox VALUES (\'order-status\', :\'held created\')', finds: /no rule sends it there/, fails: ['I11'],
  },
  'a consumer handled what nobody published': {
    sql: `INSERT INTO messaging.inbox VALUES ('order-status', '${newId()}')`, finds: /never published/, fails: ['I11'],
  },
  'a refused event counts as dead, not as lost': {
    sql: 'INSERT INTO messaging.outbox_dead SELECT xid, id, event_id, aggregate_id, detail_type, envelope, \'too large\' FROM messaging.outbox WHERE event_id = :\'stuck created\'',
    contents: ({ dead }) => dead.set('stock-service-queue', []),
    fails: [],
  },
  'what was before a consumer began to get its events is not its concern': {
    sql: 'DELETE FROM messaging.inbox WHERE event_id = :\'confirmed created\'; INSERT INTO messaging.inbox VALUES (\'stock-service\', :\'confirmed decided\')',
    subscriptions: SUBSCRIPTIONS.map((subscription) => ({ ...subscription, since: { xid: String(2n ** 63n), id: '0' } })),
    fails: [],
  },
  'what came after a consumer began to get its events is': {
    sql: 'DELETE FROM messaging.inbox WHERE event_id = :\'rejected created\'',
    subscriptions: SUBSCRIPTIONS.map((subscription) => ({ ...subscription, since: { xid: '1', id: '0' } })),
    finds: /neither handled nor waiting nor dead/,
    fails: ['I1', 'I10', 'I11'],
  },
  'a counter reserves more than there is': {
    sql: 'ALTER TABLE inventory.stock_level DROP CONSTRAINT stock_level_check; UPDATE inventory.stock_level SET reserved = 99 WHERE sku = \'A\'',
    finds: /on hand, or a negative count, now/,
    fails: ['I3', 'I4'],
  },
  'an event admits an oversold product': {
    sql: 'UPDATE messaging.outbox SET envelope = jsonb_set(envelope::jsonb, \'{data,lines,0,reserved}\', \'11\')::text WHERE event_id = :\'held decided\'',
    finds: /event says/,
    fails: ['I3'],
  },
  'an extra ledger entry': {
    sql: 'INSERT INTO inventory.ledger (sku, location, type, delta_on_hand, delta_reserved) VALUES (\'A\', \'MAIN\', \'RECEIPT\', 1, 0)',
    finds: /differ from the sums of the ledger/,
    fails: ['I4'],
  },
  'a reservation is released twice': {
    sql: `INSERT INTO inventory.ledger (document_id, version, line, sku, location, type, delta_on_hand, delta_reserved, event_id)
            SELECT :'held', 2, n, 'A', 'MAIN', 'RELEASE', 0, -2, gen_random_uuid() FROM generate_series(1, 2) n`,
    finds: /gave back more than it had/,
    fails: ['I4', 'I5', 'I10'],
  },
  'a doubled deduction': {
    sql: `ALTER TABLE inventory.ledger DROP CONSTRAINT ledger_deltas;
          INSERT INTO inventory.ledger (document_id, version, sku, location, type, delta_on_hand, delta_reserved, event_id)
            SELECT document_id, version + 1, sku, location, type, delta_on_hand, 0, event_id FROM inventory.ledger WHERE type = 'COMMIT';
          UPDATE inventory.stock_level SET on_hand = on_hand - 2 WHERE sku = 'A'`,
    finds: /deducted again though no update/,
    fails: ['I5', 'I10'],
  },
  'a second deduction at another location': {
    sql: `ALTER TABLE inventory.ledger DROP CONSTRAINT ledger_deltas;
          INSERT INTO inventory.stock_level VALUES ('A', 'EAST', 8, 0);
          INSERT INTO inventory.ledger (sku, location, type, delta_on_hand, delta_reserved) VALUES ('A', 'EAST', 'RECEIPT', 10, 0);
          INSERT INTO inventory.ledger (document_id, version, line, sku, location, type, delta_on_hand, delta_reserved, event_id)
            SELECT document_id, version, 2, sku, 'EAST', type, delta_on_hand, 0, event_id FROM inventory.ledger WHERE type = 'COMMIT'`,
    finds: /more or less than the order line/,
    fails: ['I5', 'I10'],
  },
  'a confirmed order was refused its stock': {
    sql: `UPDATE inventory.ledger SET type = 'REJECT', location = NULL, delta_reserved = 0 WHERE document_id = :'held';
          UPDATE inventory.stock_level SET reserved = 0 WHERE sku = 'A';
          UPDATE messaging.outbox SET envelope = jsonb_set(jsonb_set(envelope::jsonb, '{data,outcome}', '"REJECTED"'), '{data,lines,0,deltaReserved}', '0')::text
            WHERE event_id = :'held decided'`,
    finds: /less stock than its lines/,
    fails: ['I5'],
  },
  'stock is held for an order that was never there': {
    sql: `INSERT INTO inventory.ledger (document_id, sku, location, type, delta_on_hand, delta_reserved, event_id)
            VALUES ('${GHOST}', 'B', 'MAIN', 'RESERVE', 0, 1, '${GHOST}');
          UPDATE inventory.stock_level SET reserved = 1 WHERE sku = 'B';
          INSERT INTO messaging.outbox (xid, event_id, aggregate_id, detail_type, envelope) VALUES ('1', '${GHOST}', '${GHOST}', 'InventoryUpdated',
            '{"sequence": "1", "data": {"outcome": "RESERVED", "lines": [{"sku": "B", "deltaOnHand": 0, "deltaReserved": 1, "onHand": 1, "reserved": 1}]}}')`,
    subscriptions: [],
    finds: /for an order that does not exist/,
    fails: ['I9'],
  },
  'a rejected order holds stock': {
    sql: `INSERT INTO inventory.ledger (document_id, version, sku, location, type, delta_on_hand, delta_reserved, event_id)
            VALUES (:'rejected', 2, 'B', 'MAIN', 'RESERVE', 0, 1, gen_random_uuid());
          UPDATE inventory.stock_level SET reserved = 1 WHERE sku = 'B'`,
    finds: /came to nothing/,
    fails: ['I9', 'I10'],
  },
  'a deduction announced twice': {
    sql: `INSERT INTO messaging.outbox (xid, event_id, aggregate_id, detail_type, envelope)
          SELECT '1', '${newId()}', aggregate_id, detail_type, envelope FROM messaging.outbox WHERE event_id = :'confirmed deducted'`,
    subscriptions: [],
    finds: /announced twice/,
    fails: ['I5', 'I10'],
  },
  'the inventory skipped a version': {
    sql: 'UPDATE inventory.ledger SET version = 3 WHERE document_id = :\'confirmed\' AND version = 2', finds: /skipped a version/, fails: ['I7', 'I10'],
  },
  'a listener heard of the end first': {
    sql: `UPDATE messaging.outbox SET envelope = (envelope::jsonb || jsonb_build_object('previousid', :'confirmed created'))::text WHERE event_id = :'confirmed settled';
          INSERT INTO messaging.inbox VALUES ('analytics-service', :'confirmed settled'), ('notification-service', :'confirmed settled')`,
    finds: /before the one that comes first/,
    fails: ['I7'],
  },
  'an event was forgotten where it waited': {
    sql: 'INSERT INTO messaging.parked (consumer, event_id, order_id, version, envelope) VALUES (\'inventory-service\', :\'held settled\', :\'held\', 2, \'{}\')',
    finds: /although what it waits for was handled/,
    fails: ['I7'],
  },
  'a status that nothing leads to': {
    sql: `ALTER TABLE orders.status_change DROP CONSTRAINT status_change_transition;
          UPDATE orders.status_change SET to_status = 'COMPLETED' WHERE order_id = :'held' AND version = 2;
          UPDATE orders.orders SET status = 'COMPLETED' WHERE order_id = :'held'`,
    finds: /table of transitions does not have/,
    fails: ['I8', 'I10'],
  },
  'an order hangs': {
    sql: `UPDATE orders.orders SET status = 'PENDING', version = 1 WHERE order_id = :'rejected'; DELETE FROM orders.status_change WHERE order_id = :'rejected' AND version = 2;
          DELETE FROM messaging.outbox WHERE event_id = :'rejected settled'`,
    finds: /neither terminal nor explained/,
    fails: ['I6'],
  },
  'an order without its event': {
    sql: 'DELETE FROM messaging.outbox WHERE event_id = :\'stuck created\'', finds: /without exactly one OrderCreated/, fails: ['I10'],
  },
  'an event that tells of other lines': {
    sql: 'UPDATE orders.orders SET items = jsonb_set(items, \'{0,quantity}\', \'1\') WHERE order_id = :\'stuck\'', finds: /differ from those of its OrderCreated/, fails: ['I10'],
  },
  'a change of status without its event': {
    sql: 'DELETE FROM messaging.outbox WHERE event_id = :\'rejected settled\'', finds: /change of status and its event/, fails: ['I10'],
  },
  'an event without its change of status': {
    sql: `DELETE FROM orders.status_change WHERE order_id = :'rejected' AND version = 2;
          UPDATE orders.orders SET status = 'PENDING', version = 1 WHERE order_id = :'rejected'`,
    finds: /change of status and its event/,
    fails: ['I6', 'I10'],
  },
  'a status that nothing changed': {
    sql: 'UPDATE orders.orders SET status = \'CANCELLED\' WHERE order_id = :\'rejected\'', finds: /not that of its last change/, fails: ['I10'],
  },
  'a reservation without its event': {
    sql: 'DELETE FROM messaging.outbox WHERE event_id = :\'rejected decided\'; DELETE FROM messaging.inbox WHERE event_id = :\'rejected decided\'',
    finds: /version of a reservation/,
    fails: ['I10'],
  },
  'an event that tells of another ledger': {
    sql: 'UPDATE messaging.outbox SET envelope = jsonb_set(envelope::jsonb, \'{data,lines,0,deltaReserved}\', \'1\')::text WHERE event_id = :\'held decided\'',
    finds: /ledger of an order differs/,
    fails: ['I10'],
  },
  'an event that was never published': {
    sql: 'UPDATE messaging.relay_cursor c SET (xid, id) = (SELECT xid, id - 1 FROM messaging.outbox ORDER BY xid DESC, id DESC LIMIT 1)',
    subscriptions: [],
    finds: /has not been published/,
    fails: ['I10'],
  },
};

for (const [name, lie] of Object.entries(LIES)) {
  test(name, async () => {
    const results = await check(lie);
    const failed = results.filter(({ ok }) => !ok);
    assert.deepEqual(failed.map(({ id }) => id), lie.fails, JSON.stringify(failed, undefined, 1));
    if (!lie.finds) return;
    const told = failed.flatMap(({ violations }) => violations).filter(({ what }) => lie.finds!.test(what));
    assert.equal(told.length, 1, JSON.stringify(failed, undefined, 1));
    assert.ok(told[0]!.count >= 1 && told[0]!.sample.length >= 1 && told[0]!.sample.length <= 5);
  });
}

test('every statement has a lie that only it is asked about', () => {
  for (const { what } of CHECKS) assert.ok(Object.values(LIES).some(({ finds }) => finds?.test(what)), what);
});

test('the events of a message are recognised wrapped, bare, in a bundle, or not at all', () => {
  const [event, other] = [history.events['stuck created']!, history.events['confirmed created']!];
  const first = { event: event.id, order: history.orders.stuck };
  const second = { event: other.id, order: history.orders.confirmed };
  assert.deepEqual(identify(body(event)), [first]);
  assert.deepEqual(identify(JSON.stringify(event)), [first]);
  assert.deepEqual(identify(bundle(event, other)), [first, second]);
  assert.deepEqual(identify(JSON.stringify({ events: [event, 'poison', other] })), [first, second]);
  for (const poison of ['', 'null', '7', '[]', '{"detail":5}', '{"detail":null}', '{"data":"x"}', '{"events":[]}', '{"events":[5]}']) {
    assert.deepEqual(identify(poison).filter(({ event: id, order }) => id ?? order), [], poison);
  }
});
