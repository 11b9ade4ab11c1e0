import assert from 'node:assert/strict';
import { createSecretKey } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import { EventBridgeClient } from '@aws-sdk/client-eventbridge';
import type pg from 'pg';
import type { RelayOptions } from './options.ts';
import { runRelay, type Relay } from './relay.ts';
import { HALT } from './statements.ts';
import { LOCK } from './term.ts';
import { withTransaction, type Pool } from '../shared/database.ts';
import { keyIdOf, newEvent, newId, parseMessage, type EventEnvelope } from '../shared/events/index.ts';
import { createLogger, registry } from '../shared/telemetry.ts';
import { appendToOutbox, createSchemas, eventually, silentLogger, startTestServer, type TestDatabase, type TestServer } from '../shared/testing.ts';

interface Entry { Source: string; DetailType: string; Detail: string; EventBusName: string }
type Answer = { EventId: string } | { ErrorCode: string; ErrorMessage?: string };

/** An endpoint that speaks PutEvents and does as the test says. */
class Bus {
  readonly #server: Server;
  /** Accepted, in order. */
  accepted: EventEnvelope[] = [];
  /** Calls that had an event of an aggregate while another call had one of it too, or twice in one call. */
  overlaps = 0;
  largestCall = { entries: 0, bytes: 0 };
  calls = 0;
  details: string[] = [];
  readonly #inFlight = new Set<string>();

  constructor() {
    this.#server = createServer((request, response) => {
      void (async () => {
        const chunks: Buffer[] = [];
        for await (const chunk of request) chunks.push(chunk as Buffer);
        const reply = (status: number, body: object) => response.writeHead(status, { 'content-type': 'application/x-amz-json-1.1' }).end(JSON.stringify(body));
        assert.equal(request.headers['x-amz-target'], 'AWSEvents.PutEvents');
        const { Entries } = JSON.parse(Buffer.concat(chunks).toString()) as { Entries: Entry[] };
        this.calls++;
        const sizeOf = ({ Source, DetailType, Detail }: Entry) => 14 + Buffer.byteLength(Source + DetailType + Detail);
        const bytes = Entries.reduce((sum, entry) => sum + sizeOf(entry), 0);
        this.largestCall = { entries: Math.max(this.largestCall.entries, Entries.length), bytes: Math.max(this.largestCall.bytes, bytes) };
        const events = Entries.map(({ Detail }) => {
          const detail = JSON.parse(Detail) as EventEnvelope | { events: EventEnvelope[] };
          return 'events' in detail ? detail.events : [detail];
        });
        this.details.push(...Entries.map(({ Detail }) => Detail));
        const subjects = events.flat().map(({ partitionkey }) => partitionkey);
        for (const subject of subjects) {
          if (this.#inFlight.has(subject)) this.overlaps++;
          this.#inFlight.add(subject);
        }
        await new Promise((resolve) => setImmediate(resolve));
        const failure = this.fail(Entries);
        // An entry is refused for the sake of one of its events.
        const answers = failure ? [] : await Promise.all(events.map(async (some) => {
          const all = await Promise.all(some.map((one) => this.answer(one)));
          return all.find((answer) => 'ErrorCode' in answer) ?? all[0]!;
        }));
        answers.forEach((answer, i) => 'EventId' in answer && this.accepted.push(...events[i]!));
        subjects.forEach((subject) => this.#inFlight.delete(subject));
        if (failure) return reply(failure.status, failure.body);
        return reply(200, { FailedEntryCount: answers.filter((answer) => 'ErrorCode' in answer).length, Entries: answers });
      })();
    });
  }

  /** The answer to one event. */
  answer: (event: EventEnvelope) => Answer | Promise<Answer> = () => ({ EventId: newId() });
  /** An answer to the whole call, instead of one per entry. */
  fail: (entries: Entry[]) => { status: number; body: object } | undefined = () => undefined;

