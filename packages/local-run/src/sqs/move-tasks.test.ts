import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import {
  CancelMessageMoveTaskCommand, DeleteMessageCommand, ListDeadLetterSourceQueuesCommand, ListMessageMoveTasksCommand, ReceiveMessageCommand,
  SendMessageCommand, StartMessageMoveTaskCommand,
} from '@aws-sdk/client-sqs';
import type { Message } from '@aws-sdk/client-sqs';
import { SqsEndpoint } from './endpoint.ts';
import { clientOf } from '../../test/sqs-client.ts';
import { eventually, temporaryFolder } from '../../test/temporary.ts';

const account = '000000000000';
const arn = (name: string) => `arn:aws:sqs:us-east-1:${account}:${name}`;
const redriveTo = (name: string) => JSON.stringify({ deadLetterTargetArn: arn(name), maxReceiveCount: 1 });

async function endpoint(context: TestContext, dataDir = temporaryFolder(context), allow?: object) {
  const sqs = await SqsEndpoint.start({ dataDir, region: 'us-east-1' });
  const make = (name: string, attributes: Record<string, string> = {}) => sqs.createQueue({ name, arn: arn(name), attributes }, account);
  make('dead', allow && { RedriveAllowPolicy: JSON.stringify(allow) });
  make('orders', { RedrivePolicy: redriveTo('dead') });
  make('stock', { RedrivePolicy: redriveTo('dead') });
  make('elsewhere');
  make('dead.fifo', { FifoQueue: 'true' });
  make('orders.fifo', { FifoQueue: 'true', RedrivePolicy: redriveTo('dead.fifo') });
  const { client, stop } = clientOf(context, sqs);
  const url = (name: string) => sqs.queueUrl(name, account);
  const send = (name: string, MessageBody: string, more: object = {}) =>
    client.send(new SendMessageCommand({ QueueUrl: url(name), MessageBody, ...more }));
  const receive = async (name: string, VisibilityTimeout = 60): Promise<Message[]> => (await client.send(new ReceiveMessageCommand({
    QueueUrl: url(name), MaxNumberOfMessages: 10, VisibilityTimeout, MessageSystemAttributeNames: ['All'], MessageAttributeNames: ['All'],
  }))).Messages ?? [];
  /** Receives once more than the queue allows, as a consumer does that always fails. */
  const die = async (name: string, into = 'dead') => {
    const before = sqs.depth(into).visible;
    const count = sqs.depth(name).visible;
    await eventually(async () => { await receive(name, 0); return sqs.depth(into).visible === before + count; }, 'the dead letters');
  };
  const start = (SourceArn: string, more: object = {}) => client.send(new StartMessageMoveTaskCommand({ SourceArn, ...more }));
  const tasks = async (name: string, MaxResults?: number) =>
    (await client.send(new ListMessageMoveTasksCommand({ SourceArn: arn(name), MaxResults }))).Results ?? [];
  const ended = (name = 'dead') => eventually(async () => { const [task] = await tasks(name); return task && task.Status !== 'RUNNING' && task; }, 'the end of the task');
  return { sqs, client, stop, url, send, receive, die, start, tasks, ended };
}

test('every dead letter goes back to the queue that it came from, as a new message', async (context) => {
  const { sqs, client, send, receive, die, start, ended, url } = await endpoint(context);
  const { MessageId } = await send('orders', 'o', { MessageAttributes: { trace: { DataType: 'String', StringValue: 't' } } });
  await send('stock', 's');
  await die('orders');
  await die('stock');
  const { queueUrls } = await client.send(new ListDeadLetterSourceQueuesCommand({ QueueUrl: url('dead') }));
  assert.deepEqual(queueUrls, [url('orders'), url('stock')]);
  assert.deepEqual((await receive('dead', 0)).map(({ Body, Attributes }) => [Body, Attributes?.DeadLetterQueueSourceArn]), [['o', arn('orders')], ['s', arn('stock')]]);

  const { TaskHandle } = await start(arn('dead'));
  assert.ok(TaskHandle);
  const { StartedTimestamp, ...task } = await ended();
  assert.ok(Math.abs(Date.now() - (StartedTimestamp ?? 0)) < 60_000);
  assert.deepEqual(task, { SourceArn: arn('dead'), Status: 'COMPLETED', ApproximateNumberOfMessagesMoved: 2, ApproximateNumberOfMessagesToMove: 2 });
  assert.deepEqual(sqs.depth('dead'), { visible: 0, inFlight: 0, delayed: 0 });
  const [order] = await receive('orders');
  assert.deepEqual([order?.Body, order?.Attributes?.ApproximateReceiveCount, order?.MessageAttributes?.trace?.StringValue], ['o', '1', 't']);
  assert.notEqual(order?.MessageId, MessageId);
  assert.deepEqual((await receive('stock')).map(({ Body }) => Body), ['s']);
});

