import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { StandardLine } from './line.ts';
import { LongPolls } from './long-polls.ts';
import type { Client } from './long-polls.ts';
import { createMessage } from './message.ts';

const THERE: Client = { isGone: () => false, onGone: () => () => undefined };
const HOUR = 3_600_000;

test('as many are woken as there are messages for, and those that wait longest', async () => {
  const line = new StandardLine();
  const polls = new LongPolls(line, 0);
  const woken: number[] = [];
  const all = [0, 1, 2, 3].map(async (number) => {
    await polls.wait(HOUR, THERE);
    woken.push(number);
  });
  for (let count = 0; count < 12; count++) line.add(createMessage({ body: 'x' }, 0));
  polls.notify();
  while (woken.length === 0) await turn();
  assert.deepEqual([woken, polls.waiting], [[0, 1], 2]);
  polls.close();
  await Promise.all(all);
  assert.deepEqual([woken, polls.waiting], [[0, 1, 2, 3], 0]);
  await polls.wait(HOUR, THERE);
});

test('one whose client goes away waits no longer', async () => {
  const polls = new LongPolls(new StandardLine());
  let goAway = () => undefined as void;
  let listening = 0;
  const waited = polls.wait(HOUR, {
    isGone: () => false,
    onGone: (callback) => {
      goAway = callback;
      listening++;
      return () => listening--;
    },
  });
  assert.deepEqual([polls.waiting, listening], [1, 1]);
  goAway();
  await waited;
  assert.deepEqual([polls.waiting, listening], [0, 0]);
});