  async listen(port = 0): Promise<number> {
    await new Promise<void>((resolve) => this.#server.listen(port, '127.0.0.1', resolve));
    return (this.#server.address() as AddressInfo).port;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

let server: TestServer;
let db: TestDatabase;
let bus: Bus;
let client: EventBridgeClient;
const relays: Relay[] = [];
/** Clients in a transaction, which have to be given back also if the test fails. */
const open = new Set<pg.PoolClient>();

before(async () => {
  server = await startTestServer();
});
after(() => server.stop());
beforeEach(async () => {
  db = await server.database({ workload: 'outbox-relay' });
  bus = new Bus();
  client = clientFor(await bus.listen());
});
afterEach(async () => {
  for (const one of open) one.release(true);
  open.clear();
  await Promise.all(relays.splice(0).map((relay) => relay.stop()));
  client.destroy();
  await bus.close();
  await db.drop();
});

function clientFor(port: number): EventBridgeClient {
  return new EventBridgeClient({
    endpoint: `http://127.0.0.1:${port}`, region: 'eu-central-1', credentials: { accessKeyId: 'test', secretAccessKey: 'test' }, maxAttempts: 1,
  });
}

function start(options: Partial<RelayOptions> = {}): Relay {
  const relay = runRelay({
    // As its own login, which must be enough.
    pool: db.command, client, busName: 'orders', source: 'com.example.orders', logger: silentLogger(), standbyMs: 20, firstBackOffMs: 5, maxBackOffMs: 40, ...options,
  });
  relays.push(relay);
  return relay;
}

function event(orderId: string, sequence: number, customerId = 'c'): EventEnvelope {
  return newEvent({
    type: 'order.created',
    source: '/order-service',
    subject: orderId,
    sequence,
    cause: { id: newId() },
    data: { orderId, customerId, items: [{ sku: 'A', quantity: 1 }], createdAt: new Date().toISOString() },
  });
}

/** Every property holds for both. */
const FORMS: readonly [string, Partial<RelayOptions>][] = [
  ['entries', {}],
  ['bundles', { bundleBytes: 4_096, lingerMs: 5 }],
  ['gathered bundles', { bundleBytes: 4_096, lingerMs: 5, gathering: [{ detailType: 'OrderCreated', ms: 30 }] }],
];

async function begin(pool: Pool, isolation = ''): Promise<pg.PoolClient> {
  const transaction = await pool.connect();
  open.add(transaction);
  await transaction.query(`BEGIN ${isolation}`);
  return transaction;
}

async function commit(transaction: pg.PoolClient): Promise<void> {
  await transaction.query('COMMIT');
  open.delete(transaction);
  transaction.release();
}

const ids = (events: readonly EventEnvelope[]) => events.map(({ id }) => id);

/** The value of a gauge, of the first shard if it has one for each. */
async function gauge(name: string): Promise<number> {
  const { values } = await registry.getSingleMetric(name)!.get();
  return values.find(({ labels }) => labels.shard === undefined || labels.shard === 0)?.value ?? 0;
}

async function settled(): Promise<void> {
  await eventually(() => db.admin.query<{ n: number }>(
    'SELECT count(*)::int AS n FROM messaging.outbox o, (SELECT xid, id FROM messaging.relay_cursor ORDER BY xid, id LIMIT 1) c WHERE (o.xid, o.id) > (c.xid, c.id)',
  ), ({ rows }) => rows[0]!.n === 0);
}

/** A small repeatable generator. */
function randomFrom(seed: number): () => number {
  return () => (seed = (seed * 48_271) % 2_147_483_647) / 2_147_483_647;
}

for (const [form, bundles] of FORMS) {
  test(`${form} that fail are sent again: nothing is lost or doubled, and each aggregate keeps its order`, async () => {
    const random = randomFrom(42);
    bus.answer = () => (random() < 0.3 ? { ErrorCode: random() < 0.5 ? 'ThrottlingException' : 'InternalFailure', ErrorMessage: 'later' } : { EventId: newId() });
    bus.fail = () => (random() < 0.1 ? { status: 500, body: { __type: 'InternalException', message: 'later' } } : undefined);
    const orders = Array.from({ length: 40 }, () => newId());
    const events = orders.flatMap((orderId) => [1, 2, 3, 4, 5, 6].map((sequence) => event(orderId, sequence)))
      .sort((a, b) => Number(a.sequence) - Number(b.sequence));
    for (let at = 0; at < events.length; at += 30) await withTransaction(db.admin, (tx) => appendToOutbox(tx, events.slice(at, at + 30)));
    start(bundles);
    await settled();
    assert.deepEqual(ids(bus.accepted).sort(), ids(events).sort());
    for (const orderId of orders) {
      assert.deepEqual(bus.accepted.filter(({ subject }) => subject === orderId).map(({ sequence }) => sequence), ['1', '2', '3', '4', '5', '6']);
    }
    assert.equal(bus.overlaps, 0);
    assert.ok(bus.largestCall.entries <= 10);
  });
}

for (const [form, bundles] of FORMS) {
  test(`signed ${form}: a consumer believes each, whatever failed on its way and whichever program wrote it, before and after a rotation`, async () => {
    const keyOf = (version: string) => ({ id: keyIdOf(version), secret: createSecretKey(Buffer.from(`the generated string of version ${version}`)) });
    const [before, now] = [keyOf('version-1'), keyOf('another-1')];
    let current = before;
    const random = randomFrom(7);
    bus.answer = () => (random() < 0.3 ? { ErrorCode: 'InternalFailure', ErrorMessage: 'later' } : { EventId: newId() });
    start({ ...bundles, signingKey: () => current });
    const [first, second] = [0, 1].map(() => Array.from({ length: 40 }, () => event(newId(), 1, 'Jörg "J" \u2028')));
    await appendToOutbox(db.admin, first!);
    // Not as JSON.stringify writes it.
    const foreign = event(newId(), 1);
    await db.admin.query('INSERT INTO messaging.outbox (event_id, aggregate_id, detail_type, envelope) VALUES ($1, $2, \'OrderCreated\', $3)',
      [foreign.id, foreign.subject, JSON.stringify(foreign, undefined, 1).replace('"c"', '"\\u0063"')]);
    // A publisher of one type says another one in the text.
    const lie = event(newId(), 1);
    await db.admin.query('INSERT INTO messaging.outbox (event_id, aggregate_id, detail_type, envelope) VALUES ($1, $2, \'OrderCreated\', $3)',
      [lie.id, lie.subject, `${JSON.stringify(lie).slice(0, -1)},"type":"order.cancelled"}`]);
    await settled();
    current = now;
    await appendToOutbox(db.admin, second!);
    await settled();
    const keys = new Map([before, now].map(({ id, secret }) => [id, [secret]]));
    const read = bus.details.flatMap((detail) => parseMessage(detail, keys));
    assert.deepEqual(read.filter((one) => one instanceof Error), []);
    assert.deepEqual(new Set(ids(read as EventEnvelope[])), new Set(ids([...first!, foreign, ...second!])));
    const keyIds = new Set(bus.details.map((detail) => (JSON.parse(detail) as { signature: string }).signature.slice(0, 8)));
    assert.deepEqual(keyIds, new Set([before.id, now.id]));
    assert.deepEqual((await db.admin.query('SELECT event_id, error FROM messaging.outbox_dead')).rows,
      [{ event_id: lie.id, error: 'The envelope is of the type order.cancelled, whose detail type is OrderCancelled, not OrderCreated.' }]);
  });
}

test('an aggregate whose entry fails does not hold up the others', async () => {
  const stuck = newId();
  let stuckTries = 0;
  bus.answer = ({ subject }) => (subject === stuck && ++stuckTries < 1_000 ? { ErrorCode: 'InternalFailure' } : { EventId: newId() });
  const others = Array.from({ length: 50 }, () => event(newId(), 1));
  await withTransaction(db.admin, (tx) => appendToOutbox(tx, [event(stuck, 1), event(stuck, 2), ...others]));
  start();
  await eventually(() => bus.accepted.length, (n) => n === 50);
  assert.deepEqual(ids(bus.accepted).sort(), ids(others).sort());
  stuckTries = 1_000;
  await settled();
  assert.deepEqual(bus.accepted.slice(50).map(({ sequence }) => sequence), ['1', '2']);
});

test('concurrent transactions and a long one lose no event, and order within an aggregate is that of the commits', async () => {
  start();
  const orders = Array.from({ length: 20 }, () => newId());
  const locks = new Map(orders.map((orderId) => [orderId, Promise.resolve()]));
  const sent: EventEnvelope[] = [];
  const long = await begin(db.admin);
  const early = event(newId(), 1);
  await appendToOutbox(long, [early]);
  const random = randomFrom(7);
  await Promise.all(Array.from({ length: 8 }, async (_, writer) => {
    for (let i = 0; i < 40; i++) {
      const orderId = orders[Math.floor(random() * orders.length)]!;
      // Writers of one order wait for each other, as row locks make them do.
      const turn = locks.get(orderId)!.then(() => withTransaction(db.admin, async (tx) => {
        const mine = event(orderId, sent.filter(({ subject }) => subject === orderId).length + 1);
        await appendToOutbox(tx, [mine]);
        if (i % 5 === writer % 5) await tx.query('SELECT pg_sleep(0.01)');
        sent.push(mine);
      }));
      locks.set(orderId, turn.then(() => undefined));
      await turn;
    }
  }));
  assert.equal(bus.accepted.length, 0, 'what began after an open transaction waits for it: its events may come before');
  await commit(long);
  sent.push(early);
  await settled();
  assert.deepEqual(ids(bus.accepted).sort(), ids(sent).sort());
  for (const orderId of orders) {
    const sequences = bus.accepted.filter(({ subject }) => subject === orderId).map(({ sequence }) => Number(sequence));
    assert.deepEqual(sequences, sequences.map((_, i) => i + 1));
  }
});

for (const [form, bundles] of FORMS) {
  test(`${form}: an event that the bus refuses for good is kept aside, and the next of its aggregate and its neighbours go on`, async () => {
    const orderId = newId();
    const bad = event(orderId, 1);
    const next = event(orderId, 2);
    const neighbours = Array.from({ length: 5 }, () => event(newId(), 1));
    bus.answer = ({ id }) => (id === bad.id ? { ErrorCode: 'MalformedDetail', ErrorMessage: 'Detail is malformed.' } : { EventId: newId() });
    await withTransaction(db.admin, (tx) => appendToOutbox(tx, [bad, next, ...neighbours]));
    start(bundles);
    await settled();
    assert.deepEqual(ids(bus.accepted).sort(), ids([next, ...neighbours]).sort());
    const { rows } = await db.admin.query('SELECT event_id, aggregate_id, detail_type, envelope, error FROM messaging.outbox_dead');
    assert.deepEqual(rows, [{
      event_id: bad.id,
      aggregate_id: orderId,
      detail_type: 'OrderCreated',
      envelope: JSON.stringify(bad),
      error: 'MalformedDetail: Detail is malformed.',
    }]);
  });
}

for (const [form, bundles] of FORMS) {
  test(`${form}: an entry that fails for an unknown reason is given up after many tries, a whole call never`, async () => {
    const odd = event(newId(), 1);
    let wholeCalls = 0;
    bus.fail = () => (++wholeCalls <= 12 ? { status: 403, body: { __type: 'AccessDeniedException', message: 'no' } } : undefined);
    bus.answer = () => ({ ErrorCode: 'SomethingNew', ErrorMessage: '?' });
    await withTransaction(db.admin, (tx) => appendToOutbox(tx, [odd]));
    start({ ...bundles, maxAttempts: 20 });
    await settled();
    assert.equal(bus.calls, 12 + 20, 'failures of a known cause do not count');
    const { rows } = await db.admin.query('SELECT error FROM messaging.outbox_dead');
    assert.deepEqual(rows, [{ error: 'SomethingNew: ?' }]);
  });
}

test('a call has at most 256 KB, and an event that is larger by itself is kept aside', async () => {
  const large = (bytes: number) => ({ ...event(newId(), 1), extension: 'x'.repeat(bytes) });
  const events = [...Array.from({ length: 12 }, () => large(60_000)), large(300_000), ...Array.from({ length: 12 }, () => large(100_000))];
  await withTransaction(db.admin, (tx) => appendToOutbox(tx, events));
  start();
  await settled();
  assert.equal(bus.accepted.length, 24);
  assert.ok(bus.largestCall.bytes <= 256 * 1024 && bus.largestCall.bytes > 200_000, `${bus.largestCall.bytes} bytes`);
  const { rows } = await db.admin.query('SELECT event_id FROM messaging.outbox_dead');
  assert.deepEqual(rows, [{ event_id: events[12]!.id }]);
});

test('with bundles, an event after a quiet time goes at once, and those of a while share a call', async () => {
  start({ bundleBytes: 60 * 1024, lingerMs: 400 });
  await withTransaction(db.admin, (tx) => appendToOutbox(tx, [event(newId(), 1)]));
  await eventually(() => bus.accepted.length, (n) => n === 1);
  const began = performance.now();
  const events = Array.from({ length: 40 }, () => event(newId(), 1));
  for (const one of events) await withTransaction(db.admin, (tx) => appendToOutbox(tx, [one]));
  await settled();
  assert.deepEqual(ids(bus.accepted.slice(1)).sort(), ids(events).sort());
  assert.ok(bus.calls <= 2 + (performance.now() - began) / 200, `${bus.calls} calls`);
  assert.equal(bus.details.length, bus.calls, 'an entry each');
});

test('events that gather for longer wait for one another, and others of their aggregate do not wait for that', async () => {
  const confirmed = (orderId: string, sequence: number) => newEvent({
    type: 'order.confirmed',
    source: '/order-service',
    subject: orderId,
    sequence,
    cause: { id: newId() },
    data: { orderId, customerId: 'c', version: sequence, confirmedAt: new Date().toISOString() },
  });
  start({ bundleBytes: 60 * 1024, lingerMs: 5, gathering: [{ detailType: 'OrderConfirmed', ms: 1_500 }] });
  const orders = Array.from({ length: 10 }, () => newId());
  await withTransaction(db.admin, (tx) => appendToOutbox(tx, [confirmed(newId(), 1)]));
  await eventually(() => bus.accepted.length, (n) => n === 1);
  const began = performance.now();
  for (const orderId of orders) await withTransaction(db.admin, (tx) => appendToOutbox(tx, [confirmed(orderId, 1)]));
  const [hurried] = orders;
  await withTransaction(db.admin, (tx) => appendToOutbox(tx, [event(hurried!, 2)]));
  await eventually(() => bus.accepted.length, (n) => n === 3);
  assert.ok(performance.now() - began < 1_400);
  assert.deepEqual(bus.accepted.slice(1).map(({ subject, sequence }) => [subject, Number(sequence)]), [[hurried, 1], [hurried, 2]]);
  await settled();
  assert.deepEqual([bus.details.length, bus.accepted.length], [4, 12]);
});

test('one relay leads; when its connection is lost, another goes on where it was, and a stop leaves nothing to repeat', async () => {
  const relayBackends = `SELECT l.pid FROM pg_locks l JOIN pg_database d ON d.oid = l.database
    WHERE l.locktype = 'advisory' AND l.objid < 100 AND d.datname = current_database()`;
  const first = start();
  await eventually(() => first.leads(), Boolean);
  const second = start();
  await eventually(() => second.ready(), (ready) => ready === true);
  const rounds: EventEnvelope[] = [];
  const random = randomFrom(11);
  bus.answer = () => (random() < 0.5 ? { ErrorCode: 'ThrottlingException' } : { EventId: newId() });
  for (let round = 0; round < 5; round++) {
    assert.equal(Number(first.leads()) + Number(second.leads()), 1);
    const events = Array.from({ length: 40 }, () => event(newId(), 1));
    rounds.push(...events);
    await withTransaction(db.admin, (tx) => appendToOutbox(tx, events));
    // In the middle of its work: some are out, some have failed.
    await eventually(() => bus.accepted.length, (n) => n > rounds.length - 30);
    const { rows: [leader] } = await db.admin.query<{ pid: number }>(relayBackends);
    await db.admin.query('SELECT pg_terminate_backend($1)', [leader!.pid]);
    await settled();
    await eventually(() => Number(first.leads()) + Number(second.leads()), (n) => n === 1);
  }
  // A killed leader may have published what it could not write down.
  assert.deepEqual([...new Set(ids(bus.accepted))].sort(), ids(rounds).sort());

  bus.answer = () => ({ EventId: newId() });
  await Promise.all([first.stop(), second.stop()]);
  const before = bus.accepted.length;
  const third = start();
  await eventually(() => third.leads(), Boolean);
  const last = event(newId(), 1);
  await withTransaction(db.admin, (tx) => appendToOutbox(tx, [last]));
  await settled();
  assert.deepEqual(ids(bus.accepted.slice(before)), [last.id]);
});

test('while the bus is away the age of the oldest event grows; when it is back, everything goes out', async () => {
  const port = await (async () => {
    const other = new Bus();
    const free = await other.listen();
    await other.close();
    return free;
  })();
  const away = clientFor(port);
  start({ client: away });
  const events = Array.from({ length: 30 }, () => event(newId(), 1));
  await withTransaction(db.admin, (tx) => appendToOutbox(tx, events));
  const age = () => gauge('outbox_oldest_pending_age_seconds');
  await eventually(age, (seconds) => seconds > 1);
  const back = new Bus();
  await back.listen(port);
  await settled();
  assert.deepEqual(ids(back.accepted).sort(), ids(events).sort());
  await eventually(age, (seconds) => seconds === 0);
  away.destroy();
  await back.close();
});

test('a relay without a schema waits for it', async () => {
  const postgres = server.pool({ database: 'postgres', max: 1 });
  await postgres.query('CREATE DATABASE bare');
  const bare = server.pool({ database: 'bare' });
  const relay = start({ pool: bare });
  await bare.query('SELECT 1');
  assert.notEqual(relay.ready(), true);
  await createSchemas(bare, ['messaging']);
  await eventually(() => relay.leads(), Boolean);
  await relay.stop();
});

test('several relays share the shards fairly, an order stays in one, and a relay that goes leaves its shards to the others', async () => {
  await db.admin.query('SELECT messaging.set_relay_shards(4)');
  // Two processes have a pool each.
  const first = start();
  await eventually(() => first.shards().length, (n) => n === 4);
  const second = start();
  await eventually(() => [first.shards().length, second.shards().length].join(), (shares) => shares === '2,2');
  const orders = Array.from({ length: 60 }, () => newId());
  const events = [1, 2, 3].flatMap((sequence) => orders.map((orderId) => event(orderId, sequence)));
  const random = randomFrom(5);
  bus.answer = () => (random() < 0.2 ? { ErrorCode: 'ThrottlingException' } : { EventId: newId() });
  for (let at = 0; at < events.length; at += 20) await withTransaction(db.admin, (tx) => appendToOutbox(tx, events.slice(at, at + 20)));
  await settled();
  assert.deepEqual(ids(bus.accepted).sort(), ids(events).sort());
  for (const orderId of orders) {
    assert.deepEqual(bus.accepted.filter(({ subject }) => subject === orderId).map(({ sequence }) => sequence), ['1', '2', '3']);
  }
  assert.equal(bus.overlaps, 0);
  await first.stop();
  await eventually(() => second.shards().length, (n) => n === 4);
  const last = orders.map((orderId) => event(orderId, 4));
  await withTransaction(db.admin, (tx) => appendToOutbox(tx, last));
  await settled();
  assert.deepEqual(ids(bus.accepted.slice(events.length)).sort(), ids(last).sort());
});

test('the number of shards can change while events flow: nothing is lost, and order within an aggregate stays', async () => {
  start();
  start();
  const orders = Array.from({ length: 20 }, () => newId());
  const sent: EventEnvelope[] = [];
  for (const [round, shards] of [3, 1, 5, 2].entries()) {
    const events = orders.map((orderId) => event(orderId, round + 1));
    sent.push(...events);
    await withTransaction(db.admin, (tx) => appendToOutbox(tx, events));
    await db.admin.query('SELECT messaging.set_relay_shards($1)', [shards]);
  }
  await settled();
  await eventually(() => new Set(ids(bus.accepted)).size, (n) => n === sent.length);
  for (const orderId of orders) {
    // What had been published and not yet written down may come again; a first time never comes before an earlier event.
    const firsts = [...new Set(bus.accepted.filter(({ subject }) => subject === orderId).map(({ sequence }) => sequence))];
    assert.deepEqual(firsts, ['1', '2', '3', '4']);
  }
  await assert.rejects(db.admin.query('SELECT messaging.set_relay_shards(0)'), /1 to 32 shards, not 0/);
});

test('one event that keeps failing does not stop the others, also when they are more than a window', async () => {
  const bad = event(newId(), 1);
  const others = Array.from({ length: 150 }, () => event(newId(), 1));
  bus.answer = (detail) => (detail.id === bad.id ? { ErrorCode: 'InternalFailure', ErrorMessage: 'always' } : { EventId: newId() });
  await withTransaction(db.admin, (tx) => appendToOutbox(tx, [bad, ...others]));
  start({ windowSize: 20, pageSize: 10 });
  await eventually(() => bus.accepted.length, (n) => n === others.length);
});

test('events that wait for an older transaction are published however long that takes', async () => {
  start();
  const long = await begin(db.admin);
  await long.query('SELECT pg_current_xact_id()');
  const meanwhile = Array.from({ length: 20 }, () => event(newId(), 1));
  await withTransaction(db.admin, (tx) => appendToOutbox(tx, meanwhile));
  const late = event(newId(), 1);
  // As if the commit came two hours later.
  await appendToOutbox(long, [late]);
  await long.query('UPDATE messaging.outbox SET created_at = created_at + interval \'2 hours\' WHERE event_id = $1', [late.id]);
  await commit(long);
  await settled();
  assert.deepEqual(ids(bus.accepted).sort(), ids([...meanwhile, late]).sort());
});

test('where reads begin follows what is published', async () => {
  start();
  const since = () => db.admin.query<{ since: string }>('SELECT since::text FROM messaging.relay_cursor').then(({ rows }) => rows[0]!.since);
  const moved = async (from: string) => eventually(async () => {
    await withTransaction(db.admin, (tx) => appendToOutbox(tx, [event(newId(), 1)]));
    return since();
  }, (now) => now !== from && now !== '-infinity');
  await moved(await moved('-infinity'));
});

test('a relay in a restored database says what to do, and then publishes what was not published', async () => {
  const relay = start();
  const before = [event(newId(), 1), event(newId(), 1)];
  await withTransaction(db.admin, (tx) => appendToOutbox(tx, before));
  await settled();
  await relay.stop();
  // A cluster whose transaction ids have not come that far.
  await db.admin.query('UPDATE messaging.outbox SET xid = (xid::text::bigint + 1000000)::text::xid8');
  await db.admin.query('UPDATE messaging.relay_cursor SET xid = (xid::text::bigint + 1000000)::text::xid8');
  const unpublished = [event(newId(), 1), event(newId(), 1)];
  await withTransaction(db.admin, (tx) => appendToOutbox(tx, unpublished));
  await db.admin.query('UPDATE messaging.outbox SET xid = (xid::text::bigint + 2000000)::text::xid8 WHERE event_id = ANY ($1)', [ids(unpublished)]);
  // The services don't wait for the relay.
  const since = [event(newId(), 1), event(newId(), 1)];
  await withTransaction(db.admin, (tx) => appendToOutbox(tx, since));
  const lines: string[] = [];
  const restored = start({ logger: createLogger({ service: 'test', level: 'warn' }, { write: (line: string) => void lines.push(line) }) });
  await eventually(() => lines.join(''), (log) => log.includes('SELECT messaging.adopt_outbox()'));
  assert.notEqual(restored.ready(), true);
  // The cluster's ids come as far as the cursor: that doesn't make it right.
  await db.admin.query('UPDATE messaging.relay_cursor SET xid = (xid::text::bigint - 1000000)::text::xid8');
  await eventually(() => db.admin.query<{ halted: boolean }>('SELECT halted FROM messaging.relay_cursor'), ({ rows }) => rows[0]!.halted);
  await restored.stop();
  const patient = start();
  await eventually(() => lines.join(''), (log) => log.includes('adopt_outbox'));
  assert.notEqual(patient.ready(), true);
  await db.admin.query('UPDATE messaging.relay_cursor SET xid = (xid::text::bigint + 1000000)::text::xid8');
  await db.admin.query('SELECT messaging.adopt_outbox()');
  // A relay that had found the cursor ahead before this comes too late.
  await db.admin.query({ ...HALT, values: [1] });
  await eventually(() => patient.ready(), (ready) => ready === true);
  await settled();
  assert.deepEqual(ids(bus.accepted).sort(), ids([...before, ...unpublished, ...since]).sort());
  assert.equal(lines.length, 1);
});

test('a transaction that is open for long shows in the age of the oldest event and by its name, in whatever database', async () => {
  const lines: string[] = [];
  start({ logger: createLogger({ service: 'test', level: 'warn' }, { write: (line: string) => void lines.push(line) }), heldBackWarningSeconds: 1 });
  const other = await begin(server.pool({ database: 'postgres', max: 1 }));
  await other.query('SET application_name = \'somebody\'');
  await other.query('SELECT pg_current_xact_id()');
  const waiting = event(newId(), 1);
  await withTransaction(db.admin, (tx) => appendToOutbox(tx, [waiting]));
  await eventually(() => gauge('outbox_oldest_pending_age_seconds'), (seconds) => seconds > 1);
  await eventually(() => gauge('outbox_held_back_seconds'), (seconds) => seconds > 1);
  assert.equal(bus.accepted.length, 0);
  await eventually(() => lines.join(''), (log) => log.includes('"applicationName":"somebody","database":"postgres"'));
  await commit(other);
  await settled();
  assert.deepEqual(ids(bus.accepted), [waiting.id]);
  await eventually(() => gauge('outbox_held_back_seconds'), (seconds) => seconds === 0);
});

/** The relay's sessions get a clock that is wrong. */
async function startClock(by: string): Promise<(by: string) => Promise<unknown>> {
  await db.admin.query(`CREATE SCHEMA clock;
    CREATE TABLE clock.error (by interval);
    INSERT INTO clock.error VALUES ('${by}');
    CREATE FUNCTION clock.now() RETURNS timestamptz LANGUAGE sql STABLE AS 'SELECT pg_catalog.now() + by FROM clock.error';
    GRANT USAGE ON SCHEMA clock TO PUBLIC;
    GRANT SELECT ON clock.error TO PUBLIC;
    ALTER DATABASE ${db.name} SET search_path = clock, pg_catalog`);
  return (other) => db.admin.query('UPDATE clock.error SET by = $1::interval', [other]);
}

test('a clock that was hours ahead and is corrected loses nothing, and what waits meanwhile shows', async () => {
  const setClock = await startClock('2 hours');
  const append = (some: readonly EventEnvelope[], by: string) => withTransaction(db.admin, async (tx) => {
    await appendToOutbox(tx, some);
    await tx.query(`UPDATE messaging.outbox SET created_at = created_at + interval '${by}' WHERE event_id = ANY ($1)`, [ids(some)]);
  });
  await db.admin.query(`GRANT UPDATE ON messaging.outbox TO "${db.name}_command"`);
  start();
  const ahead: EventEnvelope[] = [];
  // Until the relay counts on the wrong time.
  await eventually(async () => {
    const one = event(newId(), 1);
    ahead.push(one);
    await append([one], '2 hours');
    const { rows: [cursor] } = await db.admin.query<{ wrong: boolean }>('SELECT since > pg_catalog.now() + interval \'1 hour\' AS wrong FROM messaging.relay_cursor');
    return cursor!.wrong;
  }, Boolean);
  await settled();
  bus.answer = () => ({ ErrorCode: 'ThrottlingException' });
  await setClock('0');
  const corrected = [event(newId(), 1), event(newId(), 1)];
  await append(corrected, '0');
  await eventually(() => gauge('outbox_oldest_pending_age_seconds'), (seconds) => seconds > 0);
  bus.answer = () => ({ EventId: newId() });
  await settled();
  assert.deepEqual(ids(bus.accepted).sort(), ids([...ahead, ...corrected]).sort());
  await eventually(async () => {
    await append([event(newId(), 1)], '0');
    return db.admin.query<{ right: boolean }>('SELECT since <= pg_catalog.now() AS right FROM messaging.relay_cursor');
  }, ({ rows }) => rows[0]!.right);

  // Hours behind, for a while in which nothing can be published.
  const long = await begin(db.admin);
  await long.query('SELECT pg_current_xact_id()');
  await setClock('-3 hours');
  const behind = event(newId(), 1);
  await append([behind], '-3 hours');
  await eventually(() => gauge('outbox_oldest_pending_age_seconds'), (seconds) => seconds > 2 * 3_600);
  await setClock('0');
  await commit(long);
  await eventually(() => ids(bus.accepted), (published) => published.includes(behind.id));
});

test('a clock that was ahead while nothing could be published is not believed later', async () => {
  const setClock = await startClock('3 hours');
  const long = await begin(db.admin);
  await long.query('SELECT pg_current_xact_id()');
  start({ pageSize: 1, windowSize: 1 });
  const events: EventEnvelope[] = [];
  const append = async () => {
    const one = event(newId(), 1);
    events.push(one);
    await appendToOutbox(db.admin, [one]);
  };
  // Each age is measured after the time was observed.
  const observed = async () => {
    const before = await gauge('outbox_oldest_pending_age_seconds');
    await eventually(() => gauge('outbox_oldest_pending_age_seconds'), (age) => age > before);
  };
  await append();
  await observed();
  await append();
  await setClock('0');
  await observed();
  await observed();
  await append();
  await append();
  // Time goes on, until what was observed is of the past.
  await setClock('4 hours');
  await commit(long);
  await eventually(() => bus.accepted.length, (n) => n >= events.length);
  assert.deepEqual(ids(bus.accepted), ids(events));
});

test('a step of the host\'s clock changes nothing, and a stop needs no patience', async (t) => {
  const relay = start({ bundleBytes: 4_096 });
  const publishOne = async () => {
    const one = event(newId(), 1);
    await appendToOutbox(db.admin, [one]);
    await eventually(() => ids(bus.accepted), (published) => published.includes(one.id));
  };
  await publishOne();
  const now = Date.now;
  t.mock.method(Date, 'now', () => now() - 3_600_000);
  await publishOne();
  await publishOne();
  await relay.stop();
});

test('a relay that stands by reports that it does not lead', async () => {
  registry.resetMetrics();
  const leader = await begin(db.admin);
  await leader.query('SELECT pg_advisory_xact_lock($1, 0)', [LOCK]);
  const relay = start();
  await eventually(() => relay.ready(), (ready) => ready === true);
  const { values } = await registry.getSingleMetric('outbox_relay_leader')!.get();
  assert.deepEqual(values.map(({ value, labels }) => [value, labels.shard]), [[0, 0]]);
});

test('a gauge that cannot be measured does not end the leadership', async () => {
  await db.admin.query('REVOKE EXECUTE ON FUNCTION messaging.oldest_snapshot FROM PUBLIC, CURRENT_USER; REVOKE EXECUTE ON FUNCTION messaging.oldest_snapshot FROM '
    + `"${db.name}:outbox-relay"`);
  const lines: string[] = [];
  start({ logger: createLogger({ service: 'test', level: 'info' }, { write: (line: string) => void lines.push(line) }) });
  await eventually(() => lines.join(''), (log) => log.includes('a gauge could not be measured'));
  await appendToOutbox(db.admin, [event(newId(), 1)]);
  await settled();
  await eventually(() => gauge('outbox_oldest_pending_age_seconds'), (age) => age === 0);
  assert.equal(lines.filter((line) => line.includes('"leading"')).length, 1);
});

test('the age of a shard that nobody leads shows', async () => {
  await db.admin.query('SELECT messaging.set_relay_shards(2)');
  const leader = await begin(db.admin);
  await leader.query('SELECT pg_advisory_xact_lock($1, 1)', [LOCK]);
  start();
  const events = Array.from({ length: 20 }, () => event(newId(), 1));
  await withTransaction(db.admin, (tx) => appendToOutbox(tx, events));
  await eventually(() => gauge('outbox_oldest_pending_of_all_age_seconds'), (age) => age > 1);
  assert.equal(await gauge('outbox_oldest_pending_age_seconds'), 0);
  await commit(leader);
  await settled();
  await eventually(() => gauge('outbox_oldest_pending_of_all_age_seconds'), (age) => age === 0);
});

test('another number of shards does not end a halt', async () => {
  await db.admin.query('UPDATE messaging.relay_cursor SET halted = true');
  await db.admin.query('SELECT messaging.set_relay_shards(2)');
  assert.deepEqual((await db.admin.query('SELECT DISTINCT halted FROM messaging.relay_cursor')).rows, [{ halted: true }]);
  await db.admin.query('SELECT messaging.set_relay_shards(1)');
  assert.deepEqual((await db.admin.query('SELECT halted FROM messaging.relay_cursor')).rows, [{ halted: true }]);
});

test('restored rows halt a relay whose cursor is at its beginning, or that leads already', async () => {
  const foreign = [event(newId(), 1), event(newId(), 1)];
  const restore = () => db.admin.query('UPDATE messaging.outbox SET xid = (xid::text::bigint + 1000000)::text::xid8 WHERE event_id = ANY ($1)', [ids(foreign)]);
  const relay = start();
  await eventually(() => relay.leads(), Boolean);
  assert.equal(await gauge('outbox_relay_halted'), 0);
  const long = await begin(db.admin);
  await appendToOutbox(long, foreign);
  await long.query('UPDATE messaging.outbox SET xid = (xid::text::bigint + 1000000)::text::xid8');
  await commit(long);
  await eventually(() => gauge('outbox_relay_halted'), (value) => value === 1);
  await eventually(() => relay.leads(), (leads) => !leads);
  await relay.stop();
  await db.admin.query('UPDATE messaging.relay_cursor SET halted = false');
  const second = start();
  await eventually(() => db.admin.query<{ halted: boolean }>('SELECT halted FROM messaging.relay_cursor'), ({ rows }) => rows[0]!.halted);
  assert.equal(bus.accepted.length, 0);
  await restore();
  await db.admin.query('SELECT messaging.adopt_outbox()');
  await eventually(() => second.ready(), (ready) => ready === true);
  await settled();
  assert.equal(await gauge('outbox_relay_halted'), 0);
  assert.deepEqual(ids(bus.accepted).sort(), ids(foreign).sort());
});

test('open snapshots, parked and dead events show, and the relay is none of them', async () => {
  const bad = event(newId(), 1);
  const parked = event(newId(), 2);
  bus.answer = ({ id }) => (id === bad.id ? { ErrorCode: 'MalformedDetail' } : { EventId: newId() });
  const relay = start();
  await eventually(() => relay.leads(), Boolean);
  await withTransaction(db.admin, (tx) => appendToOutbox(tx, [bad]));
  await db.admin.query('SELECT messaging.park($1, $2, $3, $4, $5, $6)', ['test', [parked.id], [parked.subject], [2], JSON.stringify(parked), ['early']]);
  await eventually(() => gauge('outbox_dead_events'), (n) => n === 1);
  await eventually(() => gauge('outbox_parked_oldest_age_seconds'), (seconds) => seconds > 1);
  // A reader that writes nothing holds up no event.
  const reader = await begin(server.pool({ database: 'postgres', max: 1 }), 'ISOLATION LEVEL REPEATABLE READ');
  await reader.query('SELECT count(*) FROM pg_class');
  await eventually(() => gauge('oldest_snapshot_age_seconds'), (seconds) => seconds > 1);
  assert.equal(await gauge('outbox_held_back_seconds'), 0);
  await commit(reader);
  await eventually(() => gauge('oldest_snapshot_age_seconds'), (seconds) => seconds < 1);
  await db.admin.query('SELECT messaging.unpark($1, $2)', ['test', [parked.id]]);
  await eventually(() => gauge('outbox_parked_oldest_age_seconds'), (seconds) => seconds === 0);
  await relay.stop();
  assert.equal(await gauge('outbox_dead_events'), 0, 'another may lead');
});
