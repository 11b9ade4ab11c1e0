import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { analyticsHandler } from '../../analytics-service/handler.ts';
import { createNotificationHandler } from '../../notification-service/handler.ts';
import type { Pool } from '../database.ts';
import { newEvent, newId, type EventEnvelope } from '../events/index.ts';
import { registry } from '../telemetry.ts';
import { startTestServer, type TestDatabase, type TestServer } from '../testing.ts';
import { noteDeadLetters } from './dead-letters.ts';
import type { Handler } from './handler.ts';
import { handleOnce, handleOverdue } from './inbox.ts';

let server: TestServer;
let db: TestDatabase;
before(async () => {
  server = await startTestServer();
  db = await server.database();
});
after(() => server.stop());

const analytics = analyticsHandler as unknown as Handler;

/** The events of an order that is confirmed, updated again and again, and cancelled, as far as they are the order's. */
function journey(versions: number): EventEnvelope[] {
  const orderId = newId();
  const at = new Date().toISOString();
  const items = [{ sku: 'A', quantity: 1 }];
  const events: EventEnvelope[] = [];
  for (let version = 1; version <= versions; version++) {
    const common = { source: '/order-service', subject: orderId, sequence: version, previous: events.at(-1)?.id, cause: { id: newId() } };
    const said = { orderId, customerId: 'c', version };
    const change = { old: items, new: items, changed: [{ sku: 'A', from: 1, to: 2 }] };
    events.push(
      version === 1 ? newEvent({ ...common, type: 'order.created', data: { orderId, customerId: 'c', items, createdAt: at } })
        : version === 2 ? newEvent({ ...common, type: 'order.confirmed', data: { ...said, confirmedAt: at } })
          : version === versions ? newEvent({ ...common, type: 'order.cancel-requested', data: { ...said, reason: 'x', requestedAt: at } })
            : version % 2 ? newEvent({ ...common, type: 'order.update-requested', data: { ...said, ...change, requestedAt: at } })
              : newEvent({ ...common, type: 'order.updated', data: { ...said, ...change, updatedAt: at } }));
  }
  return events;
}

async function parkedOf(events: readonly EventEnvelope[]) {
  const { rows } = await db.admin.query<{ version: number; applied: boolean }>(
    'SELECT version::int, applied_at IS NOT NULL AS applied FROM messaging.parked WHERE order_id = $1 ORDER BY version', [events[0]!.subject]);
  return rows;
}

test('events in the worst order are parked, and applied one after the other as soon as the first comes', async () => {
  const events = journey(7);
  for (const event of [...events.slice(1)].reverse()) assert.deepEqual((await handleOnce(analytics, [event], db.command)).map(({ result }) => result), ['parked']);
  assert.deepEqual(await parkedOf(events), [2, 3, 4, 5, 6, 7].map((version) => ({ version, applied: false })));
  const before = await counter('parked');
  await handleOverdue(analytics, 0, db.command, assert.fail);
  assert.match(await registry.metrics(), /^events_parked\{consumer="analytics-service"\} 6$/m);
  assert.deepEqual((await handleOnce(analytics, [events[0]!], db.command)).map(({ result }) => result), ['ok']);
  assert.deepEqual(await parkedOf(events), [2, 3, 4, 5, 6, 7].map((version) => ({ version, applied: true })));
  assert.equal(await counter('parked'), before, 'what is applied from the park counts as what it is then');
  await handleOverdue(analytics, 0, db.command, assert.fail);
  assert.match(await registry.metrics(), /^events_parked\{consumer="analytics-service"\} 0$/m);
  // All of it again is all known.
  assert.ok((await handleOnce(analytics, events, db.command)).every(({ result }) => result === 'duplicate'));
});

async function counter(result: string): Promise<number> {
  const lines = (await registry.metrics()).split('\n').filter((line) => line.startsWith('events_consumed_total') && line.includes(`result="${result}"`));
  return lines.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
}

test('customers hear of versions in order, though the first is never sent to the notification-service', async () => {
  const events = journey(5);
  const notification = createNotificationHandler(() => undefined) as unknown as Handler;
  assert.deepEqual((await handleOnce(notification, [events[3]!, events[2]!], db.command)).map(({ result }) => result).sort(), ['parked', 'parked']);
  await handleOnce(notification, [events[1]!], db.command);
  const { rows } = await db.admin.query('SELECT outcome, version FROM notification.notification WHERE order_id = $1 ORDER BY version', [events[0]!.subject]);
  assert.deepEqual(rows, [{ outcome: 'CONFIRMED', version: 2 }, { outcome: 'UPDATED', version: 4 }]);
});

