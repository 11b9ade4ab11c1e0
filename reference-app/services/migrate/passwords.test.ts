import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import {
  GetSecretValueCommand, PutSecretValueCommand, SecretsManagerClient, UpdateSecretVersionStageCommand,
} from '@aws-sdk/client-secrets-manager';
import { SecretsManager } from 'cdk-local-run/secretsmanager/endpoint';
import pg from 'pg';
import { MigrationError } from './files.ts';
import { readLogins, type LoginConfig } from './logins.ts';
import { ensureLogin } from './roles.ts';
import { silentLogger, startTestServer, type TestDatabase, type TestServer } from '../shared/testing.ts';

const secrets = new SecretsManager();
let server: TestServer;
let db: TestDatabase;
let client: SecretsManagerClient;
before(async () => {
  server = await startTestServer();
  db = await server.database({ schemas: ['messaging'] });
  const { url } = await secrets.start();
  client = new SecretsManagerClient({ endpoint: url, region: 'us-east-1', credentials: { accessKeyId: 'test', secretAccessKey: 'test' } });
});
after(async () => {
  client.destroy();
  await secrets.stop();
  await server.stop();
});

async function canLogIn(username: string, password: string): Promise<boolean> {
  const { host, port } = server.postgres.writer;
  const one = new pg.Client({ host, port, database: db.name, user: username, password });
  try {
    await one.connect();
    return true;
  } catch {
    return false;
  } finally {
    await one.end().catch(() => undefined);
  }
}

const secretOf = async (arn: string, VersionStage: string) => {
  const answer = await client.send(new GetSecretValueCommand({ SecretId: arn, VersionStage })).catch(() => undefined);
  return answer && { id: answer.VersionId!, ...JSON.parse(answer.SecretString!) as { username: string; password: string } };
};

/** The steps of the rotation with one user, as the function of AWS makes them. */
function rotationOf(arn: string): (() => Promise<void>)[] {
  const id = randomUUID();
  const pending = async () => (await secretOf(arn, 'AWSPENDING'))!;
  return [
    async () => {
      const { username } = (await secretOf(arn, 'AWSCURRENT'))!;
      await client.send(new PutSecretValueCommand({
        SecretId: arn, ClientRequestToken: id, SecretString: JSON.stringify({ username, password: id }), VersionStages: ['AWSPENDING'],
      }));
    },
    async () => {
      const { username, password } = await pending();
      await db.admin.query(`ALTER ROLE ${username} PASSWORD '${password}'`);
    },
    async () => {
      const { username, password } = await pending();
      assert.ok(await canLogIn(username, password), 'the rotation tests its password');
    },
    async () => {
      const current = (await secretOf(arn, 'AWSCURRENT'))!;
      await client.send(new UpdateSecretVersionStageCommand({ SecretId: arn, VersionStage: 'AWSCURRENT', MoveToVersionId: id, RemoveFromVersionId: current.id }));
    },
  ];
}

/** Brings the login up to date, and calls `before` ahead of whatever looks at the secret or sets the password. */
async function ensure(arn: string, before: (step: number) => Promise<void> = async () => {}): Promise<void> {
  const { logins: [login] } = await readLogins({ DB_LOGINS: JSON.stringify([{ workload: 'outbox-relay', secretArn: arn }]) }, client);
  let step = 0;
  const connection = await db.admin.connect();
  const query = connection.query.bind(connection) as (...args: unknown[]) => Promise<unknown>;
  try {
    connection.query = (async (...args: unknown[]) => {
      if (/ PASSWORD /.test(String(args[0]))) await before(step++);
      return query(...args);
    }) as unknown as typeof connection.query;
    await ensureLogin(connection, {
      ...login!,
      read: async (stage) => {
        await before(step++);
        return login!.read!(stage);
      },
    }, silentLogger());
  } finally {
    connection.query = query as typeof connection.query;
    connection.release();
  }
}

