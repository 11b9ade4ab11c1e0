import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { SecretsManager } from 'cdk-local-run/secretsmanager/endpoint';
import { bundleServices } from './bundle.ts';
import { FORMER_LAYOUT } from './migrate/former-layout.ts';
import { eventually, startTestServer, type TestServer } from './shared/testing.ts';
import { FAN_OUT_IMAGE } from '../profiles/fan-out/image.ts';
import { ORDER_PIPELINE_IMAGE } from '../profiles/order-pipeline/image.ts';

let server: TestServer;
let secrets: SecretsManager;
let folder: string;
let image: string;
let environment: NodeJS.ProcessEnv;
const children: ChildProcess[] = [];
const PASSWORD = 'of-both-roles-and-in-no-log';

before(async () => {
  server = await startTestServer();
  secrets = new SecretsManager();
  const { url } = await secrets.start();
  folder = await mkdtemp(join(tmpdir(), 'bundle-test-'));
  image = await bundleServices(join(folder, 'image'), ORDER_PIPELINE_IMAGE);
  await server.pool({ database: 'postgres', max: 1 }).query('CREATE DATABASE shop');
  const { user, password, port } = server.postgres.writer;
  const secret = (name: string, username: string, value: string) => (
    secrets.put({ name, secretString: JSON.stringify({ username, password: value }) }).ARN);
  environment = {
    PATH: process.env.PATH,
    HOST: '127.0.0.1',
    PORT: '0',
    AWS_REGION: 'eu-central-1',
    AWS_ACCESS_KEY_ID: 'test',
    AWS_SECRET_ACCESS_KEY: 'test',
    AWS_ENDPOINT_URL_SECRETS_MANAGER: url,
    // Nobody listens there: a consumer has to live with it.
    AWS_ENDPOINT_URL_SQS: 'http://127.0.0.1:1',
    AWS_ENDPOINT_URL_EVENTBRIDGE: 'http://127.0.0.1:1',
    QUEUE_URL: 'http://127.0.0.1:1/0/queue',
    DB_WRITER_ENDPOINT: `127.0.0.1:${port}`,
    DB_READER_ENDPOINT: `127.0.0.1:${port}`,
    DB_NAME: 'shop',
    EVENT_BUS_NAME: 'orders',
    ADMIN_SECRET: secret('admin', user, password),
    DB_COMMAND_SECRET_ARN: secret('command', 'shop_command', PASSWORD),
    DB_QUERY_SECRET_ARN: secret('query', 'shop_query', PASSWORD),
  };
});
after(async () => {
  for (const child of children) child.kill('SIGKILL');
  await secrets.stop();
  await server.stop();
  await rm(folder, { recursive: true, force: true });
});

function start(program: string, env: NodeJS.ProcessEnv) {
  const child = spawn('node', [`${program}.js`], { cwd: image, env: { ...environment, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  children.push(child);
  const log: string[] = [];
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text: string) => log.push(text));
  const exit = once(child, 'exit').then(([code]) => code as number | null);
  return { child, exit, log: () => log.join('') };
}

const command = (env: NodeJS.ProcessEnv = {}) => ({ DB_SECRET_ARN: environment.DB_COMMAND_SECRET_ARN, ...env });

test('the same sources give the same bytes', async () => {
  const again = await bundleServices(join(folder, 'again'), ORDER_PIPELINE_IMAGE);
  const hash = async (root: string) => {
    const entries = await readdir(root, { recursive: true, withFileTypes: true });
    const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name)).sort();
    return Promise.all(files.map(async (file) => [file.slice(root.length), createHash('sha256').update(await readFile(file)).digest('hex')]));
  };
  assert.deepEqual(await hash(again), await hash(image));
  // Over an image that is there, and at the same time as another build.
  await Promise.all([bundleServices(again, ORDER_PIPELINE_IMAGE), bundleServices(again, ORDER_PIPELINE_IMAGE)]);
  assert.deepEqual(await hash(again), await hash(image));
});

test('the image of a profile holds the SQL of its schemas and no other', async () => {
  const schemasOf = async (root: string) => {
    const files = (await readdir(root, { recursive: true })).map((file) => file.replaceAll('\\', '/'));
    const functions = files.map((file) => /^services\/.*\/([a-z_]+)\.\w+\.sql$/.exec(file)?.[1]);
    const tables = files.map((file) => /^migrations\/([a-z_]+)\/001-tables\.sql$/.exec(file)?.[1]);
    return [tables, functions].map((names) => [...new Set(names.filter((name) => name !== undefined))].sort());
  };
  const fanOut = await bundleServices(join(folder, 'fan-out'), FAN_OUT_IMAGE);
  for (const [root, { schemas }] of [[image, ORDER_PIPELINE_IMAGE], [fanOut, FAN_OUT_IMAGE]] as const) {
    const sorted = [...schemas].sort();
    assert.deepEqual(await schemasOf(root), [sorted, sorted]);
  }
  await assert.rejects(bundleServices(join(folder, 'wrong'), { ...FAN_OUT_IMAGE, schemas: ['fan_out'] }), /The schema fan_out needs the schema messaging/);
});