/** The pool, but something else happens once, after a statement or before it. */
function meanwhile(name: string, happens: () => Promise<unknown>, isBefore = false): Pool {
  let waiting = true;
  return new Proxy(db.command, {
    get(target, property) {
      if (property === 'query') {
        return async (config: { name: string }) => {
          const isIt = config.name === name && waiting;
          if (isIt) waiting = false;
          if (isIt && isBefore) await happens();
          const answer: unknown = await target.query(config as never);
          if (isIt && !isBefore) await happens();
          return answer;
        };
      }
      const value: unknown = Reflect.get(target, property);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

test('one parks and one closes the gap at the same moment: the last to commit applies', async () => {
  // The second version is parked after the first was read to be missing, and has come since.
  const [first, second] = journey(2) as [EventEnvelope, EventEnvelope];
  await handleOnce(analytics, [second], meanwhile('inbox-handled', () => handleOnce(analytics, [first], db.command)));
  assert.deepEqual(await parkedOf([first]), [{ version: 2, applied: true }]);
  // The first version is written after it was looked whether anything waits.
  const [early, late] = journey(2) as [EventEnvelope, EventEnvelope];
  await handleOnce(analytics, [early], meanwhile('inbox-handled', () => handleOnce(analytics, [late], db.command)));
  assert.deepEqual(await parkedOf([early]), [{ version: 2, applied: true }]);
});

test('the rest of a process that ended between two commits is applied by the next that looks', async () => {
  const [first, second, third] = journey(3) as [EventEnvelope, EventEnvelope, EventEnvelope];
  await handleOnce(analytics, [second, third], db.command);
  const dying: Handler = {
    ...analytics,
    handle: async (events, pool) => {
      const outcomes = await analytics.handle(events, pool);
      throw Object.assign(new Error('killed'), { outcomes });
    },
  };
  await assert.rejects(handleOnce(dying, [first], db.command), /killed/);
  assert.deepEqual(await parkedOf([first]), [{ version: 2, applied: false }, { version: 3, applied: false }]);
  await Promise.all([1, 2, 3].map(() => handleOverdue(analytics, 0, db.command, assert.fail)));
  assert.deepEqual(await parkedOf([first]), [{ version: 2, applied: true }, { version: 3, applied: true }]);
});

test('a parked event that cannot be applied waits on, and is reported; the others of the queue are not held up', async () => {
  const [first, second] = journey(2) as [EventEnvelope, EventEnvelope];
  const failing: Handler = {
    ...analytics,
    async handle(events, pool) {
      if (events.some(({ id }) => id === second.id) && (await db.admin.query('SELECT FROM messaging.inbox WHERE event_id = $1', [first.id])).rowCount) throw new Error('no luck');
      return analytics.handle(events, pool);
    },
  };
  await handleOnce(failing, [second], db.command);
  assert.deepEqual((await handleOnce(failing, [first], db.command)).map(({ result }) => result), ['ok']);
  const others = [journey(2), journey(2), journey(2)] as [EventEnvelope, EventEnvelope][];
  for (const [before, after] of others) {
    await handleOnce(failing, [after], db.command);
    await db.admin.query('INSERT INTO messaging.inbox (consumer, event_id) VALUES ($1, $2)', [analytics.name, before.id]);
  }
  const failed: string[] = [];
  await handleOverdue(failing, 0, db.command, (event, error) => failed.push(`${event.id}: ${(error as Error).message}`));
  assert.deepEqual(failed, [`${second.id}: no luck`]);
  for (const order of others) assert.deepEqual(await parkedOf(order), [{ version: 2, applied: true }]);
  assert.deepEqual(await parkedOf([first]), [{ version: 2, applied: false }]);
  await handleOverdue(analytics, 0, db.command, assert.fail);
  assert.deepEqual(await parkedOf([first]), [{ version: 2, applied: true }]);
});

/** The pool, and somebody who hears of each statement. */
function heard(hears: (name: string) => void): Pool {
  return new Proxy(db.command, {
    get(target, property) {
      const value: unknown = Reflect.get(target, property);
      if (property !== 'query') return typeof value === 'function' ? value.bind(target) : value;
      return (config: { name: string }) => {
        hears(config.name);
        return target.query(config as never);
      };
    },
  });
}

const passTime = (consumer: string, seconds: number) => db.admin.query(
  `UPDATE messaging.parked SET due_at = due_at - make_interval(secs => $2), parked_at = parked_at - make_interval(secs => $2)
   WHERE consumer = $1 AND applied_at IS NULL`, [consumer, seconds]);

test('2,000 parked events whose gap never closes cost a few statements a second, less and less, and are dead letters in the end', async () => {
  const name = 'gaps-test';
  const tried = new Map<string, number>();
  const patient: Handler = {
    name,
    types: analytics.types,
    async handle(events) {
      for (const { id } of events) tried.set(id, (tried.get(id) ?? 0) + 1);
      return events.map(({ id }) => ({ eventId: id, result: 'parked', reason: 'version 1 of the order comes first' }));
    },
  };
  const seconds = journey(2);
  const events = Array.from({ length: 2_000 }, () => {
    const orderId = newId();
    return { ...seconds[1]!, id: newId(), subject: orderId, previousid: newId(), data: { ...seconds[1]!.data, orderId } } as EventEnvelope;
  });
  for (let at = 0; at < events.length; at += 500) await handleOnce(patient, events.slice(at, at + 500), db.command);
  tried.clear();
  const statements: string[] = [];
  const pool = heard((statement) => statements.push(statement));
  for (let looks = 0; looks < 15; looks++) {
    await passTime(name, 4);
    await handleOverdue(patient, 1, pool, assert.fail, 3_600);
  }
  assert.ok(statements.length <= 3 * 15, `${statements.length} statements in 15 looks`);
  assert.equal(tried.size, 2_000);
  assert.match(await registry.metrics(), /^events_parked\{consumer="gaps-test"\} 2000$/m);

  await passTime(name, 3_600);
  for (let looks = 0; looks < 4; looks++) await handleOverdue(patient, 1, db.command, assert.fail, 3_600);
  const { rows: [dead] } = await db.admin.query('SELECT count(*)::int AS count, min(error) AS error FROM messaging.dead_letter WHERE consumer = $1', [name]);
  assert.deepEqual(dead.count, 2_000);
  assert.match(dead.error, /^parked since .*: version 1 of the order comes first$/);
  assert.match(await registry.metrics(), /^events_parked\{consumer="gaps-test"\} 0$/m);
  assert.match(await registry.metrics(), /^events_parked_given_up\{consumer="gaps-test"\} 2000$/m);
  statements.length = 0;
  for (let looks = 0; looks < 3; looks++) {
    await passTime(name, 600);
    await handleOverdue(patient, 1, pool, assert.fail, 3_600);
  }
  assert.deepEqual(statements, Array.from({ length: 3 }, () => 'parking-state'));
});

test('a parked event is tried less and less often', async () => {
  const [, second] = journey(2) as [EventEnvelope, EventEnvelope];
  const name = 'doubling-test';
  let tries = 0;
  const waiting: Handler = { name, types: analytics.types, handle: async () => (tries++, [{ eventId: second.id, result: 'parked' }]) };
  await handleOnce(waiting, [second], db.command);
  tries = 0;
  for (let seconds = 0; seconds < 60; seconds++) {
    await passTime(name, 1);
    await handleOverdue(waiting, 1, db.command, assert.fail);
  }
  // After 1, 2, 4, 8, 16 and 32 seconds; more if the test itself takes as long.
  assert.ok(tries >= 5 && tries <= 8, `${tries} tries in a minute`);
  for (let looks = 1; looks <= 3; looks++) {
    const before = tries;
    await passTime(name, 33);
    await handleOverdue(waiting, 1, db.command, assert.fail);
    assert.equal(tries, before + 1, 'and at least every 32 seconds');
  }
});

test('an event that was given up is still applied when its gap closes', async () => {
  const [first, second] = journey(2) as [EventEnvelope, EventEnvelope];
  const handler = { ...analytics };
  await handleOnce(handler, [second], db.command);
  await passTime(analytics.name, 100);
  await handleOverdue(handler, 1, db.command, assert.fail, 100);
  const open = async () => (await db.admin.query(`SELECT FROM messaging.dead_letter d
    WHERE event_id = $1 AND NOT EXISTS (SELECT FROM messaging.inbox i WHERE i.event_id = d.event_id)`, [second.id])).rowCount;
  assert.equal(await open(), 1);
  assert.deepEqual((await handleOnce(handler, [first], db.command)).map(({ result }) => result), ['ok']);
  assert.deepEqual(await parkedOf([first]), [{ version: 2, applied: true }]);
  assert.equal(await open(), 0);
});

test('an event behind a dead letter is not tried, and is applied with it when that one comes again', async () => {
  const [first, second] = journey(2) as [EventEnvelope, EventEnvelope];
  const tried: string[] = [];
  const handler: Handler = {
    ...analytics,
    handle(events, pool) {
      tried.push(...events.map(({ id }) => id));
      return analytics.handle(events, pool);
    },
  };
  await handleOnce(handler, [second], db.command);
  await noteDeadLetters(analytics.name, [{ event: first, error: 'no luck' }], db.command);
  tried.length = 0;
  await handleOverdue(handler, 0, db.command, assert.fail);
  assert.equal(tried.includes(second.id), false);
  await handleOnce(handler, [first], db.command);
  assert.deepEqual(await parkedOf([first]), [{ version: 2, applied: true }]);
});

test('who knows that nothing is parked does not ask, and what another process parked meanwhile is applied when it is due', async () => {
  const [first, second] = journey(2) as [EventEnvelope, EventEnvelope];
  const name = 'two-processes-test';
  const [one, other] = [{ ...analytics, name }, { ...analytics, name }];
  const statements: string[] = [];
  const pool = heard((statement) => statements.push(statement));
  const asked = () => statements.splice(0).includes('parking-waiting');
  await handleOnce(one, [journey(1)[0]!], pool);
  assert.equal(asked(), true, 'nothing was counted yet');
  await handleOverdue(one, 1, db.command, assert.fail);
  await handleOnce(one, [journey(1)[0]!], pool);
  assert.equal(asked(), false);
  await handleOnce(other, [second], db.command);
  await handleOnce(one, [first], pool);
  assert.equal(asked(), false, 'the gap is closed by a process that does not know of it');
  await passTime(name, 1);
  await handleOverdue(one, 1, db.command, assert.fail);
  assert.deepEqual(await parkedOf([first]), [{ version: 2, applied: true }]);
  await handleOnce(one, [journey(2)[1]!], pool);
  assert.equal(asked(), true, 'it has parked one itself');
});

test('nothing is parked, says a measure while one is being parked: it is applied as soon as its gap closes', async () => {
  const [first, second] = journey(2) as [EventEnvelope, EventEnvelope];
  const handler = { ...analytics, name: 'measured-meanwhile-test' };
  await handleOnce(handler, [second], meanwhile('parking-park', () => handleOverdue(handler, 1, db.command, assert.fail), true));
  await handleOnce(handler, [first], db.command);
  assert.deepEqual(await parkedOf([first]), [{ version: 2, applied: true }]);
});

test('who closed a gap and failed before it looked looks when the event comes again', async () => {
  const [first, second] = journey(2) as [EventEnvelope, EventEnvelope];
  const handler = { ...analytics, name: 'again-test' };
  const [, early] = journey(2);
  await handleOnce(handler, [second], db.command);
  const away = meanwhile('parking-park', () => Promise.reject(new Error('the connection is lost')), true);
  await assert.rejects(handleOnce(handler, [first, early!], away), /lost/);
  assert.deepEqual(await parkedOf([first]), [{ version: 2, applied: false }]);
  assert.deepEqual((await handleOnce(handler, [first, early!], db.command)).map(({ result }) => result).sort(), ['duplicate', 'parked']);
  assert.deepEqual(await parkedOf([first]), [{ version: 2, applied: true }]);
});

test('a batch applies all that waits for its orders, however much it is', async () => {
  const orders = Array.from({ length: 502 }, () => journey(2) as [EventEnvelope, EventEnvelope]);
  let isOpen = false;
  const handler: Handler = {
    name: 'many-test', types: analytics.types, handle: async (events) => events.map(({ id }) => ({ eventId: id, result: isOpen ? 'ok' : 'parked' })),
  };
  await handleOnce(handler, orders.map(([, second]) => second), db.command);
  isOpen = true;
  await handleOnce(handler, orders.map(([first]) => first), db.command);
  const { rows } = await db.admin.query('SELECT FROM messaging.parked WHERE consumer = \'many-test\' AND applied_at IS NULL');
  assert.equal(rows.length, 0);
});

test('a consumer applies what waits for it without any message', async () => {
  const [first, second] = journey(2) as [EventEnvelope, EventEnvelope];
  await handleOnce(analytics, [second], db.command);
  await db.admin.query('INSERT INTO messaging.inbox (consumer, event_id) VALUES ($1, $2)', [analytics.name, first.id]);
  const { runConsumer } = await import('./consumer.ts');
  const { silentLogger, eventually } = await import('../testing.ts');
  const empty = {
    send: async (command: { constructor: { name: string } }) => {
      if (command.constructor.name !== 'ReceiveMessageCommand') return { Attributes: {} };
      await new Promise((resolve) => setTimeout(resolve, 20));
      return { Messages: [] };
    },
  };
  const consumer = runConsumer({ handler: analytics, queueUrl: 'http://127.0.0.1/none', pool: db.command, sqs: empty as never, logger: silentLogger() });
  try {
    await eventually(() => parkedOf([first]), (rows) => rows.every(({ applied }) => applied));
  } finally {
    await consumer.stop();
  }
});
