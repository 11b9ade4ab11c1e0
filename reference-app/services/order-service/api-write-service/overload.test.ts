import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { Agent, request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { SecretsManager } from 'cdk-local-run/secretsmanager/endpoint';
import { bundleImages } from '../../bundle.ts';
import { startTestServer, type TestDatabase, type TestServer } from '../../shared/testing.ts';

const MIB = 1024 * 1024;
const POD = 256 * MIB;
const SHARE_OF_POD = 0.7;
/** An order waits 5 s for its turn at most, and its commit takes 5 s at most; the rest is for a busy machine. */
const ANSWER_MS = 10_000 + 5_000;
/** A request that is not there after 15 s is cut, and the server looks every second. */
const SLOW_MS = 16_000 + 5_000;

const HALF_SENT = 1_000;
/** Ten times, while the database is locked. */
const WAVES = 10;
const SINGLE = 990;
const BATCHES = 10;
const BATCH = 100;
const LOCKED_MS = 8_000;
/** Together with those of the half-sent requests not more than the API takes. */
const CONNECTIONS = 900;

let server: TestServer;
let db: TestDatabase;
let folder: string;
let child: ChildProcess;
let url: URL;
let managementUrl: string;
const secrets = new SecretsManager();

/** The API as it runs in its pod: from the files of its image, with the memory of Node.js that a container of this size gets. */
before(async () => {
  server = await startTestServer();
  db = await server.database();
  await db.admin.query('INSERT INTO inventory.product (sku, name) VALUES (\'SKU-123\', \'A thing\')');
  await db.command.query('SELECT');
  const { user, password } = db.command.options;
  secrets.put({ name: 'command', secretString: JSON.stringify({ username: user, password }) });
  const { url: secretsUrl } = await secrets.start();
  folder = await mkdtemp(join(tmpdir(), 'overload-test-'));
  const { services } = await bundleImages(join(folder, 'images'), {
    entries: { 'api-write-service': 'order-service/api-write-service/main.ts' }, schemas: [],
  });
  child = spawn(process.execPath, [
    '--max-old-space-size=256', '--max-semi-space-size=1', '--import', `data:text/javascript,process.constrainedMemory=()=>${POD}`, 'api-write-service.js',
  ], {
    cwd: join(services, 'app'),
    env: {
      PATH: process.env.PATH,
      HOST: '127.0.0.1',
      PORT: '0',
      MANAGEMENT_PORT: '0',
      API_AUTHORIZATION: 'none',
      LOG_LEVEL: 'info',
      DB_NAME: db.name,
      DB_SECRET_ARN: 'command',
      DB_WRITER_ENDPOINT: `127.0.0.1:${server.postgres.writer.port}`,
      AWS_REGION: 'us-east-1',
      AWS_ACCESS_KEY_ID: 'test',
      AWS_SECRET_ACCESS_KEY: 'test',
      AWS_ENDPOINT_URL_SECRETS_MANAGER: secretsUrl,
    },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const log = createInterface(child.stdout!);
  const line = await new Promise<Record<string, string>>((resolve, reject) => {
    log.on('line', (text) => {
      const entry = JSON.parse(text) as Record<string, string>;
      if (entry.message === 'listening') resolve(entry);
    });
    child.once('exit', (code) => reject(new Error(`It ended with ${code}.`)));
  });
  url = new URL(line.url!);
  managementUrl = line.managementUrl!;
});
after(async () => {
  child?.kill('SIGKILL');
  await secrets.stop();
  await server?.stop();
  await rm(folder, { recursive: true, force: true });
});

/** The most memory that the process has ever had, in bytes. */
async function peak(): Promise<number> {
  const status = await readFile(`/proc/${child.pid}/status`, 'utf8');
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)![1]) * 1024;
}

const order = (n: number) => ({ customerId: `customer-${n}`, items: [{ sku: 'SKU-123', quantity: 1 }] });

interface Answer {
  readonly status: number;
  readonly body: { readonly orderId?: string; readonly accepted?: number; readonly results?: { readonly orderId?: string }[] };
  readonly ms: number;
  readonly retryAfter: string | undefined;
}

function post(agent: Agent, path: string, body: object): Promise<Answer> {
  return new Promise((resolve, reject) => {
    let start = 0;
    const sent = request(new URL(path, url), { agent, method: 'POST', headers: { 'content-type': 'application/json' } }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part: string) => {
        text += part;
      });
      response.on('end', () => resolve({
        status: response.statusCode!, body: JSON.parse(text) as Answer['body'], ms: performance.now() - start, retryAfter: response.headers['retry-after'],
      }));
    });
    // Its time begins when it has a connection: before, it is not this server that it waits for.
    sent.on('socket', () => {
      start = performance.now();
    });
    sent.on('error', reject);
    sent.end(JSON.stringify(body));
  });
}

