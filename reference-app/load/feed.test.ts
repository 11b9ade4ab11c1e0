import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { feed } from './feed.ts';
import { httpClient } from './http-client.ts';
import { openLoop } from './open-loop.ts';
import type { PlannedOrder } from './orders.ts';

const order = (n: number): PlannedOrder => ({ body: { customerId: `c${n}`, items: [] }, expect: 'EITHER' });
const orders = (count: number) => Array.from({ length: count }, (_, n) => order(n));

/** An intake that remembers orders by key, and fails as `misbehave` says: by an answer, or (0) by hanging up after it has stored. */
async function intake(misbehave: (call: number) => number | undefined) {
  const stored = new Map<string, string>();
  let calls = 0;
  const server = createServer((request, response) => {
    const key = String(request.headers['idempotency-key']);
    request.resume().on('end', () => {
      const status = misbehave(calls++);
      if (status !== undefined && status !== 0) return void response.writeHead(status, { 'retry-after': '0' }).end('{"title":"no"}');
      if (!stored.has(key)) stored.set(key, `order-${stored.size}`);
      if (status === 0) return void request.socket.destroy();
      response.writeHead(202).end(JSON.stringify({ orderId: stored.get(key) }));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const client = httpClient(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  const close = () => {
    client.close();
    server.close();
    server.closeAllConnections();
  };
  return { stored, client, close };
}

test('failed tries are repeated with the same key until every order is accepted, once', async () => {
  const { stored, client, close } = await intake((call) => [503, undefined, 0, 429, undefined][call % 5]);
  const result = await feed({ orders: orders(60), rate: 2000, client });
  close();
  assert.equal(result.accepted.length, 60);
  assert.equal(stored.size, 60);
  assert.equal(new Set(result.accepted.map(({ orderId }) => orderId)).size, 60);
  assert.ok(result.retries > 0);
  assert.ok([...stored.keys()].every((key) => key.startsWith(result.keyPrefix)));
});

test('a refusal is not repeated, and an order without an answer is reported apart', async () => {
  const refusing = await intake(() => 400);
  const refused = await feed({ orders: orders(3), rate: 1000, client: refusing.client });
  refusing.close();
  assert.deepEqual([refused.accepted.length, refused.refused.length, refused.retries], [0, 3, 0]);
  assert.match(refused.refused[0]!.reason, /^400 .*no/);

  const silent = await intake(() => 503);
  const unanswered = await feed({ orders: orders(2), rate: 1000, client: silent.client, patienceMs: 200 });
  silent.close();
  assert.deepEqual([unanswered.accepted.length, unanswered.refused.length, unanswered.unanswered.length], [0, 0, 2]);
});

test('open loop: slow answers do not slow the sending, and the wait counts from the intended time', async () => {
  const intendedTimes: number[] = [];
  let open = 0;
  let most = 0;
  await openLoop(Array(20).keys(), 200, async (_, intended) => {
    intendedTimes.push(intended);
    most = Math.max(most, ++open);
    await sleep(300);
    open--;
  });
  assert.ok(most > 10, `${most} at once`);
  intendedTimes.slice(1).forEach((time, index) => assert.ok(Math.abs(time - intendedTimes[index]! - 5) < 0.001));
});

test('stops at once when it is aborted', async () => {
  const stop = new AbortController();
  let sent = 0;
  const done = openLoop(Array(1000).keys(), 1, async () => void sent++, stop.signal);
  stop.abort();
  await done;
  assert.ok(sent <= 1);
});
