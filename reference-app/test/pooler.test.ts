import assert from 'node:assert/strict';
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, mkdtempSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { CreateQueueCommand, SendMessageCommand, SQSClient } from '@aws-sdk/client-sqs';
import { SecretsManager } from 'cdk-local-run/secretsmanager/endpoint';
import { SqsEndpoint } from 'cdk-local-run/sqs/endpoint';
import { eventually, SQL_ROOT, startTestServer, type TestDatabase, type TestServer } from '../services/shared/testing.ts';

// PgBouncer in transaction mode stands in for RDS Proxy: fewer sessions than connections, so that transactions really change their session.
const skip = process.env.TEST_POOLER ? false : 'it needs PgBouncer: npm run test:pooler';

const SERVER_SESSIONS = 3;
const children: ChildProcess[] = [];
let server: TestServer;
let db: TestDatabase;
let secrets: SecretsManager;
let queues: SqsEndpoint;
let sqs: SQSClient;
let folder: string;
let environment: NodeJS.ProcessEnv;

before(async () => {
  if (skip) return;
  server = await startTestServer();
  db = await server.database();
  await db.admin.query(`INSERT INTO inventory.product (sku, name) VALUES ('A', 'Product A');
    INSERT INTO inventory.stock_level (sku, on_hand) VALUES ('A', 1000)`);
  folder = mkdtempSync(join(tmpdir(), 'pooler-test-'));
  secrets = new SecretsManager();
  const { user, password, host, port } = server.postgres.writer;
  for (const pool of [db.command, db.query]) await pool.query('SELECT');
  const logins = {
    admin: { username: user, password },
    command: { username: db.command.options.user!, password: db.command.options.password as string },
    query: { username: db.query.options.user!, password: db.query.options.password as string },
  };
  for (const [name, login] of Object.entries(logins)) secrets.put({ name, secretString: JSON.stringify(login) });
  // Writer and reader have an endpoint each, as with RDS Proxy.
  const [writer, reader] = await Promise.all(['writer', 'reader'].map((name) => startPooler(name, `${host}:${port}`, Object.values(logins))));
  queues = await SqsEndpoint.start({ dataDir: folder, region: 'eu-central-1' });
  sqs = new SQSClient({ endpoint: queues.url, region: 'eu-central-1', credentials: { accessKeyId: 'test', secretAccessKey: 'test' } });
  environment = {
    PATH: process.env.PATH,
    HOST: '127.0.0.1',
    PORT: '0',
    MANAGEMENT_PORT: '0',
    API_AUTHORIZATION: 'none',
    AWS_REGION: 'eu-central-1',
    AWS_ACCESS_KEY_ID: 'test',
    AWS_SECRET_ACCESS_KEY: 'test',
    AWS_ENDPOINT_URL_SECRETS_MANAGER: (await secrets.start()).url,
    AWS_ENDPOINT_URL_SQS: queues.url,
    // Nobody listens there: publishing is not the matter here.
    AWS_ENDPOINT_URL_EVENTBRIDGE: 'http://127.0.0.1:1',
    EVENT_BUS_NAME: 'orders',
    DB_NAME: db.name,
    DB_SECRET_ARN: 'command',
    DB_WRITER_ENDPOINT: '127.0.0.1',
    DB_READER_ENDPOINT: '127.0.0.1',
    DB_PORT: String(writer),
    DB_READER_PORT: String(reader),
  };
});
after(async () => {
  if (skip) return;
  await Promise.all(children.map(async (child) => {
    if (child.exitCode === null && child.kill('SIGKILL')) await once(child, 'exit');
  }));
  sqs.destroy();
  await Promise.all([queues.stop(), secrets.stop()]);
  await server.stop();
  await rm(folder, { recursive: true, force: true });
});

