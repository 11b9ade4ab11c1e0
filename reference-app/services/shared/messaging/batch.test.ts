import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Batch, countEvents, hold, takeEvents } from './batch.ts';
import type { Result } from './gate-reference.ts';
import { newEvent, newId } from '../events/index.ts';

const EVENTS = Array.from({ length: 12 }, () => {
  const orderId = newId();
  return newEvent({
    type: 'order.created',
    source: '/order-service',
    subject: orderId,
    sequence: 1,
    cause: { id: newId() },
    data: { orderId, customerId: 'c', items: [{ sku: 'A', quantity: 1 }], createdAt: new Date().toISOString() },
  });
});
const UNREADABLE = { ...EVENTS[0]!, id: 'no uuid' };

/** What a message has: numbers of events, or undefined for one that can't be read. One event alone is in no bundle. */
const contents = fc.array(fc.option(fc.nat(EVENTS.length - 1), { nil: undefined, freq: 8 }), { minLength: 1, maxLength: 6 });
const FATES = ['ok', 'duplicate', 'ignored', 'parked', 'retry', 'failure'] as const satisfies (Result | 'failure')[];

function messageOf(numbers: readonly (number | undefined)[]) {
  const events = numbers.map((number) => (number === undefined ? UNREADABLE : EVENTS[number]!));
  return hold({ Body: JSON.stringify(events.length === 1 ? events[0] : { events }), Attributes: { ApproximateReceiveCount: '2' } }, 0);
}

test('a message is done with when all of its events are, and comes again with the failed ones only', () => {
  const fates = fc.array(fc.constantFrom(...FATES), { minLength: EVENTS.length, maxLength: EVENTS.length });
  fc.assert(fc.property(fc.array(contents, { maxLength: 10 }), fates, (all, fateOf) => {
    const isDone = (number: number | undefined) => number !== undefined && !['retry', 'failure'].includes(fateOf[number]!);
    const held = all.map(messageOf);
    const counted: string[] = [];
    const batch = new Batch(held, (_type, result) => counted.push(result));
    const distinct = [...new Set(all.flat())].filter((number) => number !== undefined);
    assert.deepEqual(batch.events.map(({ id }) => id), distinct.map((number) => EVENTS[number]!.id), 'the handler gets each event once');

    const [failing, answered] = [distinct.filter((number) => fateOf[number] === 'failure'), distinct.filter((number) => fateOf[number] !== 'failure')];
    const applied = batch.settle({
      outcomes: answered.map((number) => ({ eventId: EVENTS[number]!.id, result: fateOf[number] as Result })),
      failures: failing.map((number) => ({ event: EVENTS[number]!, error: new Error('failed') })),
    });
    assert.deepEqual(applied.map(({ id }) => id), distinct.filter((number) => fateOf[number] === 'ok').map((number) => EVENTS[number]!.id));

    const { done, failed } = batch.messages;
    assert.deepEqual(done, held.filter((_, i) => all[i]!.every(isDone)));
    assert.deepEqual(failed.map((message) => message.held), held.filter((_, i) => !all[i]!.every(isDone)));
    const idOf = (number: number | undefined) => (number === undefined ? undefined : EVENTS[number]!.id);
    assert.deepEqual(
      failed.map(({ events }) => events.map(({ event }) => event?.id)),
      all.filter((numbers) => !numbers.every(isDone)).map((numbers) => numbers.filter((number) => !isDone(number)).map(idOf)),
    );
    const copies = all.flat().filter((number) => number !== undefined).length - distinct.length;
    assert.equal(counted.length, distinct.filter(isDone).length + copies, 'each event is counted once, and each copy');
  }));
});

test('a transaction takes as many whole messages as the limit of events allows, and never none', () => {
  fc.assert(fc.property(fc.array(contents, { minLength: 1, maxLength: 12 }), fc.integer({ min: 1, max: 20 }), (all, most) => {
    const waiting = all.map(messageOf);
    const everything = [...waiting];
    const batches: unknown[] = [];
    while (waiting.length > 0) {
      const before = waiting.length;
      const taken = takeEvents(waiting, most);
      assert.ok(taken.length > 0 && taken.length + waiting.length === before);
      assert.ok(taken.length === 1 || countEvents(taken) <= most);
      if (waiting.length > 0) assert.ok(countEvents(taken) + countEvents(waiting.slice(0, 1)) > most, 'it could have taken another');
      batches.push(...taken);
    }
    assert.deepEqual(batches, everything);
  }));
});
