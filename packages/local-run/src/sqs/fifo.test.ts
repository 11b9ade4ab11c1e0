import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { ChangeMessageVisibilityCommand, DeleteMessageCommand, ReceiveMessageCommand, SendMessageCommand } from '@aws-sdk/client-sqs';
import { SqsEndpoint } from './endpoint.ts';
import { clientOf } from '../../test/sqs-client.ts';
import { eventually, temporaryFolder } from '../../test/temporary.ts';

const account = '000000000000';
const arn = (name: string) => `arn:aws:sqs:us-east-1:${account}:${name}`;

async function endpoint(context: TestContext, dataDir = temporaryFolder(context)) {
  const sqs = await SqsEndpoint.start({ dataDir, region: 'us-east-1' });
  const fifo = { FifoQueue: 'true', ContentBasedDeduplication: 'true' };
  sqs.createQueue({ name: 'dead.fifo', arn: arn('dead.fifo'), attributes: fifo }, account);
  const RedrivePolicy = JSON.stringify({ deadLetterTargetArn: arn('dead.fifo'), maxReceiveCount: 2 });
  sqs.createQueue({ name: 'orders.fifo', arn: arn('orders.fifo'), attributes: { ...fifo, RedrivePolicy } }, account);
  sqs.createQueue({ name: 'fair', arn: arn('fair'), attributes: {} }, account);
  const { client, stop } = clientOf(context, sqs);
  const url = (name: string) => ({ QueueUrl: sqs.queueUrl(name, account) });
  return {
    sqs,
    stop,
    send: (MessageBody: string, MessageGroupId: string, name = 'orders.fifo') => client.send(new SendMessageCommand({ ...url(name), MessageBody, MessageGroupId })),
    receive: async (MaxNumberOfMessages = 10, VisibilityTimeout = 60, name = 'orders.fifo') => (await client.send(new ReceiveMessageCommand({
      ...url(name), MaxNumberOfMessages, VisibilityTimeout, MessageSystemAttributeNames: ['All'],
    }))).Messages ?? [],
    done: (ReceiptHandle?: string) => client.send(new DeleteMessageCommand({ ...url('orders.fifo'), ReceiptHandle })),
    fail: (ReceiptHandle?: string) => client.send(new ChangeMessageVisibilityCommand({ ...url('orders.fifo'), ReceiptHandle, VisibilityTimeout: 0 })),
  };
}

const bodies = (messages: readonly { Body?: string }[]) => messages.map(({ Body }) => Body);

test('a receive takes what there is of a group; nothing of it is given out before that is done', async (context) => {
  const { send, receive, done, fail } = await endpoint(context);
  for (const body of ['1', '2', '3', '4']) await send(body, 'a');
  const batch = await receive(3);
  assert.deepEqual(bodies(batch), ['1', '2', '3']);
  await send('x', 'b');
  assert.deepEqual(bodies(await receive()), ['x'], 'another group goes on');
  // The consumer does the first and fails from the second on.
  await done(batch[0]?.ReceiptHandle);
  await fail(batch[2]?.ReceiptHandle);
  assert.deepEqual(bodies(await receive()), [], 'the second is still in hand');
  await fail(batch[1]?.ReceiptHandle);
  assert.deepEqual(bodies(await receive()), ['2', '3', '4']);
});

test('what nobody has finished in time comes back in order, and what never succeeds gets out of the way', async (context) => {
  const { sqs, send, receive } = await endpoint(context);
  for (const body of ['1', '2', '3']) await send(body, 'a');
  assert.deepEqual(bodies(await receive(3, 1)), ['1', '2', '3']);
  const second = await eventually(async () => { const all = await receive(1, 1); return all.length > 0 && all; }, 'the second time');
  assert.deepEqual(bodies(second), ['1']);
  const third = await eventually(async () => { const all = await receive(); return all.length > 0 && all; }, 'the third time');
  assert.deepEqual([bodies(third), sqs.bodies('dead.fifo')], [['2', '3'], ['1']]);
});

test('the same body is one message within five minutes, after a restart too', async (context) => {
  const dataDir = temporaryFolder(context);
  const first = await endpoint(context, dataDir);
  const one = await first.send('same', 'a');
  assert.equal((await first.send('same', 'a')).MessageId, one.MessageId);
  await first.done((await first.receive())[0]?.ReceiptHandle);
  await first.stop();
  const second = await endpoint(context, dataDir);
  assert.equal((await second.send('same', 'a')).MessageId, one.MessageId);
  assert.deepEqual(second.sqs.bodies('orders.fifo'), []);
  context.mock.timers.enable({ apis: ['Date'], now: Date.now() + 5 * 60_000 + 1 });
  await second.send('same', 'a');
  assert.deepEqual(second.sqs.bodies('orders.fifo'), ['same']);
});

test('a standard queue takes groups, for fairness, and locks none', async (context) => {
  const { send, receive } = await endpoint(context);
  for (const body of ['1', '2']) await send(body, 'tenant', 'fair');
  const [one] = await receive(1, 60, 'fair');
  const [two] = await receive(1, 60, 'fair');
  assert.deepEqual([one?.Body, two?.Body, two?.Attributes?.MessageGroupId], ['1', '2', 'tenant']);
});
