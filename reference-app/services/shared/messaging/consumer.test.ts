import assert from 'node:assert/strict';
import { createSecretKey } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import {
  ChangeMessageVisibilityBatchCommand, CreateQueueCommand, DeleteMessageBatchCommand, DeleteQueueCommand, GetQueueAttributesCommand,
  OverLimit, ReceiveMessageCommand, SendMessageBatchCommand, SQSClient,
} from '@aws-sdk/client-sqs';
import { SecretsManager } from 'cdk-local-run/secretsmanager/endpoint';
import { SqsEndpoint } from 'cdk-local-run/sqs/endpoint';
import { withTransaction } from '../database.ts';
import { EventKeys } from '../event-keys.ts';
import { bundleHead, bundleOf, keyIdOf, newEvent, newId, SIGNATURE_BYTES, withSignature, type EventEnvelope, type SigningKey } from '../events/index.ts';
import { createLogger } from '../telemetry.ts';
import { createSchemas, eventually, silentLogger, startTestServer, type TestDatabase, type TestServer } from '../testing.ts';
import { runConsumer, type Consumer } from './consumer.ts';
import type { Handler } from './handler.ts';
import { handledBefore, handleIsolating } from './inbox.ts';
import { eventsConsumed, eventsRefused, messagesConsumed, overLimit } from './metrics.ts';
import type { ConsumerOptions } from './options.ts';

let server: TestServer;
let db: TestDatabase;
let endpoint: SqsEndpoint;
let folder: string;
let sqs: SQSClient;
let queues = 0;

before(async () => {
  server = await startTestServer();
  db = await server.database();
  await db.admin.query(`CREATE TABLE public.effect (event_id text, customer text, seen timestamptz DEFAULT now());
    GRANT INSERT, SELECT ON public.effect TO ${db.name}_command`);
  folder = await mkdtemp(join(tmpdir(), 'consumer-test-'));
  endpoint = await SqsEndpoint.start({ dataDir: folder, region: 'eu-central-1' });
  sqs = clientFor(endpoint.url);
});
after(async () => {
  sqs.destroy();
  await endpoint.stop();
  await rm(folder, { recursive: true });
  await server.stop();
});

function clientFor(address: string): SQSClient {
  return new SQSClient({ endpoint: address, region: 'eu-central-1', credentials: { accessKeyId: 'test', secretAccessKey: 'test' } });
}

/** The client, and somebody who hears of each call and its answer, and perhaps somebody who refuses some. */
function clientThat(hears: (command: unknown, answer: unknown) => void, refuses: (command: unknown) => void = () => {}): SQSClient {
  const sendHeard = async (...args: Parameters<typeof sqs.send>) => {
    refuses(args[0]);
    const answer = await sqs.send(...args) as unknown;
    hears(args[0], answer);
    return answer;
  };
  return Object.create(sqs, { send: { value: sendHeard } }) as SQSClient;
}

async function createQueue({ maxReceiveCount, visibility = 30 }: { maxReceiveCount?: number; visibility?: number } = {}) {
  const make = async (name: string, Attributes: Record<string, string>) => {
    await sqs.send(new CreateQueueCommand({ QueueName: name, Attributes }));
    return endpoint.queueUrl(name, '000000000000');
  };
  const name = `q${++queues}`;
  const deadLetterUrl = await make(`${name}-dlq`, {});
  const { Attributes } = await sqs.send(new GetQueueAttributesCommand({ QueueUrl: deadLetterUrl, AttributeNames: ['QueueArn'] }));
  const url = await make(name, {
    VisibilityTimeout: String(visibility),
    ...(maxReceiveCount ? { RedrivePolicy: JSON.stringify({ deadLetterTargetArn: Attributes!.QueueArn, maxReceiveCount }) } : {}),
  });
  return { url, deadLetterUrl };
}

async function send(url: string, bodies: readonly unknown[]): Promise<void> {
  for (let at = 0; at < bodies.length; at += 10) {
    const { Failed } = await sqs.send(new SendMessageBatchCommand({
      QueueUrl: url,
      Entries: bodies.slice(at, at + 10).map((body, i) => ({ Id: String(i), MessageBody: typeof body === 'string' ? body : JSON.stringify(body) })),
    }));
    assert.equal(Failed?.length ?? 0, 0);
  }
}