test('what was sent to the dead-letter queue directly needs a destination', async (context) => {
  const { sqs, send, start, ended, tasks } = await endpoint(context);
  await send('dead', 'from a rule');
  await start(arn('dead'));
  const failed = await ended();
  assert.deepEqual([failed.Status, failed.FailureReason, sqs.bodies('dead')], ['FAILED', 'CouldNotDetermineMessageSource', ['from a rule']]);
  await start(arn('dead'), { DestinationArn: arn('elsewhere') });
  const moved = await ended();
  assert.deepEqual([moved.Status, moved.DestinationArn, sqs.bodies('elsewhere'), sqs.bodies('dead')], ['COMPLETED', arn('elsewhere'), ['from a rule'], []]);
  assert.deepEqual((await tasks('dead', 10)).map(({ Status }) => Status), ['COMPLETED', 'FAILED']);
});

test('a slow move can be cancelled, keeps its rate, and is the only one of its queue', async (context) => {
  const { sqs, client, send, die, start, tasks, ended } = await endpoint(context);
  for (let order = 0; order < 8; order++) await send('orders', String(order));
  await die('orders');
  const began = Date.now();
  const { TaskHandle } = await start(arn('dead'), { MaxNumberOfMessagesPerSecond: 2 });
  await assert.rejects(start(arn('dead')), { name: 'InvalidParameterValue', message: /^There is already a task running/ });
  const [running] = await tasks('dead');
  assert.deepEqual([running?.Status, running?.TaskHandle, running?.MaxNumberOfMessagesPerSecond], ['RUNNING', TaskHandle, 2]);
  await eventually(() => sqs.depth('orders').visible >= 1, 'the first message');
  assert.ok(Date.now() - began >= 490, 'one message takes half a second');
  const { ApproximateNumberOfMessagesMoved = 0 } = await client.send(new CancelMessageMoveTaskCommand({ TaskHandle }));
  assert.equal((await ended()).Status, 'CANCELLED');
  assert.deepEqual([sqs.depth('orders').visible, sqs.depth('dead').visible], [ApproximateNumberOfMessagesMoved, 8 - ApproximateNumberOfMessagesMoved]);
  await assert.rejects(client.send(new CancelMessageMoveTaskCommand({ TaskHandle })), { name: 'ResourceNotFoundException', message: 'Task does not exist.' });
});

