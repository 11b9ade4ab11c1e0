import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, test } from 'node:test';
import { DescribeSecretCommand, GetSecretValueCommand, PutSecretValueCommand, SecretsManagerClient, UpdateSecretVersionStageCommand } from '@aws-sdk/client-secrets-manager';
import { SecretsManager } from 'cdk-local-run/secretsmanager/endpoint';
import { EventKeys, startWithKeys } from './event-keys.ts';
import { EventRefusedError, newId, parseMessage, withSignature, type SigningKey } from './events/index.ts';
import { eventually, silentLogger } from './testing.ts';

let secrets: SecretsManager;
let url: string;
before(async () => {
  secrets = new SecretsManager();
  ({ url } = await secrets.start());
});
after(() => secrets.stop());

const client = (endpoint = url) => new SecretsManagerClient({ endpoint, region: 'us-east-1', credentials: { accessKeyId: 'test', secretAccessKey: 'test' }, maxAttempts: 1 });
const keysOf = (arn: string, from = client()) => new EventKeys(arn, { logger: silentLogger(), secrets: from, pauseMs: 20 });
const never = new AbortController().signal;
const value = () => `${newId()} ${newId()}`;

function believes(keys: EventKeys, key: SigningKey): boolean {
  const text = JSON.stringify({ specversion: '1.0', id: newId() });
  return !(parseMessage(withSignature(text, text, key), keys.accepted)[0] instanceof EventRefusedError);
}

/** As rotation functions do: the new version is made, tried, and becomes current. */
async function rotate(arn: string, pending: (version: string) => Promise<void> = async () => {}): Promise<void> {
  const admin = client();
  const version = (await admin.send(new PutSecretValueCommand({ SecretId: arn, SecretString: value(), VersionStages: ['AWSPENDING'] }))).VersionId!;
  await pending(version);
  const { VersionIdsToStages = {} } = await admin.send(new DescribeSecretCommand({ SecretId: arn }));
  const before = Object.keys(VersionIdsToStages).find((one) => VersionIdsToStages[one]!.includes('AWSCURRENT'))!;
  await admin.send(new UpdateSecretVersionStageCommand({ SecretId: arn, VersionStage: 'AWSCURRENT', MoveToVersionId: version, RemoveFromVersionId: before }));
  await admin.send(new UpdateSecretVersionStageCommand({ SecretId: arn, VersionStage: 'AWSPENDING', RemoveFromVersionId: version }));
  admin.destroy();
}

test('through a rotation there is no moment in which a signature of before or after it is refused; the one before last does not count', async () => {
  const arn = secrets.put({ name: 'rotated', secretString: value() }).ARN;
  const [relay, consumer] = [keysOf(arn), keysOf(arn)];
  await Promise.all([relay.renewed(never), consumer.renewed(never)]);
  const first = relay.current!;
  await rotate(arn, async () => {
    await consumer.renewed(never);
    assert.deepEqual([consumer.current!.id, consumer.accepted!.size], [first.id, 2], 'a pending key is believed, and does not sign');
    await relay.renewed(never);
    assert.equal(relay.current!.id, first.id);
  });
  // The relay signs with either until it has noticed.
  await consumer.renewed(never);
  assert.ok(believes(consumer, first));
  await relay.renewed(never);
  const second = relay.current!;
  assert.notEqual(second.id, first.id);
  assert.ok(believes(consumer, second));
  // A label of one's own keeps a key, for replays.
  const admin = client();
  const { VersionIdsToStages = {} } = await admin.send(new DescribeSecretCommand({ SecretId: arn }));
  const kept = Object.keys(VersionIdsToStages).find((version) => version.startsWith(second.id))!;
  await admin.send(new UpdateSecretVersionStageCommand({ SecretId: arn, VersionStage: 'ARCHIVE', MoveToVersionId: kept }));
  admin.destroy();
  await rotate(arn);
  await rotate(arn);
  await consumer.renewed(never);
  assert.deepEqual([believes(consumer, first), believes(consumer, second), believes(consumer, consumer.current!)], [false, true, true]);
  await Promise.all([relay.stop(), consumer.stop()]);
});