async function depth(url: string): Promise<{ visible: number; inFlight: number }> {
  const { Attributes = {} } = await sqs.send(new GetQueueAttributesCommand({ QueueUrl: url, AttributeNames: ['All'] }));
  return { visible: Number(Attributes.ApproximateNumberOfMessages), inFlight: Number(Attributes.ApproximateNumberOfMessagesNotVisible) };
}

async function receiveAll(url: string): Promise<string[]> {
  const bodies: string[] = [];
  for (;;) {
    const { Messages = [] } = await sqs.send(new ReceiveMessageCommand({ QueueUrl: url, MaxNumberOfMessages: 10 }));
    if (Messages.length === 0) return bodies;
    bodies.push(...Messages.map(({ Body }) => Body!));
  }
}

function created(customerId = 'c'): EventEnvelope<'order.created'> {
  const orderId = newId();
  return newEvent({
    type: 'order.created',
    source: '/order-service',
    subject: orderId,
    sequence: 1,
    cause: { id: newId() },
    data: { orderId, customerId, items: [{ sku: 'A', quantity: 1 }], createdAt: new Date().toISOString() },
  });
}

const inBus = (detail: EventEnvelope) => ({ 'version': '0', 'id': newId(), 'detail-type': 'OrderCreated', 'source': 'com.example.orders', detail });

/** Writes a row per event, and fails in the database for the customers "poison". */
function handlerFor(name: string, extra: (events: readonly EventEnvelope[]) => Promise<void> = async () => {}): Handler<'order.created'> {
  return {
    name,
    types: ['order.created'],
    async handle(events, pool) {
      const known = await handledBefore(name, events, pool);
      const fresh = events.filter(({ id }) => !known.has(id));
      await withTransaction(pool, async (tx) => {
        await tx.query(
          `INSERT INTO public.effect (event_id, customer)
           SELECT id, CASE WHEN customer = 'poison' THEN (1 / length(replace(customer, 'poison', '')))::text ELSE customer END
           FROM unnest($1::text[], $2::text[]) AS e (id, customer)`,
          [fresh.map(({ id }) => id), fresh.map(({ data }) => data.customerId)],
        );
        await extra(fresh);
        await tx.query('SELECT messaging.remember($1, $2::uuid[])', [name, fresh.map(({ id }) => id)]);
      });
      return events.map(({ id }) => ({ eventId: id, result: known.has(id) ? 'duplicate' : 'ok' }));
    },
  };
}

async function effects(events: readonly EventEnvelope[]): Promise<number[]> {
  const { rows } = await db.admin.query<{ n: number }>(
    'SELECT count(f.event_id)::int AS n FROM unnest($1::text[]) WITH ORDINALITY e (id, o) LEFT JOIN public.effect f ON f.event_id = e.id GROUP BY o ORDER BY o',
    [events.map(({ id }) => id)],
  );
  return rows.map(({ n }) => n);
}

const allOnce = (counts: number[]) => counts.every((n) => n === 1);

type TestOptions = Partial<ConsumerOptions<'order.created'>> & { handler: Handler<'order.created'>; queueUrl: string };

async function consuming(options: TestOptions, work: (consumer: Consumer) => Promise<void>) {
  const consumer = runConsumer({ pool: db.command, sqs, logger: silentLogger(), waitTimeSeconds: 1, ...options });
  try {
    await work(consumer);
  } finally {
    await consumer.stop();
  }
}

