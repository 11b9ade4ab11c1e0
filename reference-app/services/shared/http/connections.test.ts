import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { test, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { Registry } from 'prom-client';
import { createApp, type ApiLimits } from './app.ts';
import { withoutAuthorization } from './caller.ts';
import { createLogger } from '../telemetry.ts';
import { eventually, silentLogger } from '../testing.ts';
import { serve } from './route.ts';

const MIB = 1024 * 1024;

/** An API with a slow thing, a large one and a small one. */
async function api(t: TestContext, limits: ApiLimits, logger = silentLogger()) {
  const registry = new Registry();
  const app = createApp({ logger, registry, ready: () => true, authentication: withoutAuthorization, ...limits });
  const get = (path: string, handler: () => Promise<unknown>) => serve(app, {
    method: 'GET', path, summary: 'A thing', scope: 'orders.read', answers: { 200: { description: 'It.' } },
  }, handler);
  const answers: (() => void)[] = [];
  get('/thing', async () => ({}));
  get('/slow', () => new Promise((resolve) => answers.push(() => resolve({}))));
  get('/large', async () => 'x'.repeat(8 * MIB));
  const { port } = new URL(await app.listen({ host: '127.0.0.1', port: 0 }));
  t.after(() => app.close());
  const open = () => {
    const socket = connect(Number(port), '127.0.0.1').on('error', () => undefined);
    t.after(() => socket.destroy());
    return socket;
  };
  return { app, registry, answers, open };
}

test('a new connection takes the place of the one that has waited for a request for longest; while all have one, it is closed', async (t) => {
  const { registry, answers, open: connection } = await api(t, { maxConnections: 3 });
  const open = (...paths: string[]) => {
    const socket = connection().setEncoding('utf8');
    const got = {
      text: '',
      closed: false,
      ask: (path: string) => socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`),
    };
    socket.on('data', (text: string) => {
      got.text += text;
    });
    socket.once('close', () => {
      got.closed = true;
    });
    paths.forEach(got.ask);
    return got;
  };
  const times = (text: string) => text.split('HTTP/1.1 200 ').length - 1;
  const first = open();
  const second = open('/thing');
  await eventually(() => second.text, (text) => times(text) === 1);
  first.ask('/thing');
  await eventually(() => first.text, (text) => times(text) === 1);
  // The second has waited for longer than the first by now, and each that takes the last place makes the next one free.
  const third = open('/thing', '/slow');
  await eventually(() => answers.length, (count) => count === 1);
  assert.deepEqual([first.closed, second.closed, third.closed], [false, true, false]);
  first.ask('/slow');
  const fourth = open('/slow');
  await eventually(() => answers.length, (count) => count === 3);
  const fifth = open('/thing');
  await eventually(() => fifth.closed, (closed) => closed);
  assert.deepEqual([first.closed, third.closed, fourth.closed, fifth.text], [false, false, false, '']);
  answers.forEach((answer) => answer());
  for (const [client, count] of [[first, 2], [third, 2], [fourth, 1]] as const) {
    await eventually(() => client.text, (text) => times(text) === count);
  }
  await eventually(() => open('/thing'), ({ closed }) => !closed);
  const metrics = await registry.metrics();
  assert.match(metrics, /^http_connections_refused_total 1$/m);
});

test('a client that resets its connection at once is no error', async (t) => {
  const lines: string[] = [];
  const logger = createLogger({ service: 'test', level: 'info' }, { write: (line) => void lines.push(line) });
  const { app, open } = await api(t, { rates: { perAddress: 10, perSubject: 0 } }, logger);
  let arrived = 0;
  app.server.on('request', () => arrived++);
  for (let n = 0; n < 50; n++) {
    const socket = open();
    socket.on('connect', () => socket.write('GET /thing HTTP/1.1\r\nHost: x\r\n\r\n', () => socket.resetAndDestroy()));
  }
  await eventually(() => arrived, (count) => count >= 40);
  await app.close();
  assert.equal(lines.length, 0, lines[0]);
});

test('a route that says nothing of its scope cannot be registered', () => {
  const app = createApp({ logger: silentLogger(), registry: new Registry(), ready: () => true, authentication: withoutAuthorization });
  assert.throws(() => app.get('/open', async () => 'everything'), /\/open says nothing of the scope that it needs; register it with serve/);
});

test('a client that does not read its answer is cut, one that reads slowly is not', { timeout: 20_000 }, async (t) => {
  const { app, open } = await api(t, {});
  assert.equal(app.server.timeout, 20_000);
  app.server.timeout = 200;
  const reader = () => {
    const socket = open().pause();
    socket.write('GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
    return socket;
  };
  const connections = async () => promisify(app.server.getConnections.bind(app.server))();
  reader();
  await eventually(connections, (count) => count === 1);
  await eventually(connections, (count) => count === 0);
  const slow = reader();
  let read = 0;
  while (!slow.readableEnded && !slow.destroyed) {
    await sleep(1);
    read += (slow.read() as Buffer | null)?.length ?? 0;
  }
  assert.ok(read > 8 * MIB, String(read));
});

