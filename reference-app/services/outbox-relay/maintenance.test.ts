import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Maintenance } from './maintenance.ts';
import { MAINTAIN, PRUNE } from './statements.ts';
import { newEvent, newId, type EventEnvelope } from '../shared/events/index.ts';
import type { Handler } from '../shared/messaging/handler.ts';
import { handledBefore, handleOnce } from '../shared/messaging/inbox.ts';
import { appendToOutbox, eventually, silentLogger, startTestServer, type TestDatabase, type TestServer } from '../shared/testing.ts';

let server: TestServer;
before(async () => {
  server = await startTestServer();
});
after(() => server.stop());

function event(orderId = newId(), id = newId()): EventEnvelope<'order.created'> {
  return newEvent({
    id,
    type: 'order.created',
    source: '/order-service',
    subject: orderId,
    sequence: 1,
    cause: { id: newId() },
    data: { orderId, customerId: 'c', items: [{ sku: 'A', quantity: 1 }], createdAt: new Date().toISOString() },
  });
}

/** As the relay does it, with its role. */
async function maintain(db: TestDatabase, keep: string | null, width = '1 day'): Promise<string[]> {
  const done: string[] = [];
  for (;;) {
    const { rows: [row] } = await db.command.query<{ done: string | null }>({ ...MAINTAIN, values: [keep, keep, width] });
    if (row!.done === null) return done;
    done.push(row!.done);
  }
}

async function partitionsOf(db: TestDatabase, parent: string): Promise<string[]> {
  const { rows } = await db.admin.query<{ name: string }>(
    'SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = $1::regclass ORDER BY 1', [parent]);
  return rows.map(({ name }) => name);
}

/** A database whose partitions are of seconds, so that a test sees them come and go; those of days that the migration has made are gone. */
async function fastDatabase(): Promise<TestDatabase> {
  const db = await server.database();
  for (const parent of ['outbox', 'inbox']) {
    for (const name of await partitionsOf(db, `messaging.${parent}`)) if (!name.endsWith('_default')) await db.admin.query(`DROP TABLE ${name}`);
  }
  await db.admin.query('TRUNCATE messaging.partition');
  return db;
}
/** Until the partitions that have the rows of the outbox until now are older than a second: each is of one second. */
async function untilOld(db: TestDatabase): Promise<void> {
  const old = 'SELECT clock_timestamp() AS written, clock_timestamp() > $1::timestamptz + interval \'2 seconds\' AS old';
  const { rows: [row] } = await db.admin.query<{ written: Date }>(old, [null]);
  await eventually(async () => (await db.admin.query<{ old: boolean }>(old, [row!.written])).rows[0]!.old, Boolean);
}
const publishAll = (db: TestDatabase) =>
  db.admin.query('UPDATE messaging.relay_cursor SET (xid, id) = (SELECT xid, id FROM messaging.outbox ORDER BY xid DESC, id DESC LIMIT 1)');
const count = async (db: TestDatabase, table: string) => (await db.admin.query<{ n: number }>(`SELECT count(*)::int AS n FROM ${table}`)).rows[0]!.n;

test('partitions are made ahead, and what is written lies in them and not in the default one', async () => {
  const db = await server.database();
  assert.deepEqual(await maintain(db, null), [], 'the migration has made them');
  assert.equal((await partitionsOf(db, 'messaging.outbox')).length, 1 + 8);
  assert.equal((await partitionsOf(db, 'messaging.inbox')).length, 1 + 8);
  const events = [event(), event()];
  await appendToOutbox(db.command, events);
  await db.command.query('SELECT messaging.remember($1, $2)', ['test', events.map(({ id }) => id)]);
  const tables = ['messaging.outbox', 'messaging.outbox_default', 'messaging.inbox', 'messaging.inbox_default'];
  assert.deepEqual(await Promise.all(tables.map((table) => count(db, table))), [2, 0, 2, 0]);
  await db.drop();
});