async function startPooler(name: string, address: string, logins: readonly { username: string; password: string }[]): Promise<number> {
  const [host, port] = address.split(':');
  const listenPort = await freePort();
  const quoted = (text: string) => `"${text.replaceAll('"', '""')}"`;
  const [config, users] = ['ini', 'users'].map((kind) => join(folder, `${name}.${kind}`)) as [string, string];
  writeFileSync(users, logins.map(({ username, password }) => `${quoted(username)} ${quoted(password)}\n`).join(''), { mode: 0o600 });
  writeFileSync(config, `[databases]
* = host=${host} port=${port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${listenPort}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = ${users}
pool_mode = transaction
default_pool_size = ${SERVER_SESSIONS}
max_client_conn = 500
`);
  // It refuses to run as root.
  const id = (flag: string) => Number(execFileSync('id', [flag, 'nobody'], { encoding: 'utf8' }));
  const account = process.getuid?.() === 0 ? { uid: id('-u'), gid: id('-g') } : undefined;
  if (account) for (const path of [folder, config, users]) chownSync(path, account.uid, account.gid);
  const child = spawn('pgbouncer', [config], { ...account, env: { PATH: `${process.env.PATH}:/usr/sbin` }, stdio: ['ignore', 'ignore', 'pipe'] });
  children.push(child);
  let log = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    log += text;
  });
  await eventually(() => log, (text) => text.includes(`listening on 127.0.0.1:${listenPort}`) || child.exitCode !== null);
  assert.equal(child.exitCode, null, log);
  return listenPort;
}

async function freePort(): Promise<number> {
  const taken = createServer();
  await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
  const { port } = taken.address() as AddressInfo;
  await new Promise((resolve) => taken.close(resolve));
  return port;
}

interface LogLine {
  readonly level: string;
  readonly message: string;
  readonly url?: string;
  /** Of an API: the address of its health. */
  readonly managementUrl?: string;
}

function start(program: string, env: NodeJS.ProcessEnv = {}) {
  const child = spawn(process.execPath, [join(SQL_ROOT, 'services', program, 'main.ts')], { env: { ...environment, ...env }, stdio: ['ignore', 'pipe', 'inherit'] });
  children.push(child);
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (more: string) => {
    text += more;
  });
  const log = () => text.split('\n').filter(Boolean).map((line) => JSON.parse(line) as LogLine);
  // A slow machine is not the matter: a first connection may take longer than a second, for which stock-service has the writer.
  const expected = ['the reader does not answer; reading stock', 'the API is open'];
  const complaints = () => log().filter(({ level, message }) => level !== 'info' && !expected.some((beginning) => message.startsWith(beginning)));
  const readyz = async () => {
    const line = log().find(({ url: address }) => address);
    const url = line?.managementUrl ?? line?.url;
    return url ? (await fetch(`${url}/readyz`)).text() : 'not ready: no address yet';
  };
  return { child, log, complaints, readyz, ready: () => eventually(readyz, (answer) => answer === 'ready\n', 120_000) };
}

async function queueOf(name: string): Promise<string> {
  await sqs.send(new CreateQueueCommand({ QueueName: name }));
  return queues.queueUrl(name, '000000000000');
}

