import assert from 'node:assert/strict';
import { mock, test, type TestContext } from 'node:test';
import fc from 'fast-check';
import { Registry } from 'prom-client';
import { Allowances } from './allowances.ts';
import { createApp, type ApiLimits } from './app.ts';
import type { Authentication, Caller } from './caller.ts';
import { memoryBudget } from '../memory.ts';
import { silentLogger } from '../testing.ts';
import type { ProblemBody } from './problem.ts';
import { serve } from './route.ts';

const MIB = 1024 * 1024;

/** An API whose callers say themselves who they are: a customer by its name, an operator with a star. */
function api(t: TestContext, limits: ApiLimits) {
  let authenticated = 0;
  const authentication: Authentication = {
    ready: () => true,
    authenticate(header = ''): Caller {
      authenticated++;
      return { subject: header, customerId: header.startsWith('*') ? undefined : header };
    },
  };
  const registry = new Registry();
  const app = createApp({ logger: silentLogger(), registry, ready: () => true, authentication, ...limits });
  serve(app, { method: 'GET', path: '/thing', summary: 'A thing', scope: 'orders.read', answers: { 200: { description: 'It.' } } }, async () => ({}));
  t.after(() => app.close());
  const get = (remoteAddress: string, authorization = 'somebody', url = '/thing') => app.inject({ url, remoteAddress, headers: { authorization } });
  const statuses = async (times: number, ...request: Parameters<typeof get>) => {
    const all: number[] = [];
    for (let n = 0; n < times; n++) all.push((await get(...request)).statusCode);
    return all;
  };
  return { app, registry, get, statuses, authenticated: () => authenticated };
}

test('an address that sends too many requests is refused before anybody asks who it is, and others are not', async (t) => {
  t.mock.timers.enable({ apis: ['Date'] });
  const { get, statuses, authenticated, registry } = api(t, { rates: { perAddress: 3, perSubject: 0 } });
  assert.deepEqual(await statuses(5, '10.0.0.1'), [200, 200, 200, 429, 429]);
  assert.equal(authenticated(), 3);
  const refused = await get('10.0.0.1', 'somebody', '/nowhere');
  assert.equal(refused.statusCode, 429, 'also where there is nothing');
  assert.equal(refused.headers['retry-after'], '1');
  const { type, detail } = refused.json<ProblemBody>();
  assert.deepEqual([type, detail], [
    'urn:cdk-order-pipeline:problem:too-many-requests', 'More than 3 requests per second come from this address; send fewer, and this one again later.',
  ]);
  assert.deepEqual(await statuses(4, '::ffff:10.0.0.2'), [200, 200, 200, 429]);
  assert.deepEqual(await statuses(1, '10.0.0.2'), [429], 'the same address, written otherwise');
  assert.deepEqual([...await statuses(3, '2001:db8::1'), ...await statuses(1, '2001:db8::ffff:2')], [200, 200, 200, 429], 'a network of IPv6 is one address');
  assert.deepEqual(await statuses(1, '2001:db8:0:1::1'), [200]);
  // Behind a proxy in the pod, everybody has this address.
  for (const loopback of ['127.0.0.1', '::1', '::ffff:127.0.0.1']) assert.deepEqual(new Set(await statuses(10, loopback)), new Set([200]));
  t.mock.timers.tick(1_000);
  assert.deepEqual(await statuses(1, '10.0.0.1'), [200]);
  assert.match(await registry.metrics(), /^http_requests_limited_total\{limit="address"\} 6$/m);
});

test('a subject that sends too many requests is refused, wherever it sends them from; operators and other subjects are not', async (t) => {
  let now = 0;
  t.mock.method(performance, 'now', () => now);
  const { get, statuses, registry } = api(t, { rates: { perAddress: 0, perSubject: 2 } });
  assert.deepEqual([...await statuses(1, '10.0.0.1', 'anna'), ...await statuses(2, '10.0.0.2', 'anna')], [200, 200, 429]);
  assert.deepEqual(await statuses(2, '10.0.0.1', 'bert'), [200, 200]);
  assert.deepEqual(new Set(await statuses(20, '10.0.0.1', '*operator')), new Set([200]));
  const long = 'x'.repeat(5_000);
  assert.deepEqual(await statuses(3, '10.0.0.1', `${long}1`), [200, 200, 429]);
  assert.deepEqual(await statuses(1, '10.0.0.1', `${long}2`), [200]);
  assert.match((await get('10.0.0.3', 'anna')).json<ProblemBody>().detail, /come from this subject/);
  now += 500;
  assert.deepEqual(await statuses(2, '10.0.0.1', 'anna'), [200, 429], 'evenly over the second');
  assert.match(await registry.metrics(), /^http_requests_limited_total\{limit="subject"\} 4$/m);
});