test('poison events end in the dead-letter queue after maxReceiveCount tries, and their neighbours take effect once', async () => {
  const { url, deadLetterUrl } = await createQueue({ maxReceiveCount: 3 });
  const good = Array.from({ length: 40 }, () => created());
  const poison = created('poison');
  const wrongField = { ...inBus(created()), detail: { ...created(), data: { orderId: 'no uuid' } } };
  const poisonBody = inBus(poison);
  await send(url, [...good.slice(0, 20).map(inBus), poisonBody, '{ not json', wrongField, ...good.slice(20).map(inBus)]);
  const tries = new Map<string, number>();
  const handler = handlerFor('poison-test');
  const counting: Handler<'order.created'> = {
    ...handler,
    handle: (events, pool) => {
      if (events.length === 1) tries.set(events[0]!.id, (tries.get(events[0]!.id) ?? 0) + 1);
      return handler.handle(events, pool);
    },
  };
  await consuming({ handler: counting, queueUrl: url }, async () => {
    await eventually(() => effects(good), allOnce, 10_000);
    await eventually(() => depth(deadLetterUrl), ({ visible }) => visible === 3);
    assert.deepEqual(await depth(url), { visible: 0, inFlight: 0 });
  });
  assert.equal(tries.get(poison.id), 3);
  assert.ok(allOnce(await effects(good)));
  assert.deepEqual(await effects([poison]), [0]);
  const { rows: noted } = await db.admin.query('SELECT consumer, event_id, order_id, type, error FROM messaging.dead_letter');
  const expected = { consumer: 'poison-test', event_id: poison.id, order_id: poison.subject, type: 'order.created', error: 'division by zero' };
  assert.deepEqual(noted, [expected], 'for the timeline of the order');
  assert.deepEqual((await receiveAll(deadLetterUrl)).sort(), [poisonBody, '{ not json', wrongField].map((body) => (typeof body === 'string' ? body : JSON.stringify(body))).sort());
});

test('a message with several events is gone when all are done; else it comes again, and ends as a dead letter of those that failed', async () => {
  const { url, deadLetterUrl } = await createQueue({ maxReceiveCount: 3 });
  const bundle = (events: readonly unknown[]) => ({ ...inBus(created()), detail: { specversion: '1.0', type: 'order.created', data: {}, events } });
  const good = Array.from({ length: 30 }, () => created());
  const poison = created('poison');
  const healthy = [bundle(good.slice(0, 10)), bundle(good.slice(5, 15)).detail, inBus(good[0]!)];
  const sick = [bundle([...good.slice(15, 20), poison, ...good.slice(20, 25)]), bundle([good[25], { ...created(), id: 'no uuid' }, ...good.slice(26)])];
  await send(url, [...healthy, ...sick]);
  await consuming({ handler: handlerFor('bundle-test'), queueUrl: url, batchSize: 20 }, async () => {
    await eventually(() => effects(good), allOnce);
    await eventually(() => depth(deadLetterUrl), ({ visible }) => visible === 2, 10_000);
    await eventually(() => depth(url), ({ visible, inFlight }) => visible + inFlight === 0);
  });
  assert.ok(allOnce(await effects(good)));
  const { rows: noted } = await db.admin.query('SELECT event_id FROM messaging.dead_letter WHERE consumer = \'bundle-test\'');
  assert.deepEqual(noted, [{ event_id: poison.id }], 'its neighbours are no dead letters');
  assert.deepEqual((await receiveAll(deadLetterUrl)).sort(), sick.map((body) => JSON.stringify(body)).sort(), 'the whole messages, so that they can be redriven');
  const results = (await messagesConsumed.get()).values.filter(({ labels }) => labels.consumer === 'bundle-test');
  assert.deepEqual(Object.fromEntries(results.map(({ labels, value }) => [labels.result, value])), { deleted: 3, returned: 4, dead: 2 });
});

/** A secret whose versions are those of the real service; `there` is whether it can be read. */
async function signing(there = true) {
  const secrets = new SecretsManager();
  const { url } = await secrets.start();
  const put = () => secrets.put({ name: 'signing', secretString: `${newId()} ${newId()}` });
  const first = put();
  const state = { there };
  const client = new SecretsManagerClient({ endpoint: url, region: 'eu-central-1', credentials: { accessKeyId: 'test', secretAccessKey: 'test' } });
  const guarded = Object.create(client, {
    send: { value: (...args: Parameters<typeof client.send>) => (state.there ? client.send(...args) : Promise.reject(new Error('not there'))) },
  }) as SecretsManagerClient;
  const keys = new EventKeys(first.ARN, { logger: silentLogger(), secrets: guarded, pauseMs: 50 });
  const keyOf = (version: string, secret: string): SigningKey => ({ id: keyIdOf(version), secret: createSecretKey(Buffer.from(secret)) });
  return {
    keys,
    state,
    keyOf,
    /** The key of the version that is current from now on. */
    rotate: () => {
      const secretString = `${newId()} ${newId()}`;
      return keyOf(secrets.put({ name: 'signing', secretString }).VersionId, secretString);
    },
    stop: () => keys.stop().then(() => secrets.stop()),
  };
}