test('a partition goes when all of it is old and published, and not before', async () => {
  const db = await fastDatabase();
  await maintain(db, null, '1 second');
  await appendToOutbox(db.command, [event(), event()]);
  await untilOld(db);
  await maintain(db, '1 second', '1 second');
  assert.equal(await count(db, 'messaging.outbox'), 2, 'they are not published');
  await publishAll(db);
  await maintain(db, null, '1 second');
  assert.equal(await count(db, 'messaging.outbox'), 2, 'null keeps forever');
  const done = await maintain(db, '1 second', '1 second');
  assert.ok(done.some((one) => /dropped outbox/.test(one)), done.join());
  assert.equal(await count(db, 'messaging.outbox'), 0);
  const { rows } = await db.admin.query('SELECT parent FROM messaging.forgotten ORDER BY 1');
  assert.deepEqual(rows, [{ parent: 'inbox' }, { parent: 'outbox' }]);
  await db.drop();
});

test('an event of a transaction that is still open is not overlooked', async () => {
  const db = await fastDatabase();
  await maintain(db, null, '1 second');
  await appendToOutbox(db.command, [event()]);
  await publishAll(db);
  const open = event();
  const writer = await db.command.connect();
  await writer.query('BEGIN');
  await appendToOutbox(writer, [open]);
  try {
    await untilOld(db);
    // The writer holds its partition, which may be another than that of the first event, so the step gives up rather than wait.
    await assert.rejects(maintain(db, '1 second', '1 second'), { code: '55P03' });
    await writer.query('COMMIT');
  } finally {
    writer.release();
  }
  await maintain(db, '1 second', '1 second');
  assert.equal(await count(db, `messaging.outbox WHERE event_id = '${open.id}'`), 1, 'it is not published');
  await db.drop();
});

test('when nobody made partitions in time the default one takes the rows, and they are deleted when they are old', async () => {
  const db = await fastDatabase();
  const events = [event(), event()];
  await appendToOutbox(db.command, events);
  await db.command.query('SELECT messaging.remember($1, $2)', ['test', events.map(({ id }) => id)]);
  await maintain(db, null);
  await appendToOutbox(db.command, [event()]);
  assert.equal(await count(db, 'messaging.outbox_default'), 3);
  const prune = async () => (await db.command.query<{ rows: number }>({ ...PRUNE, values: ['1 hour', '1 hour', '1 hour', '1 hour', 100] })).rows[0]!.rows;
  await db.admin.query(`UPDATE messaging.outbox_default SET created_at = created_at - interval '2 hours';
    UPDATE messaging.inbox_default SET processed_at = processed_at - interval '2 hours'`);
  assert.equal(Number(await prune()), 2, 'the inbox; the outbox is not published');
  await publishAll(db);
  assert.equal(Number(await prune()), 3);
  assert.deepEqual([await count(db, 'messaging.outbox'), await count(db, 'messaging.inbox')], [0, 0]);
  await db.drop();
});