/** Sends a request without its last byte. */
function sendHalf(n: number, clients: Socket[]): Promise<{ text: string; ms: number }> {
  const length = n % 10 > 0 ? 200 : MIB;
  const start = performance.now();
  return new Promise((resolve) => {
    let text = '';
    const client = connect({ port: Number(url.port), host: url.hostname, allowHalfOpen: false }).setEncoding('utf8');
    clients.push(client);
    client.on('error', () => undefined).on('data', (part: string) => {
      text += part;
    });
    client.on('close', () => resolve({ text, ms: performance.now() - start }));
    client.write(`POST /orders${n % 10 > 0 ? '' : '/batch'} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ${length}\r\n\r\n`);
    client.write(Buffer.alloc(length - 1, ' '));
  });
}

test('thousands of requests while the database is locked: the pod keeps its memory, everybody gets an answer, nothing is lost', { timeout: 90_000 }, async (t) => {
  const agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS });
  const clients: Socket[] = [];
  t.after(() => {
    agent.destroy();
    clients.forEach((client) => client.destroy());
  });
  assert.equal((await post(agent, '/orders', order(0))).status, 202);
  const lock = await db.admin.connect();
  await lock.query('BEGIN; LOCK TABLE orders.orders IN ACCESS EXCLUSIVE MODE');
  const halves = Array.from({ length: HALF_SENT }, (_, n) => sendHalf(n, clients));
  const asked: Promise<Answer>[] = [];
  for (let wave = 0; wave < WAVES; wave++) {
    // Before the orders of the wave, so that they are not all of the waiting line.
    for (let n = 0; n < SINGLE; n++) asked.push(post(agent, '/orders', order(n)));
    for (let n = 0; n < BATCHES; n++) asked.push(post(agent, '/orders/batch', { orders: Array.from({ length: BATCH }, (_one, m) => order(m)) }));
    await sleep(LOCKED_MS / WAVES);
    assert.equal((await fetch(`${managementUrl}/livez`)).status, 200);
  }
  await lock.query('COMMIT');
  lock.release();

  const answers = await Promise.all(asked);
  const last = await post(agent, '/orders', order(1));
  assert.equal(last.status, 202, 'orders go on');
  const slow = await Promise.all(halves);
  const rss = await peak();
  const count = (of: (answer: Answer) => number) => [last, ...answers].reduce((sum, answer) => sum + of(answer), 1);
  const accepted = count(({ status, body }) => (status === 202 ? 1 : body.accepted ?? 0));
  const slowest = (all: readonly { readonly ms: number }[]) => Math.max(...all.map(({ ms }) => ms));
  t.diagnostic(`${Math.round(rss / MIB)} MiB at most; ${accepted} orders accepted; `
    + `slowest answer ${Math.round(slowest(answers))} ms, to half-sent ${Math.round(slowest(slow))} ms`);

  assert.ok(rss < SHARE_OF_POD * POD, `${Math.round(rss / MIB)} MiB`);
  assert.deepEqual(answers.filter(({ status, retryAfter }) => ![200, 202].includes(status) && !(status === 503 && retryAfter === '1')), []);
  assert.ok(slowest(answers) < ANSWER_MS);
  const once = ({ text }: { text: string }) => /^HTTP\/1\.1 (408|503) [^]*problem:(request-timeout|unavailable)/.test(text) && text.split('HTTP/').length === 2;
  assert.deepEqual(slow.filter((answer) => !once(answer)), []);
  assert.ok(slowest(slow) < SLOW_MS);
  const { rows } = await db.admin.query<{ orders: number }>('SELECT count(*)::int AS orders FROM orders.orders');
  assert.deepEqual(rows, [{ orders: accepted }], 'what was accepted is stored, and nothing else');
  assert.ok(accepted > 1_000, String(accepted));
});