const signed = (event: object, key: SigningKey) => withSignature(JSON.stringify(event), JSON.stringify(event), key);
const refusals = async (consumer: string) => Object.fromEntries((await eventsRefused.get()).values
  .filter(({ labels }) => labels.consumer === consumer).map(({ labels, value }) => [labels.cause, value]));

test('what the relay has not signed is a dead letter that says why, and says nothing of the event that it names; others take effect', async (t) => {
  const { keys, keyOf, rotate, stop } = await signing();
  t.after(stop);
  const { url, deadLetterUrl } = await createQueue({ maxReceiveCount: 2 });
  const [before, now] = [rotate(), rotate()];
  const good = [created(), created(), created()];
  const [real, victim] = [created(), created()];
  const wrong = [
    JSON.stringify(inBus({ ...created('Eve\u202e'), id: real.id, subject: victim.subject })),
    signed(created(), keyOf(now.id, 'a key of somebody else, with the same id')), signed(created(), keyOf('abcdefgh', 'a key that nobody knows, of 32 bytes')),
  ];
  // The parking of the event after a dead letter, the timeline, and the sweep look at dead letters.
  await send(url, [signed(good[0]!, now), ...wrong, signed(good[1]!, before), `{"detail-type":"OrderCreated","detail":${signed(good[2]!, now)}}`]);
  await consuming({ handler: handlerFor('signature-test'), queueUrl: url, keys }, async () => {
    await eventually(() => effects(good), allOnce);
    await eventually(() => depth(deadLetterUrl), ({ visible }) => visible === wrong.length, 10_000);
  });
  assert.deepEqual((await receiveAll(deadLetterUrl)).sort(), [...wrong].sort());
  assert.deepEqual(await refusals('signature-test'), { 'unsigned': 1, 'wrong-signature': 1, 'unknown-key': 1 });
  assert.deepEqual((await db.admin.query('SELECT FROM messaging.dead_letter WHERE consumer = \'signature-test\'')).rows, [], 'nothing of the event and the order that it names');
  const { rows } = await db.admin.query<{ cause: string; error: string; claims: string }>(
    'SELECT cause, error, claims FROM messaging.refused WHERE consumer = \'signature-test\' ORDER BY cause');
  assert.deepEqual(rows.map(({ cause }) => cause), ['unknown-key', 'unsigned', 'wrong-signature']);
  assert.match(rows[0]!.error, /begins with abcdefgh/);
  assert.deepEqual(JSON.parse(rows[1]!.claims), { type: 'order.created', id: real.id, subject: victim.subject, source: '/order-service', events: 1 });
});

test('a bundle is refused as a whole, and a new key is found by the message that it has signed', async (t) => {
  const { keys, rotate, stop } = await signing();
  t.after(stop);
  const { url, deadLetterUrl } = await createQueue({ maxReceiveCount: 2 });
  const texts = (events: readonly object[]) => events.map((event) => JSON.stringify(event));
  const bundle = (events: readonly object[], key: SigningKey, of = events) =>
    withSignature(bundleOf(bundleHead(JSON.stringify(events[0]))!, texts(events)), texts(of).join(','), key);
  const good = Array.from({ length: 6 }, () => created());
  const [stolen, forged] = [created(), created()];
  await consuming({ handler: handlerFor('signed-bundle-test'), queueUrl: url, keys }, async (consumer) => {
    await eventually(() => consumer.ready(), (ready) => ready === true);
    const key = rotate();
    const wrong = bundle([stolen, forged], key, [stolen]);
    // The genuine events and signature of a bundle, rearranged: nobody else may suffer from it.
    const rearranged = `${texts([stolen, forged]).join().slice(0, -1)}${bundle([stolen, forged], key).slice(-SIGNATURE_BYTES - 1)}`;
    await send(url, [rearranged, bundle(good.slice(0, 3), key), wrong, signed(good[3]!, key), bundle(good.slice(4), key)]);
    await eventually(() => effects(good), allOnce, 10_000);
    await eventually(() => depth(deadLetterUrl), ({ visible }) => visible === 2, 10_000);
  });
  assert.deepEqual(await effects([stolen, forged]), [0, 0]);
  assert.deepEqual(await refusals('signed-bundle-test'), { 'wrong-signature': 1 });
});

