import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { createSecretKey } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { EventBridge } from 'cdk-local-run/eventbridge/event-bridge';
import { SecretsManager } from 'cdk-local-run/secretsmanager/endpoint';
import type { PublisherReport } from '../profiles/fan-out/publisher/publish.ts';
import { keyIdOf, parseEnvelope, parseMessage, type EventEnvelope } from '../services/shared/events/index.ts';

const SCRIPT = fileURLToPath(new URL('publisher.ts', import.meta.url));
const QUEUE = 'arn:aws:sqs:us-east-1:000000000000:orders';
const NO_ACCOUNT = { PATH: process.env.PATH, AWS_EC2_METADATA_DISABLED: 'true', HOME: '/nonexistent' };

function run(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [SCRIPT, ...args], { env: NO_ACCOUNT }, (error, out, err) => {
      resolve({ code: error ? Number(error.code) : 0, out, err });
    });
  });
}

/** The bus of a local run, with all that it delivers. */
async function localBus() {
  const bodies: string[] = [];
  const delivered: { source: string; detailType: string; event: EventEnvelope }[] = [];
  const bus = new EventBridge({
    deliver: async (_arn, body) => {
      bodies.push(body);
      const { source, 'detail-type': detailType } = JSON.parse(body) as { 'source': string; 'detail-type': string };
      delivered.push({ source, detailType, event: parseEnvelope(body) });
    },
  });
  bus.createBus('orders');
  bus.putRule({ Name: 'all', EventBusName: 'orders', EventPattern: JSON.stringify({ source: [{ prefix: '' }] }) });
  bus.putTargets('all', 'orders', [{ Id: 'queue', Arn: QUEUE }]);
  const { url } = await bus.start();
  return { url, bodies, delivered, stop: () => bus.stop() };
}

interface Entry { readonly EventBusName: string; readonly Source: string; readonly DetailType: string; readonly Detail: string }
interface Answer { readonly EventId?: string; readonly ErrorCode?: string; readonly ErrorMessage?: string }