test('without Secrets Manager it waits, then known keys go on; whatever comes, the secret is read at most once in the pause', async () => {
  const { ARN: arn } = secrets.put({ name: 'away', secretString: value() });
  let [there, calls] = [false, 0];
  const front = createServer((request, response) => {
    calls++;
    if (!there) return void response.writeHead(503).end();
    return void fetch(url, { method: 'POST', headers: request.headers as Record<string, string>, body: request as never, duplex: 'half' } as RequestInit)
      .then(async (answer) => response.writeHead(answer.status, { 'content-type': 'application/x-amz-json-1.1' }).end(await answer.text()));
  });
  await once(front.listen(0, '127.0.0.1'), 'listening');
  const keys = keysOf(arn, client(`http://127.0.0.1:${(front.address() as AddressInfo).port}`));
  await eventually(() => calls, (count) => count > 1);
  assert.deepEqual([keys.current, keys.accepted, typeof keys.ready()], [undefined, undefined, 'string']);
  let starts = 0;
  const signs = startWithKeys(keys, (signingKey) => ({ stop: async () => void (starts += signingKey!() === keys.current ? 1 : 9) }));
  assert.equal(signs.ready!(), keys.ready());
  there = true;
  await keys.known(never);
  assert.deepEqual([keys.ready(), signs.ready!()], [true, true]);
  await signs.stop();
  assert.equal(starts, 1);
  const before = keys.current;
  calls = 0;
  const started = performance.now();
  await Promise.all(Array.from({ length: 200 }, () => keys.renewed(never)));
  for (let i = 0; i < 5; i++) await keys.renewed(never);
  assert.ok(calls <= 1 + (performance.now() - started) / 20, `${calls} calls`);
  there = false;
  const [stop, waits] = [new AbortController(), { over: false }];
  const waiting = keys.renewed(stop.signal).then(() => { waits.over = true; });
  await eventually(() => calls, (count) => count > 8);
  assert.deepEqual([keys.current, keys.ready(), waits.over], [before, true, false]);
  stop.abort();
  await waiting;
  await keys.stop();
  front.closeAllConnections();
  front.close();
});

/** Its client does not get the value of the version `lost`. */
function watched(arn: string) {
  const [errors, state, admin] = [[] as string[], { lost: '' }, client()];
  const logger = { ...silentLogger(), warn: ({ err }: { err: Error }) => void errors.push(err.message), info: () => undefined } as never;
  const send = (command: GetSecretValueCommand) => (command.input.VersionId === state.lost ? Promise.reject(new Error('no key of KMS')) : admin.send(command));
  const from = Object.create(admin, { send: { value: send } }) as SecretsManagerClient;
  return { errors, state, keys: new EventKeys(arn, { logger, secrets: from, pauseMs: 20 }) };
}

test('a key that is too short is no key', async () => {
  const { ARN: arn } = secrets.put({ name: 'short', secretString: 'password' });
  const { errors, keys } = watched(arn);
  await eventually(() => errors, ({ length }) => length > 0);
  assert.match(errors[0]!, /must have at least 32 characters; its version .* has 8/);
  await keys.stop();
});

test('a version that can\'t be read, or is too short, leaves the others as they are, is named once, and counts when it can be read', async (t) => {
  const { ARN: arn } = secrets.put({ name: 'one-of-several', secretString: value() });
  await rotate(arn);
  const admin = client();
  await admin.send(new PutSecretValueCommand({ SecretId: arn, SecretString: 'short', VersionStages: ['AWSPENDING'] }));
  const { VersionIdsToStages = {} } = await admin.send(new DescribeSecretCommand({ SecretId: arn }));
  admin.destroy();
  const { errors, state, keys } = watched(arn);
  t.after(() => keys.stop());
  state.lost = Object.keys(VersionIdsToStages).find((version) => VersionIdsToStages[version]!.includes('AWSPREVIOUS'))!;
  await keys.renewed(AbortSignal.timeout(5_000));
  await keys.renewed(AbortSignal.timeout(5_000));
  assert.deepEqual([...keys.accepted!.keys()], [keys.current!.id]);
  assert.deepEqual(errors.map((error) => /no key of KMS|has 5/.exec(error)?.[0]).sort(), ['has 5', 'no key of KMS']);
  const before = state.lost;
  state.lost = '';
  await keys.renewed(never);
  assert.deepEqual(new Set(keys.accepted!.keys()), new Set([keys.current!.id, before.slice(0, 8)]));
});