test('while the signing secret can\'t be read no message is taken, and none of a key that is new is refused', async (t) => {
  const { keys, state, rotate, stop } = await signing(false);
  t.after(stop);
  const { url, deadLetterUrl } = await createQueue({ maxReceiveCount: 1 });
  const key = rotate();
  const [first, second, third] = [created(), created(), created()];
  await send(url, [signed(first, key)]);
  await consuming({ handler: handlerFor('no-secret-test'), queueUrl: url, keys }, async (consumer) => {
    await eventually(() => consumer.ready(), (ready) => ready === 'The signing secret of the events cannot be read.');
    assert.deepEqual(await depth(url), { visible: 1, inFlight: 0 });
    state.there = true;
    await eventually(() => effects([first]), allOnce);
    state.there = false;
    await send(url, [signed(second, rotate()), signed(third, key)]);
    await eventually(() => effects([third]), allOnce);
    const until = Date.now() + 500;
    await eventually(() => Date.now(), (now) => now > until);
    assert.deepEqual([(await depth(deadLetterUrl)).visible, ...await effects([second])], [0, 0]);
    state.there = true;
    await eventually(() => effects([second]), allOnce);
  });
});

test('keys that nobody knows hold up nobody, however many messages name them, and whether or not the secret can be read', async (t) => {
  const { keys, state, rotate, keyOf, stop } = await signing();
  t.after(stop);
  const { url } = await createQueue({ maxReceiveCount: 5 });
  const key = rotate();
  const foreign = keyOf('a-stranger', 'a key that nobody knows, of 32 bytes');
  const good = Array.from({ length: 10 }, () => created());
  await consuming({ handler: handlerFor('strange-test'), queueUrl: url, keys, batchSize: 20, firstBackOffSeconds: 60 }, async (consumer) => {
    await eventually(() => consumer.ready(), (ready) => ready === true);
    await keys.renewed(AbortSignal.timeout(5_000));
    state.there = false;
    await send(url, Array.from({ length: 160 }, () => signed(created(), foreign)));
    await send(url, good.map((event) => signed(event, key)));
    await eventually(() => effects(good), allOnce);
    // The others come again later, each time twice as late: the key may be known then.
    await eventually(() => depth(url), ({ inFlight }) => inFlight === 160);
    const returned = (await messagesConsumed.get()).values.find(({ labels }) => labels.consumer === 'strange-test' && labels.result === 'returned');
    assert.equal(returned?.value, 60);
  });
});

test('a failed message comes again later, with each failure twice as late', async () => {
  const { url } = await createQueue({ maxReceiveCount: 100 });
  const [once, often] = [created('poison'), created('poison')];
  const invisible: number[] = [];
  const recording = clientThat((command) => {
    if (!(command instanceof ChangeMessageVisibilityBatchCommand)) return;
    invisible.push(...command.input.Entries!.map(({ VisibilityTimeout }) => VisibilityTimeout!));
  });
  const failOnce = async (event: EventEnvelope, receives: number) => {
    await send(url, [inBus(event)]);
    for (let i = 1; i < receives; i++) {
      const { Messages } = await sqs.send(new ReceiveMessageCommand({ QueueUrl: url, VisibilityTimeout: 0 }));
      assert.equal(Messages?.length, 1);
    }
    const before = invisible.length;
    await consuming({ handler: handlerFor('back-off-test'), queueUrl: url, sqs: recording, firstBackOffSeconds: 60, maxBackOffSeconds: 1_000 }, async () => {
      await eventually(async () => invisible.length, (length) => length > before);
    });
  };
  await failOnce(once, 1);
  assert.deepEqual(await depth(url), { visible: 0, inFlight: 1 });
  await failOnce(often, 4);
  await failOnce(created('poison'), 20);
  assert.deepEqual(await depth(url), { visible: 0, inFlight: 3 }, 'nobody gets them again at once');
  assert.deepEqual(invisible, [60, 480, 1_000]);
});