test('the migration job of the image sets up an empty database, with the first products, twice over', async () => {
  for (const products of [true, false]) {
    const job = start('migrate', { DB_SECRET_ARN: environment.ADMIN_SECRET, SEED_FILE: 'data/catalog.json' });
    assert.equal(await job.exit, 0, job.log());
    assert.equal(job.log().includes('first products received'), products);
    assert.ok(!job.log().includes(PASSWORD));
  }
  const { rows: [stock] } = await server.pool({ database: 'shop', max: 1 }).query('SELECT count(*)::int AS skus FROM inventory.stock_level');
  assert.equal(stock.skus, (JSON.parse(await readFile(join(image, 'data', 'catalog.json'), 'utf8')) as unknown[]).length);
});

test('the migration job says in one line, with an exit code of its own, that it cannot migrate a database of former files', async () => {
  await server.pool({ database: 'postgres', max: 1 }).query('CREATE DATABASE former');
  await server.pool({ database: 'former', max: 1 }).query(FORMER_LAYOUT);
  const job = start('migrate', { DB_SECRET_ARN: environment.ADMIN_SECRET, DB_NAME: 'former' });
  assert.equal(await job.exit, 65, job.log());
  const lines = job.log().trimEnd().split('\n').map((line) => JSON.parse(line) as { level: string; message: string });
  assert.deepEqual(lines.map(({ level, message }) => [level, message]), [['fatal',
    'This database was made from the former migration files (001-messaging.sql, 002-orders.sql, 003-inventory.sql, 004-notification-analytics.sql, 005-fan-out.sql), '
    + 'which this version does not have: use an empty database (in a local run: start with --fresh).']]);
});

test('the migration job stops when asked, also while it waits for another, and leaves no statement behind', async () => {
  const other = await server.pool({ database: 'shop', max: 1 }).connect();
  try {
    await other.query('SELECT pg_advisory_lock(4715330219)');
    const job = start('migrate', { DB_SECRET_ARN: environment.ADMIN_SECRET });
    const waiting = async () => (await other.query('SELECT count(*)::int AS count FROM pg_locks WHERE locktype = \'advisory\' AND NOT granted')).rows[0].count as number;
    await eventually(waiting, (count) => count === 1 || job.child.exitCode !== null);
    job.child.kill('SIGTERM');
    assert.equal(await eventually(() => job.child.exitCode, (code) => code !== null), 143, job.log());
    const waitedAndStopped = /another migration is running; waiting[^]*stopped; the unfinished step is rolled back/;
    await eventually(() => job.log(), (log) => waitedAndStopped.test(log));
    assert.equal(await waiting(), 0);
  } finally {
    other.release(true);
  }
});

const WORKERS = [
  'order-status', 'outbox-relay', 'stock-service', 'inventory-service', 'notification-service', 'analytics-service',
] as const satisfies (keyof typeof ORDER_PIPELINE_IMAGE.entries)[];
for (const name of WORKERS) {
  test(`${name} starts from the image, tells its health and its metrics, and stops when asked`, async () => {
    const worker = start(name, command());
    const urlInLog = () => /"url":"([^"]+)"/.exec(worker.log())?.[1];
    const url = await eventually(urlInLog, (found) => found !== undefined || worker.child.exitCode !== null);
    assert.ok(url, worker.log());
    assert.equal((await fetch(`${url}/livez`)).status, 200);
    // The relay needs the database only; a consumer without its queue is not ready, and alive.
    const ready = name === 'outbox-relay' ? 200 : 503;
    await eventually(async () => (await fetch(`${url}/readyz`)).status, (status) => status === ready);
    const metrics = await (await fetch(`${url}/metrics`)).text();
    assert.match(metrics, name === 'outbox-relay' ? /outbox_oldest_pending_age_seconds/ : /events_consumed_total/);
    assert.ok(!worker.log().includes(PASSWORD));
    worker.child.kill('SIGTERM');
    assert.equal(await worker.exit, 0, worker.log());
  });
}

test('a process with a wrong environment ends at once and says what to set', async () => {
  const worker = start('inventory-service', { ...command(), QUEUE_URL: 'queue', DB_WRITER_ENDPOINT: '', CONSUMER_BATCH_SIZE: '0' });
  assert.equal(await worker.exit, 1);
  for (const problem of [/DB_WRITER_ENDPOINT is missing; set it to/, /QUEUE_URL must match/, /CONSUMER_BATCH_SIZE must be >= 1/]) {
    assert.match(worker.log(), problem);
  }
});