test('whatever a rotation does between the steps of a migration, its new password counts in the end', async () => {
  const STEPS = 4;
  let interfered = 0;
  const cases = Array.from({ length: STEPS }, (_, begun) => [0, 1, 2].flatMap((at) =>
    Array.from({ length: STEPS - begun }, (_none, i) => ({ begun, at, meanwhile: i + 1 })))).flat();
  for (const { begun, at, meanwhile } of cases) {
    const username = `rotated_${begun}_${at}_${meanwhile}`;
    const arn = secrets.put({ name: username, secretString: JSON.stringify({ username, password: 'first' }) }).ARN;
    await ensure(arn);
    const steps = rotationOf(arn);
    const go = async (count: number) => { for (const step of steps.splice(0, count)) await step(); };
    await go(begun);
    await ensure(arn, async (step) => {
      if (step !== at) return;
      interfered++;
      await go(meanwhile);
    });
    await go(STEPS);
    const { password } = (await secretOf(arn, 'AWSCURRENT'))!;
    assert.notEqual(password, 'first');
    assert.ok(await canLogIn(username, password), `begun ${begun}, ${meanwhile} more steps before step ${at} of the migration`);
  }
  assert.ok(interfered >= 10, `${interfered} of ${cases.length}`);
});

test('a password that was changed in the secret alone is set, and one that is right is not touched', async () => {
  const arn = secrets.put({ name: 'by-hand', secretString: JSON.stringify({ username: 'by_hand', password: 'first' }) }).ARN;
  await ensure(arn);
  const verifier = async () => (await db.admin.query('SELECT rolpassword FROM pg_authid WHERE rolname = \'by_hand\'')).rows[0].rolpassword as string;
  const first = await verifier();
  await ensure(arn);
  assert.equal(await verifier(), first);
  secrets.put({ name: 'by-hand', secretString: JSON.stringify({ username: 'by_hand', password: 'second' }) });
  // It changes again while it is being set.
  await ensure(arn, async (step) => {
    if (step === 3) secrets.put({ name: 'by-hand', secretString: JSON.stringify({ username: 'by_hand', password: 'third' }) });
  });
  assert.deepEqual(await Promise.all(['first', 'second', 'third'].map((password) => canLogIn('by_hand', password))), [false, false, true]);
});

test('logins come as those of the sides, of workloads, or both; a wrong list is refused by field', async () => {
  const arn = secrets.put({ name: 'a', secretString: JSON.stringify({ username: 'a', password: 'p' }) }).ARN;
  const names = async (config: LoginConfig) => {
    const { command, query, logins } = await readLogins(config, client);
    return [command?.username, query?.username, ...logins.map(({ workload, username, password }) => [workload, username, password])];
  };
  const list = (...entries: unknown[]) => JSON.stringify(entries);
  assert.deepEqual(await names({ DB_COMMAND_SECRET_ARN: arn, DB_QUERY_USER: 'q' }), ['a', 'q']);
  assert.deepEqual(
    await names({ DB_LOGINS: list({ workload: 'order-status', secretArn: arn }, { workload: 'outbox-relay', user: 'r' }) }),
    [undefined, undefined, ['order-status', 'a', 'p'], ['outbox-relay', 'r', undefined]],
  );
  assert.deepEqual(await names({ DB_COMMAND_USER: 'c', DB_QUERY_USER: 'q', DB_LOGINS: list({ workload: 'x', user: 'r' }) }), ['c', 'q', ['x', 'r', undefined]]);
  for (const [config, message] of [
    [{}, /^DB_COMMAND_SECRET_ARN is missing; .*DB_COMMAND_USER .*DB_LOGINS/],
    [{ DB_COMMAND_USER: 'c' }, /^DB_QUERY_SECRET_ARN is missing/],
    [{ DB_LOGINS: 'inventory-service' }, /^DB_LOGINS must be a JSON list/],
    [{ DB_LOGINS: '{}' }, /^DB_LOGINS must be a JSON list/],
    [{ DB_LOGINS: list({ workload: 'x', user: 'u' }, { user: 'u' }) }, /^DB_LOGINS\.1\.workload is missing/],
    [{ DB_LOGINS: list({ workload: 'x' }) }, /^DB_LOGINS\.0 \(x\) needs either secretArn.* or user/],
    [{ DB_LOGINS: list({ workload: 'x', user: 'u', secretArn: arn }) }, /^DB_LOGINS\.0 \(x\) needs either/],
    [{ DB_LOGINS: list(null) }, /^DB_LOGINS\.0\.workload/],
  ] as const) {
    const isRight = (error: Error) => error instanceof MigrationError && message.test(error.message);
    await assert.rejects(readLogins(config, client), isRight, JSON.stringify(config));
  }
});
