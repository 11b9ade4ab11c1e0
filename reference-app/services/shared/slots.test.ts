import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Slots } from './slots.ts';

test('a second piece of work starts beside the first only for many, never more than allowed', async () => {
  const slots = new Slots(2, 50, () => undefined);
  assert.ok(slots.isFree(1));
  const { promise, resolve } = Promise.withResolvers<void>();
  const works = [slots.run(() => promise)];
  assert.ok(!slots.isFree(49));
  assert.ok(slots.isFree(50));
  assert.equal(slots.free, 1);
  works.push(slots.run(() => promise));
  assert.ok(!slots.isFree(10_000));
  resolve();
  await Promise.all(works);
  assert.ok(slots.isFree(1));
  assert.equal(slots.free, 2);
});

test('work that is slow holds up nobody, and is reported', async () => {
  const freed = Promise.withResolvers<void>();
  const slots = new Slots(3, 50, () => freed.resolve());
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const slow = slots.run(() => promise);
  assert.ok(!slots.isFree(1));
  await freed.promise;
  assert.ok(slots.isFree(1));
  const quick = slots.run(() => Promise.resolve());
  assert.ok(!slots.isFree(1), 'the one that started since is not slow');
  await quick;
  assert.ok(slots.isFree(1));
  reject(new Error('failed'));
  await assert.rejects(slow, /failed/);
  assert.equal(slots.free, 3);
  const next = slots.run(() => new Promise((done) => setImmediate(done)));
  assert.ok(!slots.isFree(1), 'slow ones that ended count no more');
  await next;
  resolve();
});
