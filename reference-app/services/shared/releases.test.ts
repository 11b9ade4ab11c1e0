import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { CreateQueueCommand, GetQueueAttributesCommand, SendMessageCommand, SQSClient } from '@aws-sdk/client-sqs';
import { SecretsManager } from 'cdk-local-run/secretsmanager/endpoint';
import { SqsEndpoint } from 'cdk-local-run/sqs/endpoint';
import type { Pool } from './database.ts';
import { queryReady, writerReady } from './http/readiness.ts';
import { RequiredReleases, startWhenMigrated } from './releases.ts';
import { eventually, silentLogger, SQL_ROOT, startTestServer, type TestServer } from './testing.ts';
import orders from '../../migrations/orders/schema.json' with { type: 'json' };
import { migrate } from '../migrate/migrate.ts';

let server: TestServer;
before(async () => {
  server = await startTestServer({ replica: true });
});
after(() => server.stop());

const command = { username: 'early_command', password: 'c' };

async function emptyDatabase(name: string): Promise<{ admin: Pool; program: Pool }> {
  await server.pool({ database: 'postgres', max: 1 }).query(`CREATE DATABASE ${name}`);
  const program = server.pool({ database: name, user: command.username, password: command.password, max: 2 });
  return { admin: server.pool({ database: name }), program };
}

async function runMigration(pool: Pool, schemas?: readonly string[]): Promise<void> {
  const client = await pool.connect();
  try {
    await migrate(client, { root: SQL_ROOT, schemas, logger: silentLogger(), command, query: { username: 'early_query', password: 'q' } });
  } finally {
    client.release();
  }
}

/** A logger that keeps its warnings. */
function watchedLogger() {
  const logger = silentLogger();
  const warnings: string[] = [];
  logger.warn = ((_: unknown, message: string) => void warnings.push(message)) as typeof logger.warn;
  return { logger, warnings };
}

/** The release that these files make, and the next one. */
const THIS = orders.release;
const NEXT = THIS + 1;

test('a program is ready when each of its schemas has the release that it was built with, and stays so', async () => {
  const { admin, program } = await emptyDatabase('early');
  const { logger, warnings } = watchedLogger();
  const releases = new RequiredReleases(program, ['messaging', 'orders'], logger, { orders: NEXT });
  const readiness = async () => {
    const first = await releases.check();
    assert.equal(await releases.check(), first);
    return first;
  };
  const away = await readiness();
  assert.equal(away, 'The database does not answer this program.');
  await admin.query('CREATE ROLE early_command LOGIN PASSWORD \'c\'');
  const unprepared = await readiness();
  assert.equal(unprepared, 'The migration has not prepared this database for this program\'s role.');
  await runMigration(admin, ['messaging']);
  const withoutOrders = await readiness();
  assert.equal(withoutOrders, `The migration has not finished these schemas of the database: orders (has release 0, needs ${NEXT}).`);
  await runMigration(admin);
  const older = await readiness();
  assert.equal(older, `The migration has not finished these schemas of the database: orders (has release ${THIS}, needs ${NEXT}).`);
  // The tables of the next release are there, its functions are not.
  await admin.query('UPDATE migration.release SET begun = begun + 1 WHERE schema = \'orders\'');
  assert.equal(await readiness(), older);
  await admin.query('UPDATE migration.release SET finished = begun WHERE schema = \'orders\'');
  assert.equal(await readiness(), true);
  // Each reason once.
  assert.deepEqual(warnings, [away, unprepared, withoutOrders, older]);
  await admin.query('UPDATE migration.release SET begun = begun + 1');
  assert.equal(await readiness(), true);
  await admin.query('UPDATE migration.release SET finished = begun');
  assert.equal(await new RequiredReleases(program, ['orders'], logger).check(), true, 'one of this release starts beside a later one');
});

