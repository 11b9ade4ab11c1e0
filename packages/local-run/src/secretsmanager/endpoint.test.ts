import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import {
  CreateSecretCommand,
  DescribeSecretCommand,
  GetRandomPasswordCommand,
  GetSecretValueCommand,
  ListSecretsCommand,
  PutSecretValueCommand,
  RotateSecretCommand,
  SecretsManagerClient,
  UpdateSecretCommand,
  UpdateSecretVersionStageCommand,
} from '@aws-sdk/client-secrets-manager';
import { SecretsManager } from './endpoint.ts';

let secrets: SecretsManager;
let client: SecretsManagerClient;
let url: string;
let logged: string[];

beforeEach(async () => {
  logged = [];
  secrets = new SecretsManager({ log: (level, message, fields) => logged.push(JSON.stringify([level, message, fields])) });
  ({ url } = await secrets.start());
  client = new SecretsManagerClient({
    endpoint: url,
    region: 'us-east-1',
    credentials: { accessKeyId: 'test', secretAccessKey: 'test' },
    maxAttempts: 1,
  });
});
afterEach(async () => {
  client.destroy();
  await secrets.stop();
});

const value = async (SecretId: string, VersionStage?: string) =>
  (await client.send(new GetSecretValueCommand({ SecretId, VersionStage }))).SecretString;