test('a large default partition is not looked through under the lock of a new one', async () => {
  const db = await fastDatabase();
  await db.admin.query(`INSERT INTO messaging.outbox (event_id, aggregate_id, detail_type, envelope, created_at)
      SELECT gen_random_uuid(), 'a', 'X', repeat('x', 300), now() - make_interval(mins => n) FROM generate_series(1, 25000) AS n;
    INSERT INTO messaging.inbox (consumer, event_id) SELECT 'a' || n % 10, messaging.first_id(now() - make_interval(mins => n)) FROM generate_series(1, 150000) AS n`);
  const client = await db.command.connect();
  const proofs: string[] = [];
  client.on('notice', ({ message }) => message?.includes('is implied by existing constraints') && proofs.push(message));
  await client.query('SET client_min_messages = debug1');
  const done: string[] = [];
  for (let step: string | null = ''; step !== null;) {
    const { rows: [row] } = await client.query<{ done: string | null }>({ ...MAINTAIN, values: [null, null, '1 day'] });
    step = row!.done;
    if (step !== null) done.push(step.replace(/_\d.*/, ''));
  }
  client.release(true);
  const times = (text: string) => done.filter((one) => one === text).length;
  for (const parent of ['outbox', 'inbox']) {
    // Today and tomorrow are left; each of the others is announced, checked and made.
    assert.deepEqual([times(`left to the default partition: ${parent}`), times(`announced ${parent}`), times(`checked ${parent}`), times(`made ${parent}`)], [2, 6, 6, 6]);
    assert.equal(proofs.filter((proof) => proof.includes(`"${parent}_default"`)).length, 6);
  }
  assert.deepEqual(await announcedIn(db), []);
  await appendToOutbox(db.command, [event()]);

  // What was begun for another width does not stay.
  await db.admin.query('ALTER TABLE messaging.outbox_default ADD CONSTRAINT outbox_another CHECK (created_at < \'2020-01-01Z\') NOT VALID');
  await maintain(db, null);
  await appendToOutbox(db.command, [event()]);
  await db.drop();
});

test('a default partition that is too large to be checked is left as it is, without anything announced, and old rows go anyway', async () => {
  const db = await fastDatabase();
  await db.admin.query(`INSERT INTO messaging.outbox (event_id, aggregate_id, detail_type, envelope, created_at)
      SELECT gen_random_uuid(), 'a', 'X', repeat('x', 300), now() - make_interval(mins => n) FROM generate_series(1, 25000) AS n;
    -- The statement timeout ends each check.
    CREATE FUNCTION public.cancel() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
      IF EXISTS (SELECT FROM pg_constraint c WHERE c.conrelid = 'messaging.outbox_default'::regclass AND c.contype = 'c' AND NOT c.convalidated
                 AND NOT EXISTS (SELECT FROM messaging.partition p WHERE starts_with(c.conname, p.name))) THEN
        RAISE EXCEPTION 'canceling statement due to statement timeout' USING ERRCODE = 'query_canceled';
      END IF;
    END $$;
    CREATE EVENT TRIGGER cancel ON ddl_command_start WHEN TAG IN ('ALTER TABLE') EXECUTE FUNCTION public.cancel()`);
  const done = await maintain(db, null);
  assert.equal(done.filter((one) => one.startsWith('left to the default partition: outbox')).length, 8);
  assert.equal(done.filter((one) => one.startsWith('made inbox')).length, 8);
  assert.deepEqual(await announcedIn(db), []);

  // A round that fails takes back what it has announced, and deletes old rows.
  await db.admin.query('DROP EVENT TRIGGER cancel; TRUNCATE messaging.partition');
  await db.admin.query(`ALTER TABLE messaging.outbox_default ADD CONSTRAINT outbox_another CHECK (created_at < '2200-01-01Z') NOT VALID;
    ALTER TABLE messaging.partition ADD CONSTRAINT nobody CHECK (name = '');
    INSERT INTO orders.idempotency_key (key, body_hash, order_id, created_at) VALUES ('old', '', gen_random_uuid(), now() - interval '2 hours')`);
  const maintenance = new Maintenance(db.command, {
    partitionHours: 24, outboxHours: 0, inboxHours: 0, idempotencyKeyHours: 1, notificationHours: 0, everyMs: 50,
  }, silentLogger());
  await eventually(() => count(db, 'orders.idempotency_key'), (keys) => keys === 0);
  await maintenance.stop();
  assert.deepEqual(await announcedIn(db), []);
  await db.drop();
});

async function announcedIn(db: TestDatabase): Promise<string[]> {
  const { rows } = await db.admin.query<{ conname: string }>(`SELECT conname FROM pg_constraint
    WHERE contype = 'c' AND conrelid IN ('messaging.outbox_default'::regclass, 'messaging.inbox_default'::regclass)`);
  return rows.map(({ conname }) => conname);
}

