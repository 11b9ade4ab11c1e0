import assert from 'node:assert/strict';
import { connect, type Socket } from 'node:net';
import { test, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import Fastify from 'fastify';
import { Registry } from 'prom-client';
import { limitBytesInFlight } from './in-flight.ts';
import type { Problem } from './problem.ts';
import { eventually } from '../testing.ts';

const KIB = 1024;
/** More than the buffers of a connection on this machine take. */
const ANSWER = 12 * 1024 * KIB;

/** A server that has room for three small requests, or for more. */
async function start(t: TestContext, room = 110 * KIB) {
  const app = Fastify({ forceCloseConnections: true });
  const registry = new Registry();
  limitBytesInFlight(app, registry, room);
  app.setErrorHandler((error: Problem, _request, reply) => reply.code(error.status).headers(error.headers).send({ detail: error.message }));
  app.post('/', async () => 'done');
  app.get('/', async () => 'done');
  const large = '.'.repeat(ANSWER);
  app.get('/large', async () => large);
  app.post('/large', async () => large);
  const never: string[] = [];
  app.get('/never', ({ url }) => new Promise(() => never.push(url)));
  const { port } = new URL(await app.listen({ host: '127.0.0.1', port: 0 }));
  const clients: Socket[] = [];
  t.after(async () => {
    for (const client of clients) client.destroy();
    await app.close();
  });
  const inFlight = async () => Number(/^http_request_bytes_in_flight (\d+)$/m.exec(await registry.metrics())?.[1]);
  const open = (text: string) => {
    const client = connect(Number(port), '127.0.0.1').setEncoding('utf8').on('error', () => undefined);
    clients.push(client);
    client.write(text);
    return client;
  };
  return {
    registry,
    inFlight,
    never,
    open,
    /** Sends a request and reads its answer to the end. */
    async ask(method: string, path: string) {
      let text = '';
      for await (const part of open(`${method} ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`)) text += String(part);
      return text;
    },
    /** Sends the head and a part of the body, and collects the answers. */
    send(length: number, part: number) {
      const client = open(`POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ${length}\r\n\r\n`);
      const got = { text: '', client };
      client.on('data', (text: string) => {
        got.text += text;
      });
      client.write(`"${'x'.repeat(length - 2)}"`.slice(0, part));
      return got;
    },
  };
}

test('a request that arrives slowly makes room for another, the oldest first; one that is young does not', { timeout: 30_000 }, async (t) => {
  const { send, inFlight, registry } = await start(t);
  const slow: ReturnType<typeof send>[] = [];
  for (const length of [200, 300, 400]) {
    slow.push(send(length, 100));
    await eventually(inFlight, (bytes) => bytes > slow.length * 32 * KIB);
  }
  const early = send(100, 100);
  await eventually(() => early.text, (text) => text.includes('detail'));
  assert.match(early.text, /^HTTP\/1\.1 503 [^]*retry-after: 1\r\n[^]*more requests arrive/i);
  await sleep(1_050);
  const late = send(100, 100);
  await eventually(() => late.text, (text) => text.endsWith('done'));
  assert.match(late.text, /^HTTP\/1\.1 200 /);
  await eventually(() => slow[0]!.text, (text) => /^HTTP\/1\.1 503 [^]*retry-after: 1\r\n[^]*this one arrives slowly/i.test(text));
  assert.deepEqual([slow[1]!.text, slow[2]!.text], ['', ''], 'there is room enough');
  slow[2]!.client.write(`${'x'.repeat(299)}"`);
  await eventually(() => slow[2]!.text, (text) => text.endsWith('done'));
  await eventually(() => slow[0]!.client.destroyed, (closed) => closed);
  // A refusal costs nobody the connection.
  early.client.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
  await eventually(() => early.text, (text) => text.endsWith('done'));
  slow[1]!.client.destroy();
  await eventually(inFlight, (bytes) => bytes === 0);
  assert.match(await registry.metrics(), /^http_requests_cut_total 1$/m);
});

test('large answers that nobody reads take no more than half of the room, and make room for others', { timeout: 30_000 }, async (t) => {
  const { ask, open, inFlight, registry } = await start(t, 5 * 2 * ANSWER);
  const readers = [1, 2].map(() => open('GET /large HTTP/1.1\r\nHost: x\r\n\r\n').pause());
  await eventually(inFlight, (bytes) => bytes === 2 * 2 * ANSWER);
  const refused = await ask('GET', '/large');
  assert.match(refused, /^HTTP\/1\.1 503 [^]*retry-after: 1\r\n[^]*more requests arrive/i);
  assert.match(await ask('GET', '/'), /done$/, 'small answers have the other half');
  assert.match(await ask('POST', '/large'), /^HTTP\/1\.1 200 [^]*\.$/, 'what may have been stored is answered');
  await sleep(1_050);
  assert.match(await ask('GET', '/large'), /^HTTP\/1\.1 200 [^]*\.$/);
  await eventually(inFlight, (bytes) => bytes === 2 * ANSWER);
  assert.match(await registry.metrics(), /^http_requests_cut_total 1$/m);
  readers.forEach((reader) => reader.destroy());
  await eventually(inFlight, (bytes) => bytes === 0);
});

test('requests that wait behind another on a connection give back their room when it is closed', { timeout: 30_000 }, async (t) => {
  const { open, inFlight, never } = await start(t);
  const client = open(['/never', '/', '/never'].map((path) => `GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`).join(''));
  await eventually(() => never.length, (count) => count === 2);
  assert.equal(await inFlight(), 3 * 32 * KIB);
  client.destroy();
  await eventually(inFlight, (bytes) => bytes === 0);
});