describe('Secrets Manager', () => {
  it('gives a secret by name, by ARN and by the ARN without its ending', async () => {
    const { ARN, VersionId } = secrets.put({ name: 'orders/command', secretString: '{"username":"command"}' });
    assert.equal(ARN, secrets.arnOf('orders/command'));
    assert.match(ARN, /^arn:aws:secretsmanager:us-east-1:000000000000:secret:orders\/command-[A-Za-z]{6}$/);
    for (const id of ['orders/command', ARN, ARN.slice(0, -7)]) assert.equal(await value(id), '{"username":"command"}');
    const whole = await client.send(new GetSecretValueCommand({ SecretId: ARN }));
    assert.deepEqual([whole.Name, whole.VersionId, whole.VersionStages], ['orders/command', VersionId, ['AWSCURRENT']]);
    assert.ok(whole.CreatedDate instanceof Date);
  });

  it('keeps the previous value', async () => {
    secrets.put({ name: 'a', secretString: 'one' });
    const two = await client.send(new PutSecretValueCommand({ SecretId: 'a', SecretString: 'two' }));
    assert.deepEqual([await value('a'), await value('a', 'AWSPREVIOUS')], ['two', 'one']);
    const three = secrets.put({ name: 'a', secretString: 'three' });
    assert.deepEqual([await value('a'), await value('a', 'AWSPREVIOUS')], ['three', 'two']);
    assert.equal(secrets.put({ name: 'a', secretString: 'three' }).VersionId, three.VersionId, 'the same value again is no new version');
    const described = await client.send(new DescribeSecretCommand({ SecretId: 'a' }));
    assert.deepEqual(described.VersionIdsToStages, { [two.VersionId!]: ['AWSPREVIOUS'], [three.VersionId]: ['AWSCURRENT'] });
  });

  it('keeps a pending version beside the current one', async () => {
    secrets.put({ name: 'a', secretString: 'one' });
    await client.send(new PutSecretValueCommand({ SecretId: 'a', SecretString: 'next', VersionStages: ['AWSPENDING'] }));
    assert.deepEqual([await value('a'), await value('a', 'AWSPENDING')], ['one', 'next']);
  });

  it('rotates: a pending version becomes current, and the current one the previous', async () => {
    const one = secrets.put({ name: 'a', secretString: 'one' }).VersionId;
    const heard: string[] = [];
    secrets.onChange((name, versions) => heard.push([name, ...versions.map(({ secretString, stages }) => `${secretString} ${stages.join('+')}`)].join(', ')));
    const { VersionId: two } = await client.send(new PutSecretValueCommand({ SecretId: 'a', SecretString: 'two', VersionStages: ['AWSPENDING'] }));
    assert.deepEqual(heard, ['a, one AWSCURRENT, two AWSPENDING']);
    const move = (stage: string, to?: string, from?: string) => client.send(new UpdateSecretVersionStageCommand({
      SecretId: 'a', VersionStage: stage, MoveToVersionId: to, RemoveFromVersionId: from,
    }));
    await assert.rejects(move('AWSCURRENT', two), { name: 'InvalidParameterException', message: new RegExp(one) });
    await assert.rejects(move('AWSCURRENT', undefined, one), { name: 'InvalidParameterException' });
    await assert.rejects(move('AWSCURRENT', 'none', one), { name: 'ResourceNotFoundException' });
    await move('AWSCURRENT', two, one);
    await move('AWSPENDING', undefined, two);
    assert.deepEqual([await value('a'), await value('a', 'AWSPREVIOUS'), heard.at(-1)], ['two', 'one', 'a, one AWSPREVIOUS, two AWSCURRENT']);
    await assert.rejects(value('a', 'AWSPENDING'), { name: 'ResourceNotFoundException' });
    const { VersionIdsToStages } = await client.send(new DescribeSecretCommand({ SecretId: 'a' }));
    assert.deepEqual(VersionIdsToStages, { [one]: ['AWSPREVIOUS'], [two!]: ['AWSCURRENT'] });
  });

  it('updates the value, the description, or both', async () => {
    secrets.put({ name: 'a', secretString: 'one' });
    const { VersionId } = await client.send(new UpdateSecretCommand({ SecretId: 'a', Description: 'for a' }));
    assert.equal(VersionId, undefined);
    assert.equal(await value('a'), 'one');
    await client.send(new UpdateSecretCommand({ SecretId: 'a', SecretString: 'two' }));
    assert.deepEqual([await value('a'), await value('a', 'AWSPREVIOUS')], ['two', 'one']);
    assert.equal((await client.send(new DescribeSecretCommand({ SecretId: 'a' }))).Description, 'for a');
    const { RandomPassword } = await client.send(new GetRandomPasswordCommand({ PasswordLength: 20, ExcludePunctuation: true }));
    assert.match(RandomPassword!, /^[A-Za-z0-9]{20}$/);
  });

  it('creates, also binary secrets, and lists', async () => {
    const created = await client.send(
      new CreateSecretCommand({ Name: 'key', Description: 'a key', SecretBinary: Buffer.from([1, 2, 255]) }),
    );
    assert.equal(created.ARN, secrets.arnOf('key'));
    const { SecretBinary } = await client.send(new GetSecretValueCommand({ SecretId: 'key' }));
    assert.deepEqual([...SecretBinary!], [1, 2, 255]);
    secrets.put({ name: 'orders/a', secretString: 'a' });
    secrets.put({ name: 'orders/b', secretString: 'b' });
    const listed = await client.send(new ListSecretsCommand({ Filters: [{ Key: 'name', Values: ['orders/'] }], MaxResults: 1 }));
    assert.deepEqual(
      listed.SecretList!.map(({ Name }) => Name),
      ['orders/a'],
    );
    const rest = await client.send(
      new ListSecretsCommand({ NextToken: listed.NextToken, Filters: [{ Key: 'name', Values: ['orders/'] }] }),
    );
    assert.deepEqual(
      rest.SecretList!.map(({ Name }) => Name),
      ['orders/b'],
    );
    await assert.rejects(client.send(new CreateSecretCommand({ Name: 'key', SecretString: 'x' })), { name: 'ResourceExistsException' });
  });

  it('takes a repeated request once', async () => {
    secrets.put({ name: 'a', secretString: 'one' });
    const ClientRequestToken = '0'.repeat(32);
    const again = (SecretString: string) => client.send(new PutSecretValueCommand({ SecretId: 'a', SecretString, ClientRequestToken }));
    await again('two');
    assert.equal((await again('two')).VersionId, ClientRequestToken);
    assert.equal(await value('a', 'AWSPREVIOUS'), 'one');
    await assert.rejects(again('three'), { name: 'ResourceExistsException' });
  });

  it('says what is not there and what is wrong, without any value', async () => {
    await assert.rejects(value('none'), { name: 'ResourceNotFoundException', message: "Secrets Manager can't find the specified secret." });
    secrets.put({ name: 'a', secretString: 'hush-hush' });
    await assert.rejects(value('a', 'AWSPREVIOUS'), { name: 'ResourceNotFoundException', message: /staging label: AWSPREVIOUS/ });
    await assert.rejects(client.send(new PutSecretValueCommand({ SecretId: 'a' })), { name: 'InvalidParameterException' });
    await assert.rejects(client.send(new RotateSecretCommand({ SecretId: 'a' })), {
      name: 'UnknownOperationException',
      message: /Secrets Manager has no RotateSecret/,
    });
    const response = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/x-amz-json-1.1', 'x-amz-target': 'secretsmanager.PutSecretValue' },
      body: '{"SecretId":"a","SecretString":"hush-hush"',
    });
    assert.equal(response.status, 400);
    assert.deepEqual(await response.json(), { __type: 'SerializationException', message: 'The request body is not valid JSON' });
    await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/x-amz-json-1.1', 'x-amz-target': 'secretsmanager.PutSecretValue' },
      body: '{"SecretId":"a","SecretString":{"hush-hush":1}}',
    });
    assert.ok(!logged.join().includes('hush-hush'));
  });
});