test('old dead events, idempotency keys and sent notifications go, young and unsent ones stay', async () => {
  const db = await server.database();
  await db.admin.query(`INSERT INTO orders.idempotency_key (key, body_hash, order_id, created_at)
    VALUES ('old', '', gen_random_uuid(), now() - interval '2 days'), ('young', '', gen_random_uuid(), now())`);
  const old = 'messaging.first_id(now() - interval \'2 days\')';
  await db.admin.query(`INSERT INTO notification.notification (order_id, version, outcome, sent_at) VALUES
    (${old}, 2, 'SENT', now() - interval '2 days'), (${old}, 2, 'UNSENT', NULL), ($1, 2, 'YOUNG', now())`, [newId()]);
  await db.admin.query(`INSERT INTO messaging.outbox_dead (xid, id, event_id, aggregate_id, detail_type, envelope, error, failed_at)
    VALUES ('1', 1, gen_random_uuid(), 'a', 'X', '', 'old', now() - interval '2 days'), ('1', 2, gen_random_uuid(), 'a', 'X', '', 'young', now())`);
  await db.command.query({ ...PRUNE, values: ['1 day', '1 day', '1 day', '1 day', 100] });
  assert.deepEqual((await db.admin.query('SELECT error FROM messaging.outbox_dead')).rows, [{ error: 'young' }]);
  assert.deepEqual((await db.admin.query('SELECT key FROM orders.idempotency_key')).rows, [{ key: 'young' }]);
  assert.deepEqual((await db.admin.query('SELECT outcome FROM notification.notification ORDER BY 1')).rows, [{ outcome: 'UNSENT' }, { outcome: 'YOUNG' }]);
  await db.drop();
});

/** Remembers as the handlers do. */
function counting(name: string): Handler<'order.created'> & { effects: number } {
  return {
    name,
    effects: 0,
    types: ['order.created'],
    async handle(events, pool) {
      const known = await handledBefore(name, events, pool);
      const fresh = events.filter(({ id }) => !known.has(id));
      this.effects += fresh.length;
      if (fresh.length > 0) await pool.query('SELECT messaging.remember($1, $2)', [name, fresh.map(({ id }) => id)]);
      return events.map(({ id }) => ({ eventId: id, result: known.has(id) ? 'duplicate' : 'ok' }));
    },
  };
}

test('a replay of what the inbox has forgotten is not handled again, and does not look like a duplicate; ids without time are never forgotten', async () => {
  const db = await server.database();
  const handler = counting('old-consumer');
  const ancient = await eventOf(db, '40 days');
  const foreign = event(newId(), '00000000-0000-4000-8000-000000000001');
  await db.admin.query('INSERT INTO messaging.forgotten VALUES (\'inbox\', now() - interval \'30 days\')');
  const remembered = await eventOf(db, '20 days');
  for (const [result, effects] of [['ok', 2], ['duplicate', 2]] as const) {
    const outcomes = await handleOnce(handler, [ancient, foreign, remembered], db.command);
    assert.deepEqual(outcomes.map((outcome) => outcome.result), ['forgotten', result, result]);
    assert.equal(handler.effects, effects);
  }
  await db.drop();
});