test('the write side is not ready with a reader, the query side is with one that has the schemas', async () => {
  const { admin } = await emptyDatabase('sides');
  await runMigration(admin);
  const { host, port, user, password } = server.postgres.reader!;
  const pools = (database: string) => {
    const pool = server.pool({ database, host, port, user, password, max: 1 });
    return new RequiredReleases(pool, ['orders'], silentLogger());
  };
  const replica = pools('sides');
  assert.equal(await eventually(writerReady(replica), (readiness) => /reader/.test(String(readiness))), 'The endpoint of the writer leads to a reader.');
  const empty = new RequiredReleases(server.pool({ database: 'postgres', max: 1 }), ['orders'], silentLogger());
  assert.equal(await queryReady(empty, replica)(), true);
  assert.equal(await queryReady(empty, empty)(), 'The migration has not prepared this database for this program\'s role.');
  assert.equal(await writerReady(new RequiredReleases(admin, ['orders'], silentLogger()))(), true);
});

test('a worker that is stopped before the migration has started nothing', async () => {
  const { program } = await emptyDatabase('never');
  const releases = new RequiredReleases(program, ['orders'], silentLogger());
  let started = 0;
  const worker = startWhenMigrated(releases, () => ({ stop: async () => void started++ }));
  await eventually(() => worker.ready!(), (readiness) => readiness === 'The migration has not prepared this database for this program\'s role.');
  await worker.stop();
  assert.equal(started, 0);
});

test('a consumer takes no message before the migration, says why, and handles it after', { timeout: 60_000 }, async (t) => {
  const { admin } = await emptyDatabase('consumer');
  const folder = await mkdtemp(join(tmpdir(), 'releases-test-'));
  const endpoint = await SqsEndpoint.start({ dataDir: folder, region: 'eu-central-1' });
  const secrets = new SecretsManager();
  const secretArn = secrets.put({ name: 'early', secretString: JSON.stringify(command) }).ARN;
  const aws = { AWS_REGION: 'eu-central-1', AWS_ACCESS_KEY_ID: 'test', AWS_SECRET_ACCESS_KEY: 'test' };
  const sqs = new SQSClient({ endpoint: endpoint.url, region: 'eu-central-1', credentials: { accessKeyId: 'test', secretAccessKey: 'test' } });
  await sqs.send(new CreateQueueCommand({ QueueName: 'early' }));
  const QueueUrl = endpoint.queueUrl('early', '000000000000');
  await sqs.send(new SendMessageCommand({ QueueUrl, MessageBody: 'no event' }));
  const child = spawn(process.execPath, [join(import.meta.dirname, '../analytics-service/main.ts')], {
    env: {
      PATH: process.env.PATH,
      ...aws,
      HOST: '127.0.0.1',
      PORT: '0',
      AWS_ENDPOINT_URL_SECRETS_MANAGER: (await secrets.start()).url,
      AWS_ENDPOINT_URL_SQS: endpoint.url,
      QUEUE_URL: QueueUrl,
      DB_SECRET_ARN: secretArn,
      DB_NAME: 'consumer',
      DB_WRITER_ENDPOINT: `127.0.0.1:${server.postgres.writer.port}`,
    },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = once(child, 'exit');
  t.after(async () => {
    child.kill('SIGKILL');
    await exited;
    sqs.destroy();
    await Promise.all([endpoint.stop(), secrets.stop()]);
    await rm(folder, { recursive: true, force: true });
  });
  let log = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    log += text;
  });
  const url = await eventually(() => /"url":"([^"]+)"/.exec(log)?.[1], (found) => found !== undefined);
  const reason = 'The migration has not prepared this database for this program\'s role.';
  await eventually(async () => (await fetch(`${url}/readyz`)).text(), (text) => text === `not ready: ${reason}\n`);
  const messages = async () => (await sqs.send(new GetQueueAttributesCommand({ QueueUrl, AttributeNames: ['All'] }))).Attributes!;
  assert.equal((await messages()).ApproximateNumberOfMessages, '1');
  assert.doesNotMatch(log, /consuming/);
  assert.equal(log.split(reason).length, 2, 'once in the log');
  await runMigration(admin);
  await eventually(async () => (await fetch(`${url}/readyz`)).status, (status) => status === 200);
  await eventually(messages, ({ ApproximateNumberOfMessagesNotVisible: taken }) => taken === '1');
});