test('wrong requests get the errors of SQS', async (context) => {
  const { client, start, url } = await endpoint(context);
  const refused = (more: object, name: string, message: RegExp) => assert.rejects(start(arn('dead'), more), { name, message });
  await assert.rejects(start(arn('elsewhere')), { name: 'InvalidParameterValue', message: 'Source queue must be configured as a Dead Letter Queue.' });
  await assert.rejects(start(arn('nowhere')), (error: Error & { $metadata?: { httpStatusCode?: number } }) => (
    error.name === 'ResourceNotFoundException' && /SourceArn parameter doesn't exist/.test(error.message) && error.$metadata?.httpStatusCode === 404));
  await refused({ DestinationArn: arn('nowhere') }, 'ResourceNotFoundException', /DestinationArn parameter doesn't exist/);
  await refused({ DestinationArn: arn('dead') }, 'InvalidParameterValue', /must be different/);
  await refused({ DestinationArn: arn('orders.fifo') }, 'InvalidParameterValue', /FIFO/);
  await refused({ MaxNumberOfMessagesPerSecond: 501 }, 'InvalidParameterValue', /Must be between 1 and 500/);
  const cancel = (TaskHandle: string) => client.send(new CancelMessageMoveTaskCommand({ TaskHandle }));
  const handle = (sourceArn: string) => Buffer.from(JSON.stringify({ taskId: 'x', sourceArn })).toString('base64');
  await assert.rejects(cancel('nonsense'), { name: 'InvalidParameterValue', message: 'Value for parameter TaskHandle is invalid.' });
  await assert.rejects(cancel(handle(arn('nowhere'))), { name: 'ResourceNotFoundException', message: /SourceArn/ });
  await assert.rejects(cancel(handle(arn('dead'))), { name: 'ResourceNotFoundException', message: 'Task does not exist.' });
  await assert.rejects(client.send(new ListDeadLetterSourceQueuesCommand({ QueueUrl: url('nowhere') })), { name: 'QueueDoesNotExist' });
  await assert.rejects(client.send(new ListMessageMoveTasksCommand({ SourceArn: arn('dead'), MaxResults: 11 })), { name: 'InvalidParameterValue' });
});

test('the sources are listed page by page', async (context) => {
  const { client, url } = await endpoint(context);
  const page = (NextToken?: string) => client.send(new ListDeadLetterSourceQueuesCommand({ QueueUrl: url('dead'), MaxResults: 1, NextToken }));
  const first = await page();
  const second = await page(first.NextToken);
  assert.deepEqual([first.queueUrls, second.queueUrls, second.NextToken], [[url('orders')], [url('stock')], undefined]);
});

test('a move goes on after a restart, and neither loses nor doubles a message', async (context) => {
  const dataDir = temporaryFolder(context);
  const first = await endpoint(context, dataDir);
  const bodies = Array.from({ length: 12 }, (_, index) => `m${index}`);
  for (const body of bodies) await first.send('orders', body);
  await first.die('orders');
  await first.start(arn('dead'), { MaxNumberOfMessagesPerSecond: 8 });
  await eventually(() => first.sqs.depth('orders').visible >= 2, 'some messages');
  await first.stop();
  const second = await endpoint(context, dataDir);
  assert.equal((await second.tasks('dead'))[0]?.Status, 'RUNNING');
  const task = await second.ended();
  assert.deepEqual([task.Status, task.ApproximateNumberOfMessagesMoved], ['COMPLETED', 12]);
  assert.deepEqual(second.sqs.bodies('orders').sort(), bodies.sort());
  assert.deepEqual(second.sqs.bodies('dead'), []);
});

test('of a FIFO queue, the groups come back in order', async (context) => {
  const { client, send, receive, die, start, ended, url } = await endpoint(context);
  for (const body of ['1', '2', '3']) await send('orders.fifo', body, { MessageGroupId: 'a', MessageDeduplicationId: body });
  await die('orders.fifo', 'dead.fifo');
  await start(arn('dead.fifo'));
  assert.equal((await ended('dead.fifo')).ApproximateNumberOfMessagesMoved, 3);
  const seen: string[] = [];
  await eventually(async () => {
    for (const { Body, ReceiptHandle, Attributes } of await receive('orders.fifo')) {
      assert.equal(Attributes?.MessageGroupId, 'a');
      seen.push(Body ?? '');
      await client.send(new DeleteMessageCommand({ QueueUrl: url('orders.fifo'), ReceiptHandle }));
    }
    return seen.length === 3;
  }, 'all messages');
  assert.deepEqual(seen, ['1', '2', '3']);
});

test('a queue that RedriveAllowPolicy does not name keeps its failed messages', async (context) => {
  const { sqs, send, receive, die } = await endpoint(context, undefined, { redrivePermission: 'byQueue', sourceQueueArns: [arn('orders')] });
  await send('stock', 's');
  await eventually(async () => (await receive('stock', 0)).some(({ Attributes }) => Number(Attributes?.ApproximateReceiveCount) > 2), 'a third receive');
  assert.deepEqual(sqs.bodies('dead'), []);
  await send('orders', 'o');
  await die('orders');
  assert.deepEqual(sqs.bodies('dead'), ['o']);
});