test('a new consumer handles history from before the inbox remembers, once; another that was there does not', async () => {
  const db = await server.database();
  const [old, young] = [counting('old-consumer'), counting('new-consumer')];
  const begin = (name: string) => db.command.query('SELECT messaging.begin_consumer($1)', [name]);
  const forget = (ago: string) => db.admin.query(
    'INSERT INTO messaging.forgotten VALUES (\'inbox\', now() - $1::interval) ON CONFLICT (parent) DO UPDATE SET before = excluded.before', [ago]);
  // Migrated: it was there before its beginning was written down.
  await db.admin.query('INSERT INTO messaging.consumer (consumer, began_at) VALUES ($1, now() - interval \'1 day\')', [old.name]);
  await begin(old.name);
  await forget('30 days');
  await begin(young.name);
  const history = [await eventOf(db, '40 days'), await eventOf(db, '90 days')];
  const results = async (handler: Handler<'order.created'>) => (await handleOnce(handler, history, db.command)).map(({ result }) => result);
  assert.deepEqual(await results(old), ['forgotten', 'forgotten']);
  assert.deepEqual(await results(young), ['ok', 'ok']);
  await begin(young.name);
  assert.deepEqual(await results(young), ['duplicate', 'duplicate']);
  assert.equal(young.effects, 2);
  // Its beginning does not move: what it may have handled and is forgotten since then stays so.
  const recent = await eventOf(db, '25 days');
  await forget('20 days');
  assert.deepEqual((await handleOnce(young, [recent], db.command)).map(({ result }) => result), ['forgotten']);
  // And when the inbox lets go of the history itself, that is forgotten, too.
  await db.admin.query(`UPDATE messaging.inbox_default SET processed_at = processed_at - interval '31 days';
    UPDATE messaging.consumer SET began_at = began_at - interval '31 days'`);
  await db.command.query({ ...PRUNE, values: ['30 days', '30 days', '30 days', '30 days', 100] });
  assert.deepEqual(await results(young), ['forgotten', 'forgotten']);
  assert.equal(young.effects, 2);
  await db.drop();
});

async function eventOf(db: TestDatabase, ago: string): Promise<EventEnvelope<'order.created'>> {
  return event(newId(), (await db.admin.query<{ id: string }>('SELECT messaging.first_id(now() - $1::interval) AS id', [ago])).rows[0]!.id);
}

test('maintenance beside traffic loses nothing', async () => {
  const db = await server.database();
  const maintenance = new Maintenance(db.command, {
    partitionHours: 1 / 3600, outboxHours: 1 / 3600, inboxHours: 3 / 3600, idempotencyKeyHours: 1, notificationHours: 1, everyMs: 50,
  }, silentLogger());
  // The days that the migration made ahead are in the way of partitions of a second.
  const ids: string[] = [];
  const until = Date.now() + 4_000;
  await Promise.all([1, 2].map(async () => {
    while (Date.now() < until) {
      const events = [event(), event()];
      await appendToOutbox(db.command, events);
      ids.push(...events.map(({ id }) => id));
    }
  }));
  await maintenance.stop();
  const { rows: [row] } = await db.admin.query<{ missing: number }>(
    'SELECT count(*)::int AS missing FROM unnest($1::uuid[]) AS e WHERE e NOT IN (SELECT event_id FROM messaging.outbox)', [ids]);
  assert.equal(row!.missing, 0);
  await db.drop();
});

test('partitions of seconds come and go under a steady stream', async () => {
  const db = await fastDatabase();
  const maintenance = new Maintenance(db.command, {
    partitionHours: 1 / 3600, outboxHours: 2 / 3600, inboxHours: 2 / 3600, idempotencyKeyHours: 1, notificationHours: 1, everyMs: 50,
  }, silentLogger());
  const forgotten = async () => {
    const { rows } = await db.admin.query<{ n: number }>(
      'SELECT count(*)::int AS n FROM messaging.forgotten WHERE before > now() - interval \'5 seconds\'');
    return rows[0]!.n;
  };
  let written = 0;
  await eventually(async () => {
    await appendToOutbox(db.command, [event()]);
    await publishAll(db);
    written++;
    return forgotten();
  }, (parents) => parents === 2);
  await eventually(async () => {
    await appendToOutbox(db.command, [event()]);
    await publishAll(db);
    written++;
    return count(db, 'messaging.outbox');
  }, (left) => left < written / 2);
  assert.ok((await partitionsOf(db, 'messaging.outbox')).length < 15);
  await maintenance.stop();
  await db.drop();
});