test('messages that come one by one in a rush cost far fewer calls than there are; the first one waits for nothing', async () => {
  const { url } = await createQueue();
  const calls = { receive: 0, delete: 0 };
  const counting = clientThat((command, answer) => {
    if (command instanceof ReceiveMessageCommand && (answer as { Messages?: unknown }).Messages) calls.receive++;
    if (command instanceof DeleteMessageBatchCommand) calls.delete++;
  });
  const common = { handler: handlerFor('calls-test'), queueUrl: url, sqs: counting, waitTimeSeconds: 20 };
  await consuming({ ...common, lingerMs: 600_000 }, async (consumer) => {
    await eventually(() => consumer.ready(), (ready) => ready === true);
    const first = created();
    await send(url, [inBus(first)]);
    await eventually(() => effects([first]), allOnce);
    await eventually(() => depth(url), ({ inFlight }) => inFlight === 0);
    assert.deepEqual(calls, { receive: 1, delete: 1 });
  });
  const rush = async (lingerMs: number) => {
    Object.assign(calls, { receive: 0, delete: 0 });
    const started = Date.now();
    await consuming({ ...common, waitTimeSeconds: 1, receivers: 1, lingerMs }, async () => {
      const events = Array.from({ length: 60 }, () => created());
      for (const event of events) await send(url, [inBus(event)]);
      await eventually(() => effects(events), allOnce);
      await eventually(() => depth(url), ({ visible, inFlight }) => visible + inFlight === 0);
    });
    return Date.now() - started;
  };
  // Ten at once, or what has gathered for 200 ms.
  const patient = await rush(0);
  assert.ok(calls.delete <= 60 / 10 + patient / 200 + 1, JSON.stringify({ ...calls, patient }));
  // A receive that brings eight is followed by the next one at once.
  const gathering = await rush(250);
  assert.ok(calls.receive <= 60 / 8 + gathering / 250 + 1, JSON.stringify({ ...calls, gathering }));
});

test('an event that comes several times, at once and later, takes effect once', async () => {
  const { url } = await createQueue();
  const events = Array.from({ length: 15 }, () => created());
  // In capitals it is the same event, also within a batch.
  const capitals = events.map((event) => ({ ...event, id: event.id.toUpperCase() }));
  await send(url, [...events, ...capitals, ...events].map(inBus));
  await consuming({ handler: handlerFor('duplicate-test'), queueUrl: url }, async () => {
    await eventually(() => effects(events), allOnce);
    await send(url, events.map(inBus));
    // Bare events too: a rule may strip the envelope of the bus.
    await send(url, events);
    await eventually(() => depth(url), ({ visible, inFlight }) => visible + inFlight === 0);
  });
  assert.ok(allOnce(await effects(events)));
});

test('events of types that the handler does not want are taken off the queue and remembered', async () => {
  const { url, deadLetterUrl } = await createQueue({ maxReceiveCount: 1 });
  const { subject } = created();
  const unwanted = newEvent({
    type: 'order.confirmed',
    source: '/order-service',
    subject,
    sequence: 2,
    cause: { id: newId() },
    data: { orderId: subject, customerId: 'c', version: 2, confirmedAt: new Date().toISOString() },
  });
  const wanted = created();
  await send(url, [unwanted, unwanted, wanted]);
  await consuming({ handler: handlerFor('types-test'), queueUrl: url }, async () => {
    await eventually(() => depth(url), ({ visible, inFlight }) => visible + inFlight === 0);
  });
  assert.equal((await depth(deadLetterUrl)).visible, 0);
  assert.deepEqual(await effects([unwanted, wanted]), [0, 1]);
  const { rows } = await db.admin.query<{ event_id: string }>('SELECT event_id FROM messaging.inbox WHERE consumer = \'types-test\'');
  assert.deepEqual(rows.map(({ event_id }) => event_id).sort(), [unwanted.id, wanted.id].sort());
});

test('one poison event costs about log2 n transactions', async () => {
  const events = Array.from({ length: 256 }, (_, i) => created(i === 100 ? 'poison' : 'c'));
  let transactions = 0;
  const handler = handlerFor('bisection-test');
  const counting: Handler<'order.created'> = { ...handler, handle: (batch, pool) => (transactions++, handler.handle(batch, pool)) };
  const { outcomes, failures } = await handleIsolating(counting, events, db.command, () => false);
  assert.equal(outcomes.length, 255);
  assert.deepEqual(failures.map(({ event }) => event.id), [events[100]!.id]);
  assert.equal(transactions, 1 + 2 * 8);
  assert.deepEqual(await effects(events), events.map((_, i) => (i === 100 ? 0 : 1)));
});

