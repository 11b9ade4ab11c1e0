import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const SCRIPT = fileURLToPath(new URL('load-test.ts', import.meta.url));

function run(env: NodeJS.ProcessEnv, ...args: string[]): Promise<{ code: number; out: string; err: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [SCRIPT, ...args], { env: { PATH: process.env.PATH, ...env } }, (error, out, err) =>
      resolve({ code: error ? Number(error.code) : 0, out, err }));
  });
}

/** An API that answers as `status` says, and remembers what it was sent. */
async function api(status: (call: number) => number, delayMs = 0) {
  const requests: { url?: string; key?: string; token?: string; body: string }[] = [];
  const server = createServer((request, response) => {
    let body = '';
    request.on('data', (text) => (body += text)).on('end', async () => {
      const { 'idempotency-key': key, authorization: token } = request.headers;
      const call = requests.push({ url: request.url, key: String(key), token, body }) - 1;
      await sleep(delayMs);
      response.writeHead(status(call)).end('{}');
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { requests, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, close: () => server.close() };
}

test('sends every order once with a key of its own, and reports', async () => {
  const { requests, url, close } = await api(() => 202);
  const { code, out } = await run({ API_URL: `${url}/shop`, API_TOKEN: 'secret' }, '--orders', '40', '--rate', '400', '--path', '/api/orders', '--json');
  close();
  assert.equal(code, 0);
  const report = JSON.parse(out) as { sent: number; answers: object; latencyMs: { p50: number; p99: number } };
  assert.equal(report.sent, 40);
  assert.deepEqual(report.answers, { 202: 40 });
  assert.ok(report.latencyMs.p99 >= report.latencyMs.p50 && report.latencyMs.p50 > 0);
  assert.equal(new Set(requests.map(({ key }) => key)).size, 40);
  assert.ok(requests.every(({ url: path, token, body }) => path === '/shop/api/orders' && token === 'Bearer secret' && JSON.parse(body).items.length > 0));
  assert.doesNotMatch(out, /secret/);
});

test('counts answers that are no 202, repeats none of them, and ends with 1', async () => {
  const { requests, url, close } = await api((call) => (call % 4 === 0 ? 503 : 202));
  const { code, out } = await run({ API_URL: url }, '--orders', '20', '--rate', '200');
  close();
  assert.equal(code, 1);
  assert.equal(requests.length, 20);
  assert.match(out, /answers +202: 15, 503: 5/);
  const gone = await run({ API_URL: url }, '--orders', '3', '--rate', '100');
  assert.equal(gone.code, 1);
  assert.match(gone.out, /ECONNREFUSED: 3/);
});

test('latency counts from the intended send time, so a slow API with one connection cannot hide its queue', async () => {
  const { url, close } = await api(() => 202, 50);
  const { out } = await run({ API_URL: url }, '--orders', '20', '--rate', '200', '--connections', '1', '--json');
  close();
  const { latencyMs } = JSON.parse(out) as { latencyMs: { max: number } };
  // The last of twenty was meant to leave after 95 ms and waits for nineteen others of 50 ms.
  assert.ok(latencyMs.max > 700, `${latencyMs.max} ms`);
});

test('orders only the products that are asked for, and the same ones for the same seed', async () => {
  const { requests, url, close } = await api(() => 202);
  const args = ['--orders', '10', '--rate', '500', '--sku', 'A', '--sku', 'B', '--seed', '5'];
  await run({ API_URL: url }, ...args);
  await run({ API_URL: url }, ...args);
  close();
  const bodies = requests.map(({ body }) => body);
  assert.deepEqual(bodies.slice(0, 10).sort(), bodies.slice(10).sort());
  assert.ok(bodies.every((body) => !/SKU-|prod-/.test(body)));
});

test('wrong usage is one sentence and exit code 2; --help explains', async () => {
  for (const [env, args, sentence] of [
    [{}, [], /API_URL is not set/],
    [{ API_URL: 'localhost:3000' }, [], /API_URL must be an http or https address, not 'localhost:3000'/],
    [{ API_URL: 'http://127.0.0.1:1' }, ['--rate', '0'], /--rate expects a number above 0, not '0'/],
    [{ API_URL: 'http://127.0.0.1:1' }, ['--orders', '1.5'], /--orders expects a whole number from 1/],
    [{ API_URL: 'http://127.0.0.1:1' }, ['--orders', '1', '--duration', '1'], /exclude each other/],
    [{ API_URL: 'http://127.0.0.1:1' }, ['--speed', '1'], /--speed/],
  ] as [NodeJS.ProcessEnv, string[], RegExp][]) {
    const { code, err, out } = await run(env, ...args);
    assert.equal(code, 2);
    assert.match(err, sentence);
    assert.equal(out, '');
  }
  const help = await run({}, '--help');
  assert.equal(help.code, 0);
  assert.match(help.out, /API_URL/);
});
