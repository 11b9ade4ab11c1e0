import assert from 'node:assert/strict';
import { cpSync } from 'node:fs';
import { Socket } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { QueueJournal } from './journal.ts';
import { MoveTasks } from './move-tasks.ts';
import { handleSqs } from './server.ts';
import { QueueStore } from './store.ts';
import { atEnd, temporaryFolder } from '../../test/temporary.ts';
import type { LocalRequest } from '../http/server.ts';

function queues(context: TestContext) {
  const folder = temporaryFolder(context);
  const journal = new QueueJournal(join(folder, 'sqs'));
  const store = new QueueStore({ journal, clock: () => Date.now(), region: 'us-east-1', account: '000000000000', maxInFlight: 100 });
  atEnd(context, () => { store.stop(); journal.close(); });
  const queue = store.create('orders', {});
  const moveTasks = new MoveTasks(store);
  const logged: string[] = [];
  const call = (action: string, input: object, socket = new Socket()) => {
    const request: LocalRequest = {
      method: 'POST',
      path: '/',
      headers: { 'x-amz-target': `AmazonSQS.${action}` },
      protocol: 'json',
      socket,
      body: JSON.stringify({ QueueUrl: '/000000000000/orders', ...input }),
    };
    return handleSqs(request, 'request', { store, moveTasks }, (_, message) => logged.push(message));
  };
  return { folder, queue, store, call, logged };
}

test('the answer comes when the message is written down, and not before', async (context) => {
  const { folder, call } = queues(context);
  await call('SendMessage', { MessageBody: 'kept' });
  // The files of this moment are what the next start would find after a kill.
  const copy = temporaryFolder(context);
  cpSync(folder, copy, { recursive: true });
  const journal = new QueueJournal(join(copy, 'sqs'));
  atEnd(context, () => journal.close());
  assert.deepEqual(journal.load('orders').map(({ body }) => body), ['kept']);
});

test('messages whose consumer is gone before it has the answer go back uncounted', async (context) => {
  const { queue, call } = queues(context);
  await call('SendMessage', { MessageBody: 'x' });
  const gone = new Socket();
  gone.destroy();
  await call('ReceiveMessage', {}, gone);
  assert.deepEqual([queue.depth(), queue.first()?.approximateReceiveCount], [{ visible: 1, inFlight: 0, delayed: 0 }, 0]);
});

test('a failure of the endpoint itself is logged, and its answer does not name it', async (context) => {
  const { queue, call, logged } = queues(context);
  queue.receive = () => { throw new Error('broken inside'); };
  const { status, body } = await call('ReceiveMessage', {});
  assert.deepEqual([status, /InternalFailure/.test(String(body)), /broken/.test(String(body))], [500, true, false]);
  assert.match(logged[0] ?? '', /broken inside/);
});