test('what a handler gives back is not remembered as handled', async () => {
  const { url } = await createQueue();
  const events = [created(), created()];
  let rounds = 0;
  const handler = handlerFor('retry-test');
  const reluctant: Handler<'order.created'> = {
    ...handler,
    async handle(batch, pool) {
      const now = batch.filter(({ id }) => id !== events[0]!.id || ++rounds === 3);
      const outcomes = await handler.handle(now, pool);
      return [...outcomes, ...batch.filter((event) => !now.includes(event)).map(({ id }) => ({ eventId: id, result: 'retry' as const, reason: 'not yet' }))];
    },
  };
  await send(url, events.map(inBus));
  await consuming({ handler: reluctant, queueUrl: url, maxBackOffSeconds: 1 }, async () => {
    await eventually(() => effects(events), allOnce);
    await eventually(() => depth(url), ({ visible, inFlight }) => visible + inFlight === 0);
  });
  assert.equal(rounds, 3);
});

test('while the database is away nothing is lost or dead-lettered, and the consumer says that it is not ready', async () => {
  const own = await server.database();
  await own.admin.query(`CREATE TABLE public.effect (event_id text, customer text); GRANT INSERT ON public.effect TO ${own.name}_command`);
  const postgres = server.pool({ database: 'postgres', max: 1 });
  const { url, deadLetterUrl } = await createQueue({ maxReceiveCount: 2, visibility: 2 });
  const before = [created()];
  const during = Array.from({ length: 30 }, () => created());
  await consuming({ handler: handlerFor('outage-test'), queueUrl: url, pool: own.command }, async (consumer) => {
    await send(url, before.map(inBus));
    await eventually(() => own.admin.query('SELECT FROM public.effect'), ({ rowCount }) => rowCount === 1);
    assert.equal(consumer.ready(), true);
    await postgres.query(`ALTER DATABASE ${own.name} ALLOW_CONNECTIONS false`);
    const terminate = () => postgres.query('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1', [own.name]);
    await terminate();
    await send(url, during.map(inBus));
    // A connection that was just being opened is not among those that are ended first.
    await eventually(() => terminate().then(() => consumer.ready()), (ready) => ready !== true);
    // Longer than maxReceiveCount visibility timeouts: a consumer that lets go of its messages would lose them now.
    const until = Date.now() + 5_000;
    await eventually(() => Date.now(), (now) => now > until);
    assert.equal((await depth(deadLetterUrl)).visible, 0);
    await postgres.query(`ALTER DATABASE ${own.name} ALLOW_CONNECTIONS true`);
    const counted = await eventually(
      () => own.admin.query<{ n: number }>('SELECT count(DISTINCT event_id)::int AS n FROM public.effect').catch(() => ({ rows: [] })), ({ rows }) => rows[0]?.n === 31,
    );
    assert.equal(counted.rows[0]!.n, 31);
    await eventually(() => consumer.ready(), (ready) => ready === true);
    await eventually(() => depth(url), ({ visible, inFlight }) => visible + inFlight === 0);
  });
  assert.equal((await depth(deadLetterUrl)).visible, 0);
});

test('a queue that has too many messages in flight is reported, and is no reason to be unready', async () => {
  const { url } = await createQueue();
  const lines: { message: string; level: unknown }[] = [];
  const logger = createLogger({ service: 'test' }, { write: (line) => void lines.push(JSON.parse(line) as never) });
  let refused = 0;
  const full = clientThat(() => {}, (command) => {
    if (!(command instanceof ReceiveMessageCommand) || ++refused > 3) return;
    throw new OverLimit({ message: 'Too many messages in flight.', $metadata: {} });
  });
  const event = created();
  await send(url, [inBus(event)]);
  await consuming({ handler: handlerFor('over-limit-test'), queueUrl: url, sqs: full, logger }, async (consumer) => {
    await eventually(async () => refused, (count) => count >= 2);
    assert.equal(consumer.ready(), true);
    await eventually(() => effects([event]), allOnce);
  });
  assert.equal(lines.filter(({ message }) => /too many are in flight/.test(message)).length, 1, 'once, not with every call');
  assert.equal((await overLimit.get()).values.find(({ labels }) => labels.consumer === 'over-limit-test')?.value, 3);
});

