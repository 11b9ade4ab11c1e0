import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createLogger } from '../telemetry.ts';
import { eventually } from '../testing.ts';
import { runDelivery, type Attempt, type Due } from './delivery.ts';

const due = (orderId: string, failures: number): Due => ({
  orderId, version: 2, outcome: 'CONFIRMED', customerId: 'jane', traceparent: undefined, idempotencyKey: `${orderId}/2`, failures,
});

test('waits for a database that is away, says so once, and goes on', async () => {
  const lines: string[] = [];
  const logger = createLogger({ service: 'test' }, { write: (line) => void lines.push(line) });
  let tries = 0;
  let delivered: readonly Attempt[] = [];
  const delivery = runDelivery({
    async deliver(send) {
      if (++tries < 3) throw new Error('no connection');
      if (tries === 3) delivered = await send([due('a', 0)]);
      return false;
    },
    sender: { channel: 'test', send: async () => {} },
    logger,
  });
  await eventually(() => delivered, (attempts) => attempts.length === 1);
  await delivery.stop();
  assert.deepEqual(delivered, [{ sent: true }]);
  assert.deepEqual(lines.map((line) => (JSON.parse(line) as { message: string }).message), ['notifications cannot be delivered now; they wait']);
});

test('a failed attempt says why and when to try again, later with each failure, and one that is woken looks at once', async () => {
  let attempts: readonly Attempt[] = [];
  let rounds = 0;
  const delivery = runDelivery({
    async deliver(send) {
      if (++rounds === 2) attempts = await send([due('a', 0), due('b', 3), due('c', 40)]);
      return false;
    },
    sender: { channel: 'test', send: async () => { throw new Error('mailbox full'); } },
    logger: createLogger({ service: 'test', level: 'silent' }),
    pollMs: 600_000,
    firstBackOffSeconds: 2,
  });
  await eventually(() => rounds, (n) => n === 1);
  delivery.wake();
  await eventually(() => attempts, ({ length }) => length === 3);
  await delivery.stop();
  assert.deepEqual(attempts, [2, 16, 3_600].map((retryInSeconds) => ({ sent: false, error: 'mailbox full', retryInSeconds })));
});

test('the first notification is sent at once, and those that are recorded soon after it together', async () => {
  const taken: number[] = [];
  const waiting: Due[] = [];
  const delivery = runDelivery({
    async deliver(send) {
      const next = waiting.splice(0);
      if (next.length > 0) taken.push((await send(next)).length);
      return false;
    },
    sender: { channel: 'test', send: async () => {} },
    logger: createLogger({ service: 'test', level: 'silent' }),
    pollMs: 600_000,
    gatherMs: 250,
  });
  for (let i = 0; i < 20; i++) {
    waiting.push(due(`${i}`, 0));
    delivery.wake();
    if (i === 0) await eventually(() => taken, ({ length }) => length === 1);
  }
  await eventually(() => taken, ({ length }) => length === 2);
  await delivery.stop();
  assert.deepEqual(taken, [1, 19]);
});
