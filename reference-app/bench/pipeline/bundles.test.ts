import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BUNDLES, eventsIn, messagesOf, NO_BUNDLES } from './bundles.ts';
import { confirmedEvent, randomOrder, UNIFORM, validatedEvent } from './orders.ts';
import { seeded } from '../../load/random.ts';
import { parseMessage, type EventEnvelope } from '../../services/shared/events/index.ts';

test('events are in messages as the relay sends them, each once, and are counted without being parsed', () => {
  const random = seeded(1);
  const makers = [validatedEvent, confirmedEvent];
  const events = Array.from({ length: 200 }, (_, i) => makers[i % 2]!(randomOrder(UNIFORM, random)));
  const read = (messages: readonly string[]) => messages.flatMap((body) => parseMessage(body).map((event) => {
    if (event instanceof Error) throw event;
    return event;
  }));
  const ids = (list: readonly EventEnvelope[]) => list.map(({ id }) => id).sort();
  for (const bundles of [BUNDLES, NO_BUNDLES]) {
    const messages = messagesOf(events, bundles);
    assert.deepEqual(ids(read(messages)), ids(events));
    assert.equal(messages.reduce((sum, message) => sum + eventsIn(message), 0), events.length);
    for (const message of messages) assert.ok(message.length <= BUNDLES.bundleBytes + 500);
  }
  assert.equal(messagesOf(events, NO_BUNDLES).length, 200);
  // Two types, and about 75 events in 60 KB.
  assert.equal(messagesOf(events, BUNDLES).length, 4);
  assert.equal(eventsIn(messagesOf(events.slice(0, 1), BUNDLES)[0]!), 1, 'a bundle of one');
});
