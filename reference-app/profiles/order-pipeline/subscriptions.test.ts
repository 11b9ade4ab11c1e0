import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Route } from '../queues.ts';
import { rememberBeginnings } from './subscriptions.ts';

const route = (consumer: string, rule: string, pattern: string): Route => ({ consumer, rule, pattern, queue: `${consumer}-queue`, matches: () => true });
const at = (xid: number) => ({ xid: String(xid), id: '0' });

test('the events of a consumer count from the last change of its rules', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'subscriptions-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const since = (now: number, fresh: boolean, ...routes: Route[]) =>
    Object.fromEntries(rememberBeginnings(folder, routes, at(now), fresh).map((found) => [found.rule, Number(found.since?.xid)]));
  const stock = route('stock', 'ToStock', '{"detail-type":["A"]}');
  const mail = route('mail', 'ToMail', '{"detail-type":["A"]}');

  assert.deepEqual(since(0, false, stock, mail), { ToStock: 0, ToMail: 0 });
  assert.deepEqual(since(5, false, mail, stock), { ToStock: 0, ToMail: 0 }, 'a restart changes nothing');
  assert.deepEqual(since(7, false, stock, { ...mail, pattern: '{"detail-type":["B"]}' }), { ToStock: 0, ToMail: 7 }, 'another pattern');
  assert.deepEqual(since(9, false, stock, route('stock', 'Also', '{}')), { ToStock: 9, Also: 9 }, 'one rule more');
  assert.deepEqual(since(11, false, stock), { ToStock: 11 }, 'and gone again');
  assert.deepEqual(since(0, true, stock), { ToStock: 0 }, 'forgotten with the data');
});