test('a batch counts as its orders: it goes through as a whole, and its subject waits until it has made up for it', async (t) => {
  let now = 0;
  t.mock.method(performance, 'now', () => now);
  const { app, get } = api(t, { rates: { perAddress: 0, perSubject: 50 } });
  const answers = { 200: { description: 'Them.' } };
  serve(app, { method: 'GET', path: '/batch', summary: 'Many things', scope: 'orders.read', answers }, async (request) => {
    // Its body arrives later than its head.
    await new Promise((resolve) => setTimeout(resolve, 20));
    request.countOrders(500);
    return {};
  });
  const ask = async (subject: string, url: string) => {
    const { statusCode, headers } = await get('10.0.0.1', subject, url);
    return [statusCode, headers['retry-after']];
  };
  const atOnce = await Promise.all(Array.from({ length: 20 }, () => ask('anna', '/batch')));
  assert.equal(atOnce.filter(([status]) => status === 200).length, 1, 'of many that come at once, one');
  assert.deepEqual(await ask('bert', '/thing'), [200, undefined], 'and nobody else waits for it');
  assert.deepEqual(await ask('*operator', '/batch'), [200, undefined]);
  assert.deepEqual(await ask('*operator', '/batch'), [200, undefined]);
  assert.deepEqual(await ask('anna', '/thing'), [429, '10']);
  now += 8_000;
  assert.deepEqual(await ask('anna', '/batch'), [429, '2']);
  now += 2_000;
  assert.deepEqual(await ask('anna', '/batch'), [200, undefined]);
});

test('of whatever mixture of requests and batches, a subject gets its rate in the long run, and at most one batch more', () => {
  fc.assert(fc.property(
    fc.integer({ min: 1, max: 100 }),
    fc.array(fc.tuple(fc.nat(2_000), fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 500 })), { minLength: 1, maxLength: 200 }),
    (perSecond, requests) => {
      const clock = mock.method(performance, 'now', () => now);
      let now = 0;
      let done = 0;
      const allowances = new Allowances(perSecond, 10);
      for (const [pause, atOnce, orders] of requests) {
        now += pause;
        const begun = Array.from({ length: atOnce }, () => allowances.take('anna')).filter((seconds) => seconds === undefined).length;
        done += begun;
        for (let n = 0; n < begun; n++) if (allowances.take('anna', orders - 1) === undefined) done += orders - 1;
      }
      clock.mock.restore();
      assert.ok(done <= perSecond * (now / 1_000 + 1) + 499 + 1e-6, `${done} in ${now} ms`);
    },
  ));
});

test('0 is no limit, and the memory of the limits has one', async (t) => {
  t.mock.timers.enable({ apis: ['Date'] });
  const free = api(t, { rates: { perAddress: 0, perSubject: 0 } });
  assert.deepEqual(new Set(await free.statuses(100, '10.0.0.1', 'anna')), new Set([200]));
  const { statuses } = api(t, { rates: { perAddress: 1, perSubject: 0 } });
  assert.deepEqual(await statuses(2, '10.0.0.1'), [200, 429]);
  for (let n = 0; n < 5_000; n++) await statuses(1, `10.1.${n >> 8}.${n & 255}`, 'x', '/nowhere');
  assert.deepEqual(await statuses(1, '10.0.0.1'), [200], 'the oldest of 5,001 is forgotten');
});

test('the pod is as large as the limit of its container, or 256 MiB', (t) => {
  // Node.js gives 2^44 MiB, or 0, where there is no limit.
  for (const [limit, pod] of [[512 * MIB, 512 * MIB], [2 ** 64, 256 * MIB], [0, 256 * MIB]] as const) {
    t.mock.method(process, 'constrainedMemory', () => limit);
    assert.deepEqual(memoryBudget(), memoryBudget(pod));
  }
});

test('what requests may hold fits into the pod, whatever its size', () => {
  fc.assert(fc.property(fc.integer({ min: 64, max: 16 * 1024 }), (mib) => {
    const pod = mib * MIB;
    const { bytesInFlight, waitingOrders, connections } = memoryBudget(pod);
    const most = bytesInFlight + waitingOrders * 5 * 1024 + connections * 12 * 1024;
    // Beside 100 MiB of the idle program; a pod that is hardly larger serves a little.
    assert.ok(most <= Math.max(0.7 * pod - 100 * MIB, 0.1 * pod) && most > 0.09 * pod, `${most} of ${pod}`);
  }));
  const { bytesInFlight, waitingOrders, connections } = memoryBudget(256 * MIB);
  assert.deepEqual([Math.round(bytesInFlight / MIB), waitingOrders, connections], [40, 3_244, 2_027], 'as the documents say');
});