test('a consumer that starts before the schema and the queue waits for both', async () => {
  const postgres = server.pool({ database: 'postgres', max: 1 });
  await postgres.query('CREATE DATABASE early');
  const early = server.pool({ database: 'early' });
  const { url } = await createQueue();
  await sqs.send(new DeleteQueueCommand({ QueueUrl: url }));
  const event = created();
  await consuming({ handler: handlerFor('early-test'), queueUrl: url, pool: early }, async (consumer) => {
    assert.notEqual(consumer.ready(), true);
    await sqs.send(new CreateQueueCommand({ QueueName: url.split('/').at(-1)! }));
    await send(url, [inBus(event)]);
    assert.notEqual(consumer.ready(), true);
    await early.query('CREATE TABLE public.effect (event_id text, customer text)');
    await createSchemas(early, ['messaging']);
    await eventually(() => early.query('SELECT FROM public.effect'), ({ rowCount }) => rowCount === 1);
    await eventually(() => consumer.ready(), (ready) => ready === true);
  });
});

test('a batch that takes longer than the visibility timeout stays ours', async () => {
  const { url } = await createQueue({ visibility: 1 });
  const events = Array.from({ length: 12 }, () => created());
  let deliveries = 0;
  const slow = handlerFor('slow-test', async (batch) => {
    deliveries += batch.length;
    const until = Date.now() + 3_000;
    await eventually(() => Date.now(), (now) => now > until);
  });
  await send(url, events.map(inBus));
  await consuming({ handler: slow, queueUrl: url }, async () => {
    await eventually(() => effects(events), allOnce);
    await eventually(() => depth(url), ({ visible, inFlight }) => visible + inFlight === 0);
  });
  assert.equal(deliveries, 12);
  const { values } = await eventsConsumed.get();
  assert.deepEqual(values.filter(({ labels }) => labels.consumer === 'slow-test').map(({ labels, value }) => [labels.result, value]), [['ok', 12]]);
});

test('a stop finishes the batch in work, gives the rest back at once and leaves nothing in flight', async () => {
  const { url } = await createQueue({ visibility: 600 });
  const events = Array.from({ length: 60 }, () => created());
  let finish = () => {};
  const gate = new Promise<void>((resolve) => {
    finish = resolve;
  });
  let entered = 0;
  const blocked = handlerFor('stop-test', async (batch) => {
    entered += batch.length;
    await gate;
  });
  await send(url, events.map(inBus));
  const consumer = runConsumer({
    handler: blocked, queueUrl: url, pool: db.command, sqs, logger: silentLogger(), waitTimeSeconds: 1, batchSize: 10, concurrency: 1,
  });
  await eventually(() => depth(url), ({ inFlight }) => inFlight >= 20);
  const stopped = consumer.stop();
  finish();
  await stopped;
  const { visible, inFlight } = await depth(url);
  assert.ok(entered <= 10, `${entered} events were in work`);
  assert.deepEqual({ visible, inFlight }, { visible: 60 - entered, inFlight: 0 });
  assert.equal((await effects(events)).filter((n) => n === 1).length, entered);
});

test('a stop while messages keep coming leaves none of them in flight', async () => {
  const { url } = await createQueue({ visibility: 600 });
  for (let round = 0; round < 4; round++) {
    const consumer = runConsumer({ handler: handlerFor(`rush-test-${round}`), queueUrl: url, pool: db.command, sqs, logger: silentLogger(), waitTimeSeconds: 20 });
    await eventually(() => consumer.ready(), (ready) => ready === true);
    let sending = true;
    const rush = (async () => {
      while (sending) await send(url, [inBus(created())]);
    })();
    await eventually(() => depth(url), () => true);
    await consumer.stop();
    sending = false;
    await rush;
    assert.equal((await depth(url)).inFlight, 0, `round ${round}`);
  }
});