/** EventBridge on a bad day: what it says of the entries of each call, or with which status it fails whole calls. */
async function badBus(answer: (entries: readonly Entry[], call: number) => Answer[] | { status: number; error: string }) {
  const calls: (readonly Entry[])[] = [];
  const server = createServer((request, response) => {
    let body = '';
    request.on('data', (text) => (body += text)).on('end', () => {
      const send = (status: number, json: object) => response.writeHead(status, { 'content-type': 'application/x-amz-json-1.1' }).end(JSON.stringify(json));
      if (request.headers['x-amz-target'] !== 'AWSEvents.PutEvents') return void send(200, { Name: 'orders' });
      const { Entries } = JSON.parse(body) as { Entries: Entry[] };
      const said = answer(Entries, calls.push(Entries) - 1);
      if (Array.isArray(said)) send(200, { FailedEntryCount: said.filter(({ ErrorCode }) => ErrorCode).length, Entries: said });
      else send(said.status, { __type: said.error, message: 'as the test wants it' });
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { calls, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, close: () => server.close() };
}

const ok = (entries: readonly Entry[]): Answer[] => entries.map((_, i) => ({ EventId: String(i) }));
const orderOf = ({ Detail }: Entry) => (JSON.parse(Detail) as EventEnvelope).subject;

test('signs with the key of a secret; without the secret nothing is published', async () => {
  const secrets = new SecretsManager();
  const secretString = 'a generated string of at least 32 characters';
  const { ARN, VersionId } = secrets.put({ name: 'signing', secretString });
  const bus = await localBus();
  const { url } = await secrets.start();
  const publish = (arn: string) => run('--bus', 'orders', '--endpoint', bus.url, '--pause', '0', '--signing-secret', arn, '--secrets-endpoint', url);
  const [signed, without] = [await publish(ARN), await publish(`${ARN}x`)];
  await Promise.all([bus.stop(), secrets.stop()]);
  assert.deepEqual([signed.code, signed.err], [0, '']);
  const keys = new Map([[keyIdOf(VersionId), [createSecretKey(Buffer.from(secretString))]]]);
  assert.deepEqual(bus.bodies.map((body) => parseMessage(body, keys)[0] instanceof Error), [false, false, false]);
  assert.equal(without.code, 1);
  assert.match(without.err, /^publisher: The signing secret .*x can't be read: Secrets Manager can't find/);
});

test('creates, updates and cancels every order, in this order, by events of our contracts', async () => {
  const bus = await localBus();
  const { code, out, err } = await run('--bus', 'orders', '--endpoint', bus.url, '--orders', '25', '--rate', '200', '--pause', '0.05', '--json');
  await bus.stop();
  assert.equal(code, 0, err);
  const { seconds, ...report } = JSON.parse(out) as PublisherReport;
  assert.ok(seconds > 0);
  const published = { OrderCreated: 25, OrderUpdated: 25, OrderCancelled: 25 };
  assert.deepEqual(report, { orders: 25, published, duplicates: 0, retries: 0, failed: [], interrupted: 0 });
  const histories = Map.groupBy(bus.delivered, ({ event }) => event.subject);
  assert.equal(histories.size, 25);
  for (const history of histories.values()) {
    assert.deepEqual(history.map(({ source, detailType, event }) => [source, detailType, event.sequence]), [
      ['com.example.orders', 'OrderCreated', '1'], ['com.example.orders', 'OrderUpdated', '2'], ['com.example.orders', 'OrderCancelled', '3'],
    ]);
    const [created, updated, cancelled] = history.map(({ event }) => event);
    assert.deepEqual([updated!.causationid, cancelled!.causationid], [created!.id, updated!.id]);
    assert.equal(new Set(history.map(({ event }) => event.traceparent!.split('-')[1])).size, 1);
    assert.ok(created!.type === 'order.created' && updated!.type === 'order.updated');
    const { old, new: items, changed } = updated!.data;
    assert.deepEqual(old, created!.data.items);
    assert.deepEqual(items.filter((item, i) => item.quantity !== old[i]!.quantity), [{ sku: changed[0]!.sku, quantity: changed[0]!.to }]);
  }
});

test('shows each event of a few orders, and can publish all of them twice', async () => {
  const bus = await localBus();
  const { code, out } = await run('--bus', 'orders', '--endpoint', bus.url, '--pause', '0', '--duplicates', '1', '--source', 'com.example.shop');
  await bus.stop();
  assert.equal(code, 0);
  const { subject } = bus.delivered[0]!.event;
  for (const [i, type] of ['OrderCreated', 'OrderUpdated', 'OrderCancelled'].entries()) assert.match(out, new RegExp(`${type} +order ${subject}, version ${i + 1}$`, 'm'));
  assert.match(out, /^published +1 OrderCreated, 1 OrderUpdated, 1 OrderCancelled in .*\ntwice +3 of them$/m);
  assert.equal(bus.delivered.length, 6);
  assert.equal(new Set(bus.delivered.map(({ event }) => event.id)).size, 3);
  assert.ok(bus.delivered.every(({ source }) => source === 'com.example.shop'));
});

test('of a call that takes some entries, the others are put again, and nothing overtakes them', async () => {
  const seen = new Map<string, number>();
  const bus = await badBus((entries) => entries.map(({ Detail }) => {
    const { id } = JSON.parse(Detail) as EventEnvelope;
    seen.set(id, (seen.get(id) ?? 0) + 1);
    // Every event is thrown back once.
    return seen.get(id) === 1 ? { ErrorCode: 'ThrottlingException', ErrorMessage: 'Rate exceeded' } : { EventId: id };
  }));
  const { code, out, err } = await run('--bus', 'orders', '--endpoint', bus.url, '--orders', '12', '--rate', '1000', '--pause', '0', '--json');
  bus.close();
  assert.equal(code, 0, err);
  const report = JSON.parse(out) as PublisherReport;
  assert.equal(report.orders, 12);
  assert.equal(report.retries, 36);
  assert.deepEqual([...new Set(seen.values())], [2]);
  for (const entries of Map.groupBy(bus.calls.flat(), orderOf).values()) {
    assert.deepEqual(entries.map(({ DetailType }) => DetailType), ['OrderCreated', 'OrderCreated', 'OrderUpdated', 'OrderUpdated', 'OrderCancelled', 'OrderCancelled']);
  }
  assert.ok(bus.calls.some(({ length }) => length > 1), 'orders share calls');
  assert.ok(bus.calls.every(({ length }) => length <= 10));
});

test('calls that fail are made again; an event that is never taken is reported with the reason, and the exit code is 1', async () => {
  const passing = await badBus((entries, call) => (call < 2 ? { status: 500, error: 'InternalException' } : ok(entries)));
  const { code, err } = await run('--bus', 'orders', '--endpoint', passing.url, '--pause', '0');
  passing.close();
  assert.equal(code, 0, err);

  const lasting = await badBus((entries) => entries.map(() => ({ ErrorCode: 'InternalFailure', ErrorMessage: 'as ever' })));
  const given = await run('--bus', 'orders', '--endpoint', lasting.url, '--pause', '0', '--patience', '0.5');
  lasting.close();
  assert.equal(given.code, 1);
  assert.match(given.out, /^OrderCreated of order \S+ is not published: given up after \d+ tries: InternalFailure: as ever$/m);
});

test('an event that is refused ends its order, and no other', async () => {
  const bus = await badBus((entries) => entries.map(({ DetailType, Detail }) => (
    DetailType === 'OrderUpdated' && bus.calls.flat().find((entry) => entry.DetailType === 'OrderUpdated')!.Detail === Detail
      ? { ErrorCode: 'MalformedDetail', ErrorMessage: 'Detail is malformed.' } : { EventId: '1' })));
  const { code, out } = await run('--bus', 'orders', '--endpoint', bus.url, '--orders', '5', '--rate', '1000', '--pause', '0', '--json');
  bus.close();
  assert.equal(code, 1);
  const { published, failed, retries } = JSON.parse(out) as PublisherReport;
  assert.deepEqual({ published, retries }, { published: { OrderCreated: 5, OrderUpdated: 4, OrderCancelled: 4 }, retries: 0 });
  assert.deepEqual(failed.map(({ detailType, error }) => [detailType, error]), [['OrderUpdated', 'MalformedDetail: Detail is malformed.']]);
  assert.deepEqual(bus.calls.flat().filter((entry) => orderOf(entry) === failed[0]!.orderId).map(({ DetailType }) => DetailType), ['OrderCreated', 'OrderUpdated']);
});

test('a bus that does not exist gets nothing: EventBridge would take the events and drop them', async () => {
  const bus = await localBus();
  const { code, err } = await run('--bus', 'order', '--endpoint', bus.url);
  await bus.stop();
  assert.equal(code, 1);
  assert.match(err, /^publisher: There is no event bus order: the output EventBusName/);
});

test('Ctrl-C ends it with 130, and says which orders have no end', async () => {
  const bus = await localBus();
  const child = spawn(process.execPath, [SCRIPT, '--bus', 'orders', '--endpoint', bus.url, '--pause', '600'], { env: NO_ACCOUNT, stdio: ['ignore', 'pipe', 'inherit'] });
  let out = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    if (out === '') child.kill('SIGINT');
    out += text;
  });
  const code = await new Promise((resolve) => child.on('close', resolve));
  await bus.stop();
  assert.equal(code, 130);
  assert.match(out, /^open +1 orders, interrupted$/m);
});

for (const [args, sentence] of [
  [[], /^publisher: There is no bus to publish to: name it with --bus or EVENT_BUS_NAME\.$/m],
  [['--bus', 'orders'], /^publisher: The region is not known: give --region or AWS_REGION, or the --endpoint of a local run\.$/m],
  [['--bus', 'orders', '--endpoint', 'localhost:4566'], /^publisher: --endpoint expects an http or https address, not 'localhost:4566'\.$/m],
  [['--bus', 'orders', '--region', 'eu-west-1', '--orders', '1.5'], /^publisher: --orders expects a whole number from 1 to \d+, not '1\.5'\.$/m],
  [['--bus', 'orders', '--region', 'eu-west-1', '--rate', '0'], /^publisher: --rate expects a number from 0\.001 to/m],
  [['--bus', 'orders', '--region', 'eu-west-1', '--duplicates', '2'], /^publisher: --duplicates expects a number from 0 to 1, not '2'\.$/m],
  [['--buss', 'orders'], /^publisher: Unknown option '--buss'/m],
] as [string[], RegExp][]) {
  test(`wrong usage is one sentence and 2: ${args.join(' ') || 'nothing given'}`, async () => {
    const { code, err, out } = await run(...args);
    assert.equal(code, 2);
    assert.match(err, sentence);
    assert.equal(out, '');
  });
}

test('without credentials or a connection, the reason is reported and the exit code is 1', async () => {
  const { code, err } = await run('--bus', 'orders', '--region', 'eu-west-1');
  assert.equal(code, 1);
  assert.match(err, /^publisher: EventBridge can't be used: CredentialsProviderError/);
  const gone = await run('--bus', 'orders', '--endpoint', 'http://127.0.0.1:1');
  assert.equal(gone.code, 1);
  assert.match(gone.err, /^publisher: EventBridge can't be used: .*ECONNREFUSED/);
});

test('the help has every option', async () => {
  const { code, out } = await run('--help');
  assert.equal(code, 0);
  const options = ['bus', 'orders', 'rate', 'pause', 'endpoint', 'region', 'source', 'seed', 'duplicates', 'patience', 'json'];
  for (const option of options) assert.match(out, new RegExp(`^  --${option} `, 'm'));
});