test('the APIs and the consumers work through a pooler in transaction mode, with sessions that they do not change', { skip, timeout: 300_000 }, async () => {
  const write = start('order-service/api-write-service');
  const read = start('order-service/api-read-service', { DB_SECRET_ARN: 'query' });
  await Promise.all([write.ready(), read.ready()]);
  const urlOf = ({ log }: typeof write) => log().find((line) => line.url)!.url!;

  const place = (key: string) => fetch(`${urlOf(write)}/orders`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'idempotency-key': key },
    body: JSON.stringify({ customerId: 'c', items: [{ sku: 'A', quantity: 1 }] }),
  });
  const placed = async (key: string) => {
    const answer = await place(key);
    assert.equal(answer.status, 202);
    return { location: answer.headers.get('location')!, token: answer.headers.get('consistency-token')! };
  };
  const keys = Array.from({ length: 60 }, (_, n) => `key-${n}`);
  const orders = await Promise.all(keys.map(placed));
  assert.deepEqual(await Promise.all(keys.map(placed)), orders, 'the same keys, the same orders');
  for (let round = 0; round < 3; round++) {
    await Promise.all(orders.map(async ({ location, token }) => {
      assert.equal((await fetch(`${urlOf(read)}${location}`, { headers: { 'consistency-token': token } })).status, 200);
    }));
  }
  assert.equal((await fetch(`${urlOf(read)}/orders?customerId=c`)).status, 200);
  assert.equal((await fetch(`${urlOf(read)}${orders[0]!.location}/timeline`)).status, 200);
  const cancelled = await fetch(`${urlOf(write)}${orders[0]!.location}/cancel`, { method: 'POST', headers: { 'if-match': '"1"' } });
  assert.equal(cancelled.status, 202, await cancelled.text());

  // What the relay would publish and the rules would route.
  const { rows: events } = await db.admin.query<{ envelope: string }>('SELECT envelope FROM messaging.outbox WHERE detail_type = \'OrderCreated\' ORDER BY xid, id');
  const feeds = ['stock-service', 'analytics-service', 'notification-service'] as const;
  const consumers = await Promise.all([...feeds, 'inventory-service', 'order-service/order-status'].map(async (program) => {
    const QueueUrl = await queueOf(program.replace('/', '-'));
    const feed = (feeds as readonly string[]).includes(program) ? events : [];
    for (const { envelope } of feed) await sqs.send(new SendMessageCommand({ QueueUrl, MessageBody: envelope }));
    return { program, QueueUrl, ...start(program, { QUEUE_URL: QueueUrl, CONSUMER_WAIT_SECONDS: '1', SWEEP_SECONDS: '1' }) };
  }));
  await Promise.all(consumers.map(({ ready }) => ready()));
  const count = async (statement: string) => Number((await db.admin.query<{ n: string }>(`SELECT count(*) AS n FROM ${statement}`)).rows[0]!.n);
  const validated = "messaging.outbox WHERE detail_type = 'StockValidated'";
  await eventually(() => count(validated), (n) => n === orders.length, 60_000);
  const inventory = consumers.find(({ program }) => program === 'inventory-service')!;
  const { rows } = await db.admin.query<{ envelope: string }>(`SELECT envelope FROM ${validated}`);
  for (const { envelope } of rows) await sqs.send(new SendMessageCommand({ QueueUrl: inventory.QueueUrl, MessageBody: envelope }));
  await eventually(() => count('inventory.reservation'), (n) => n > 0, 60_000);
  const updated = "messaging.outbox WHERE detail_type = 'InventoryUpdated'";
  await eventually(() => count(updated), (n) => n === orders.length, 60_000);
  const status = consumers.find(({ program }) => program.endsWith('order-status'))!;
  const { rows: outcomes } = await db.admin.query<{ envelope: string }>(`SELECT envelope FROM ${updated}`);
  for (const { envelope } of outcomes) await sqs.send(new SendMessageCommand({ QueueUrl: status.QueueUrl, MessageBody: envelope }));
  await eventually(() => count("orders.orders WHERE status = 'CONFIRMED'"), (n) => n >= orders.length - 1, 60_000);

  for (const { program, complaints } of [{ program: 'write', ...write }, { program: 'read', ...read }, ...consumers]) assert.deepEqual(complaints(), [], program);
  // Two roles at two poolers.
  const sessions = await db.admin.query<{ n: string }>('SELECT count(*) AS n FROM pg_stat_activity WHERE datname = $1 AND usename IN ($2, $3)', [
    db.name, db.command.options.user, db.query.options.user,
  ]);
  assert.ok(Number(sessions.rows[0]!.n) <= 4 * SERVER_SESSIONS, `${sessions.rows[0]!.n} sessions`);
});

test('the relay says that it needs the database itself, and works there', { skip, timeout: 120_000 }, async () => {
  const pooled = start('outbox-relay');
  const reason = /^not ready: DB_WRITER_ENDPOINT leads to a pooler or proxy, .* set it to the endpoint of the database\.\n$/;
  await eventually(pooled.readyz, (answer) => reason.test(answer), 60_000);
  assert.equal(pooled.complaints().length, 1);
  const direct = start('outbox-relay', { DB_PORT: String(server.postgres.writer.port) });
  await direct.ready();
  await eventually(() => direct.log().some(({ message }) => message === 'leading'), Boolean);
  assert.match(await pooled.readyz(), reason);
});

test('the migration refuses a pooler in one line, with the exit code for which no job tries again', { skip, timeout: 60_000 }, async () => {
  const job = start('migrate', { DB_SECRET_ARN: 'admin', DB_COMMAND_SECRET_ARN: 'command', DB_QUERY_SECRET_ARN: 'query', SQL_ROOT });
  assert.deepEqual(await once(job.child, 'exit'), [65, null]);
  assert.match(job.complaints().map(({ message }) => message).join('\n'), /^DB_WRITER_ENDPOINT leads to a pooler or proxy/);
});
