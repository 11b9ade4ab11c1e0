import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { Agent, createServer, request, type Server } from 'node:http';
import { connect, type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, test, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { SecretsManager } from 'cdk-local-run/secretsmanager/endpoint';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { bundleImages } from '../../bundle.ts';
import { eventually, startTestServer, type TestDatabase, type TestServer } from '../../shared/testing.ts';

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

/** Customers that send single orders; each batch is of another one. */
const CUSTOMERS = 500;

/** Each on a connection of its own, with more lists than the buffers of the connection take. */
const READERS = 20;
const LISTS = 12;
const DEVICES = 20;

let server: TestServer;
let db: TestDatabase;
let folder: string;
let app: string;
let issuer: Server;
let secretsUrl: string;
const secrets = new SecretsManager();
const keys = await generateKeyPair('ES256');

before(async () => {
  server = await startTestServer();
  db = await server.database();
  await db.admin.query('INSERT INTO inventory.product (sku, name) VALUES (\'SKU-123\', \'A thing\')');
  for (const [name, pool] of [['command', db.command], ['query', db.query]] as const) {
    await pool.query('SELECT');
    secrets.put({ name, secretString: JSON.stringify({ username: pool.options.user, password: pool.options.password }) });
  }
  ({ url: secretsUrl } = await secrets.start());
  const set = JSON.stringify({ keys: [{ ...await exportJWK(keys.publicKey), kid: 'one', alg: 'ES256' }] });
  issuer = createServer((_request, response) => response.end(set));
  await new Promise<void>((resolve) => issuer.listen(0, '127.0.0.1', resolve));
  folder = await mkdtemp(join(tmpdir(), 'overload-test-'));
  const { services } = await bundleImages(join(folder, 'images'), {
    entries: { 'api-write-service': 'order-service/api-write-service/main.ts', 'api-read-service': 'order-service/api-read-service/main.ts' },
    schemas: [],
  });
  app = join(services, 'app');
});
after(async () => {
  issuer?.close();
  await secrets.stop();
  await server?.stop();
  await rm(folder, { recursive: true, force: true });
});

const ISSUER = 'https://login.example.com';
const AUDIENCE = 'orders';

/** The `Authorization` of a customer. */
async function bearer(customer: string, subject = customer): Promise<string> {
  const token = new SignJWT({ customer, scope: 'orders.read orders.write' }).setProtectedHeader({ alg: 'ES256', kid: 'one' })
    .setIssuer(ISSUER).setAudience(AUDIENCE).setSubject(subject).setIssuedAt().setExpirationTime('10 minutes');
  return `Bearer ${await token.sign(keys.privateKey)}`;
}

interface Api {
  readonly url: URL;
  readonly managementUrl: string;
  /** The most memory that the process has ever had, in bytes. */
  peak(): Promise<number>;
}

/** The API as it runs in its pod: from the files of its image, with the memory of Node.js that a container of this size gets. */
async function startApi(t: TestContext, name: string, login: string, env: NodeJS.ProcessEnv = {}): Promise<Api> {
  const endpoint = `127.0.0.1:${server.postgres.writer.port}`;
  const child = spawn(process.execPath, [
    '--max-old-space-size=256', '--max-semi-space-size=1', '--import', `data:text/javascript,process.constrainedMemory=()=>${POD}`, `${name}.js`,
  ], {
    cwd: app,
    env: {
      PATH: process.env.PATH,
      HOST: '127.0.0.1',
      PORT: '0',
      MANAGEMENT_PORT: '0',
      API_AUTHORIZATION: 'jwt',
      API_JWT_ISSUER: ISSUER,
      API_JWT_AUDIENCE: AUDIENCE,
      API_JWKS_URL: `http://127.0.0.1:${(issuer.address() as AddressInfo).port}/keys`,
      API_CUSTOMER_CLAIM: 'customer',
      LOG_LEVEL: 'info',
      DB_NAME: db.name,
      DB_SECRET_ARN: login,
      DB_WRITER_ENDPOINT: endpoint,
      AWS_REGION: 'us-east-1',
      AWS_ACCESS_KEY_ID: 'test',
      AWS_SECRET_ACCESS_KEY: 'test',
      AWS_ENDPOINT_URL_SECRETS_MANAGER: secretsUrl,
      ...env,
    },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.after(() => child.kill('SIGKILL'));
  const log = createInterface(child.stdout);
  const line = await new Promise<Record<string, string>>((resolve, reject) => {
    log.on('line', (text) => {
      const entry = JSON.parse(text) as Record<string, string>;
      if (entry.message === 'listening') resolve(entry);
    });
    child.once('exit', (code) => reject(new Error(`It ended with ${code}.`)));
  });
  const managementUrl = line.managementUrl!;
  await eventually(async () => (await fetch(`${managementUrl}/readyz`)).status, (status) => status === 200);
  return {
    url: new URL(line.url!),
    managementUrl,
    async peak() {
      const status = await readFile(`/proc/${child.pid}/status`, 'utf8');
      return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)![1]) * 1024;
    },
  };
}

const ORDER = { items: [{ sku: 'SKU-123', quantity: 1 }] };

interface Answer {
  readonly status: number;
  readonly body: { readonly orderId?: string; readonly accepted?: number; readonly results?: { readonly orderId?: string }[] };
  readonly ms: number;
  readonly retryAfter: string | undefined;
}

function post(agent: Agent, url: URL, authorization: string, body: object): Promise<Answer> {
  return new Promise((resolve, reject) => {
    let start = 0;
    const sent = request(url, { agent, method: 'POST', headers: { 'content-type': 'application/json', authorization } }, (response) => {
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
function sendHalf(url: URL, n: number, authorization: string, clients: Socket[]): Promise<{ text: string; ms: number }> {
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
    const head = [
      `POST /orders${n % 10 > 0 ? '' : '/batch'} HTTP/1.1`, 'Host: x', `Authorization: ${authorization}`,
      'Content-Type: application/json', `Content-Length: ${length}`,
    ];
    client.write(`${head.join('\r\n')}\r\n\r\n`);
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
  const { url, managementUrl, peak } = await startApi(t, 'api-write-service', 'command');
  const single = new URL('/orders', url);
  const batch = new URL('/orders/batch', url);
  const customers = await Promise.all(Array.from({ length: CUSTOMERS }, (_, n) => bearer(`customer-${n}`)));
  const merchants = await Promise.all(Array.from({ length: WAVES * BATCHES }, (_, n) => bearer(`merchant-${n}`)));
  const customer = (n: number) => customers[n % CUSTOMERS]!;
  assert.equal((await post(agent, single, customer(0), ORDER)).status, 202);
  const lock = await db.admin.connect();
  await lock.query('BEGIN; LOCK TABLE orders.orders IN ACCESS EXCLUSIVE MODE');
  const halves = Array.from({ length: HALF_SENT }, (_, n) => sendHalf(url, n, customer(n), clients));
  const asked: Promise<Answer>[] = [];
  for (let wave = 0; wave < WAVES; wave++) {
    // Before the orders of the wave, so that they are not all of the waiting line.
    for (let n = 0; n < SINGLE; n++) asked.push(post(agent, single, customer(n), ORDER));
    for (let n = 0; n < BATCHES; n++) asked.push(post(agent, batch, merchants[wave * BATCHES + n]!, { orders: Array(BATCH).fill(ORDER) }));
    await sleep(LOCKED_MS / WAVES);
    assert.equal((await fetch(`${managementUrl}/livez`)).status, 200);
  }
  await lock.query('COMMIT');
  lock.release();

  const answers = await Promise.all(asked);
  const last = await post(agent, single, customer(1), ORDER);
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

test('hundreds of lists that nobody reads: the pod keeps its memory, and others get their answers', { timeout: 60_000 }, async (t) => {
  const clients: Socket[] = [];
  t.after(() => clients.forEach((client) => client.destroy()));
  // A list of a megabyte, as one of orders with many items is, which costs the database less.
  await db.admin.query(`
    INSERT INTO orders.orders (order_id, customer_id, status, version, items, reason)
    SELECT gen_random_uuid(), 'reader', 'CANCELLED', 1, '[]', repeat('x', 10000) FROM generate_series(1, 100)`);
  const { url, managementUrl, peak } = await startApi(t, 'api-read-service', 'query', {
    DB_READER_ENDPOINT: `127.0.0.1:${server.postgres.writer.port}`,
  });
  const devices = await Promise.all(Array.from({ length: DEVICES }, (_, n) => bearer('reader', `device-${n}`)));
  const headers = { authorization: await bearer('somebody else') };
  const statuses: number[] = [];
  for (let n = 0; n < READERS; n++) {
    const client = connect({ port: Number(url.port), host: url.hostname }).on('error', () => undefined).pause();
    clients.push(client);
    client.write(`GET /orders?limit=100 HTTP/1.1\r\nHost: x\r\nAuthorization: ${devices[n % DEVICES]}\r\n\r\n`.repeat(LISTS));
    await sleep(50);
    if (n % 3 === 0) statuses.push((await fetch(new URL('/orders?limit=1', url), { headers })).status);
  }
  const rss = await peak();
  const metrics = await (await fetch(`${managementUrl}/metrics`)).text();
  const [, cut] = /^http_requests_cut_total\S* (\d+)$/m.exec(metrics)!;
  t.diagnostic(`${Math.round(rss / MIB)} MiB at most; ${cut} readers cut; answers to others ${statuses.join(' ')}`);
  assert.ok(rss < SHARE_OF_POD * POD, `${Math.round(rss / MIB)} MiB`);
  assert.ok(Number(cut) > 0);
  assert.deepEqual(new Set(statuses), new Set([200]));
});
