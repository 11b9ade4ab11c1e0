import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { cpSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import type { TestContext } from 'node:test';
import {
  ChangeMessageVisibilityCommand, CreateQueueCommand, DeleteMessageCommand, DeleteQueueCommand, GetQueueAttributesCommand,
  GetQueueUrlCommand, ListQueueTagsCommand, ReceiveMessageCommand, SendMessageBatchCommand, SendMessageCommand,
  SetQueueAttributesCommand, SQSClient,
} from '@aws-sdk/client-sqs';
import { SqsEndpoint } from './endpoint.ts';
import { clientOf } from '../../test/sqs-client.ts';
import { atEnd, eventually, temporaryFolder } from '../../test/temporary.ts';
import { PortTakenError } from '../processes/ports.ts';

const account = '000000000000';
const arn = (name: string) => `arn:aws:sqs:us-east-1:${account}:${name}`;

async function endpoint(context: TestContext, dataDir: string, gatheringMs?: number) {
  const sqs = await SqsEndpoint.start({ dataDir, region: 'us-east-1', ...(gatheringMs !== undefined && { gatheringMs }) });
  const dead = JSON.stringify({ deadLetterTargetArn: arn('dead'), maxReceiveCount: 2 });
  sqs.createQueue({ name: 'dead', arn: arn('dead'), attributes: {} }, account);
  sqs.createQueue({ name: 'orders', arn: arn('orders'), attributes: { VisibilityTimeout: '60', RedrivePolicy: dead } }, account);
  sqs.createQueue({ name: 'slow.fifo', arn: arn('slow.fifo'), attributes: { FifoQueue: 'true', ContentBasedDeduplication: 'true' } }, account);
  const { client, stop } = clientOf(context, sqs);
  const QueueUrl = sqs.queueUrl('orders', account);
  return { sqs, client, QueueUrl, stop };
}

test('queue URLs are full addresses on loopback, and the SDK finds the queue by name too', async (context) => {
  const { client, QueueUrl } = await endpoint(context, temporaryFolder(context));
  assert.match(QueueUrl, /^http:\/\/127\.0\.0\.1:\d+\/000000000000\/orders$/);
  assert.equal((await client.send(new GetQueueUrlCommand({ QueueName: 'orders' }))).QueueUrl, QueueUrl);
});

test('after a restart every message is where it was: waiting, in flight with its receipt, delayed, dead, and in order', async (context) => {
  const dataDir = temporaryFolder(context);
  const first = await endpoint(context, dataDir);
  const { QueueUrl } = first;
  await first.client.send(new SendMessageBatchCommand({ QueueUrl, Entries: ['a', 'b', 'c'].map((Id) => ({ Id, MessageBody: Id })) }));
  await first.client.send(new SendMessageCommand({ QueueUrl, MessageBody: 'later', DelaySeconds: 600 }));
  for (const MessageBody of ['1', '2']) await first.client.send(new SendMessageCommand({ QueueUrl: first.sqs.queueUrl('slow.fifo', account), MessageBody, MessageGroupId: 'g' }));
  const { Messages: [inFlight] = [] } = await first.client.send(new ReceiveMessageCommand({ QueueUrl }));
  const { Messages: [returned] = [] } = await first.client.send(new ReceiveMessageCommand({ QueueUrl }));
  await first.client.send(new ChangeMessageVisibilityCommand({ QueueUrl, ReceiptHandle: returned?.ReceiptHandle, VisibilityTimeout: 0 }));
  assert.deepEqual([inFlight?.Body, returned?.Body], ['a', 'b']);
  await first.stop();

  const second = await endpoint(context, dataDir);
  assert.deepEqual(second.sqs.depth('orders'), { visible: 2, inFlight: 1, delayed: 1 });
  const again = { QueueUrl: second.sqs.queueUrl('orders', account) };
  await second.client.send(new DeleteMessageCommand({ ...again, ReceiptHandle: inFlight?.ReceiptHandle }));
  assert.deepEqual(second.sqs.depth('orders'), { visible: 2, inFlight: 0, delayed: 1 });
  const { Messages = [] } = await second.client.send(new ReceiveMessageCommand({ ...again, MaxNumberOfMessages: 10, MessageSystemAttributeNames: ['All'] }));
  const counts = Object.fromEntries(Messages.map(({ Body, Attributes }) => [Body, Attributes?.ApproximateReceiveCount]));
  assert.deepEqual(counts, { b: '2', c: '1' });
  const fifo = await second.client.send(new ReceiveMessageCommand({ QueueUrl: second.sqs.queueUrl('slow.fifo', account), MaxNumberOfMessages: 10 }));
  assert.equal(fifo.Messages?.[0]?.Body, '1');
});

test('a killed run loses no message, brings back none that is done, and knows who has one', async (context) => {
  const dataDir = temporaryFolder(context);
  const running = await endpoint(context, dataDir);
  const { client, QueueUrl } = running;
  await client.send(new SendMessageBatchCommand({ QueueUrl, Entries: ['a', 'b', 'c'].map((Id) => ({ Id, MessageBody: Id })) }));
  const { Messages: [a] = [] } = await client.send(new ReceiveMessageCommand({ QueueUrl }));
  await client.send(new DeleteMessageCommand({ QueueUrl, ReceiptHandle: a?.ReceiptHandle }));
  await client.send(new ReceiveMessageCommand({ QueueUrl }));
  // The files of this moment are what the next start would find.
  const copy = temporaryFolder(context);
  cpSync(dataDir, copy, { recursive: true });
  const next = await endpoint(context, copy);
  assert.deepEqual(next.sqs.bodies('orders').sort(), ['b', 'c']);
  assert.deepEqual(next.sqs.depth('orders'), { visible: 1, inFlight: 1, delayed: 0 });
});

test('what is received too often moves to the dead-letter queue and is there after a restart, once', async (context) => {
  const dataDir = temporaryFolder(context);
  const first = await endpoint(context, dataDir);
  const { QueueUrl } = first;
  await first.client.send(new SendMessageCommand({ QueueUrl, MessageBody: 'poison' }));
  for (let receive = 0; receive < 3; receive++) await first.client.send(new ReceiveMessageCommand({ QueueUrl, VisibilityTimeout: 0 }));
  assert.deepEqual([first.sqs.depth('orders').visible, first.sqs.depth('dead').visible], [0, 1]);
  await first.stop();
  const second = await endpoint(context, dataDir);
  assert.deepEqual([second.sqs.depth('orders').visible, second.sqs.depth('dead').visible], [0, 1]);
});

test('a queue gets the attributes of its definition at every start', async (context) => {
  const dataDir = temporaryFolder(context);
  await (await endpoint(context, dataDir)).stop();
  const sqs = await SqsEndpoint.start({ dataDir, region: 'us-east-1' });
  atEnd(context, () => sqs.stop());
  sqs.createQueue({ name: 'orders', arn: arn('orders'), attributes: { VisibilityTimeout: '7' } }, account);
  const client = new SQSClient({ region: 'us-east-1', endpoint: sqs.url, credentials: { accessKeyId: 'local', secretAccessKey: 'local' } });
  const { Attributes } = await client.send(new GetQueueAttributesCommand({ QueueUrl: sqs.queueUrl('orders', account), AttributeNames: ['All'] }));
  client.destroy();
  assert.equal(Attributes?.VisibilityTimeout, '7');
  assert.equal(Attributes?.RedrivePolicy, undefined);
});

test('a message does not go to a consumer that was killed while it waited', async (context) => {
  const { sqs, client, QueueUrl } = await endpoint(context, temporaryFolder(context));
  const { port } = new URL(sqs.url);
  const body = JSON.stringify({ QueueUrl, WaitTimeSeconds: 20 });
  const socket = connect(Number(port), '127.0.0.1');
  socket.write([
    'POST / HTTP/1.1', `Host: 127.0.0.1:${port}`, 'Content-Type: application/x-amz-json-1.0', 'X-Amz-Target: AmazonSQS.ReceiveMessage',
    `Content-Length: ${body.length}`, '', body,
  ].join('\r\n'));
  // The request has arrived once the queue has somebody waiting; then the consumer dies silently.
  await eventually(() => sqs.waiting('orders') === 1, 'the long poll');
  socket.resetAndDestroy();
  await new Promise((resolve) => socket.once('close', resolve));
  await client.send(new SendMessageCommand({ QueueUrl, MessageBody: 'for somebody else' }));
  const received = await eventually(async () =>
    (await client.send(new ReceiveMessageCommand({ QueueUrl, MessageSystemAttributeNames: ['All'] }))).Messages?.[0], 'the message', 10_000);
  assert.equal(received.Body, 'for somebody else');
  assert.equal(received.Attributes?.ApproximateReceiveCount, '1');
});

test('a message ends one long poll, not all of them, and a burst as many as it can fill', async (context) => {
  const { sqs, client, QueueUrl } = await endpoint(context, temporaryFolder(context));
  sqs.addPolicy(['orders'], [{ Effect: 'Allow', Principal: '*', Action: '*' }]);
  const caller = { service: 'events.amazonaws.com', sourceArn: 'arn', sourceAccount: account };
  const received: number[] = [];
  const polls = Array.from({ length: 5 }, async () => {
    const { Messages = [] } = await client.send(new ReceiveMessageCommand({ QueueUrl, MaxNumberOfMessages: 10, WaitTimeSeconds: 20 }));
    received.push(Messages.length);
  });
  await eventually(() => sqs.waiting('orders') === 5, 'five long polls');
  sqs.deliver(arn('orders'), '1', caller);
  await eventually(() => received.length === 1, 'the first answer');
  assert.equal(sqs.waiting('orders'), 4);
  for (let message = 0; message < 12; message++) sqs.deliver(arn('orders'), '2', caller);
  await eventually(() => received.length === 3, 'two more answers');
  assert.equal(sqs.waiting('orders'), 2);
  assert.deepEqual(received, [1, 10, 2]);
  for (let message = 0; message < 11; message++) sqs.deliver(arn('orders'), '3', caller);
  await Promise.all(polls);
});

test('while messages come one after another, long polls get several at a time, and the first at once', async (context) => {
  const { sqs, client, QueueUrl } = await endpoint(context, temporaryFolder(context), 2_000);
  sqs.addPolicy(['orders'], [{ Effect: 'Allow', Principal: '*', Action: '*' }]);
  const deliver = () => sqs.deliver(arn('orders'), 'm', { service: 'events.amazonaws.com', sourceArn: 'arn', sourceAccount: account });
  const received: number[] = [];
  const poll = async () => {
    const { Messages = [] } = await client.send(new ReceiveMessageCommand({ QueueUrl, MaxNumberOfMessages: 10, WaitTimeSeconds: 20 }));
    received.push(Messages.length);
  };
  const polls = Array.from({ length: 3 }, poll);
  await eventually(() => sqs.waiting('orders') === 3, 'three long polls');
  const began = performance.now();
  deliver();
  await eventually(() => received.length === 1, 'the first message');
  assert.ok(performance.now() - began < 1_500);
  for (let message = 0; message < 4; message++) {
    deliver();
    await new Promise((resolve) => setImmediate(resolve));
  }
  // One that comes now waits for more, one that can't wait does not.
  const late = poll();
  const { Messages = [] } = await client.send(new ReceiveMessageCommand({ QueueUrl, WaitTimeSeconds: 0 }));
  assert.deepEqual([received, Messages.length], [[1], 1]);
  await eventually(() => received.length === 2, 'the others');
  assert.deepEqual(received, [1, 3]);
  for (let message = 0; message < 20; message++) deliver();
  await Promise.all([...polls, late]);
  assert.deepEqual(received.slice(2), [10, 10]);
});

describe('deliveries of EventBridge', () => {
  const caller = { service: 'events.amazonaws.com', sourceArn: 'arn:aws:events:us-east-1:000000000000:rule/r', sourceAccount: account };
  const allow = { Effect: 'Allow', Principal: { Service: caller.service }, Action: 'sqs:SendMessage', Resource: '*' };

  test('need a policy that lets them', async (context) => {
    const { sqs, client, QueueUrl } = await endpoint(context, temporaryFolder(context));
    assert.throws(() => sqs.deliver(arn('orders'), '{}', caller), { code: 'NO_PERMISSIONS' });
    assert.throws(() => sqs.deliver(arn('nowhere'), '{}', caller), { code: 'NO_RESOURCE' });
    sqs.addPolicy(['orders'], [allow]);
    sqs.deliver(arn('orders'), '{"a":1}', caller, { messageAttributes: { ERROR_CODE: 'X' } });
    const { Messages: [message] = [] } = await client.send(new ReceiveMessageCommand({ QueueUrl, MessageAttributeNames: ['All'] }));
    assert.deepEqual([message?.Body, message?.MessageAttributes?.ERROR_CODE?.StringValue], ['{"a":1}', 'X']);
  });

  test('to a FIFO queue need a group, and the same body is one message', async (context) => {
    const { sqs } = await endpoint(context, temporaryFolder(context));
    sqs.addPolicy(['slow.fifo'], [allow]);
    assert.throws(() => sqs.deliver(arn('slow.fifo'), '{}', caller), { code: 'INVALID_PARAMETER' });
    const body = randomUUID();
    for (let time = 0; time < 2; time++) sqs.deliver(arn('slow.fifo'), body, caller, { messageGroupId: 'g' });
    assert.equal(sqs.depth('slow.fifo').visible, 1);
  });
});

test('a taken port names its option', async (context) => {
  const { sqs } = await endpoint(context, temporaryFolder(context));
  await assert.rejects(SqsEndpoint.start({ dataDir: temporaryFolder(context), region: 'us-east-1', port: Number(new URL(sqs.url).port) }),
    (error) => error instanceof PortTakenError && error.message.includes('--port sqs='));
});

test('a long poll that its client has given up takes no message', async (context) => {
  const { client, QueueUrl, sqs } = await endpoint(context, temporaryFolder(context));
  for (let round = 0; round < 40; round++) {
    const givenUp = new AbortController();
    const poll = () => client.send(new ReceiveMessageCommand({ QueueUrl, WaitTimeSeconds: 20 }), { abortSignal: givenUp.signal });
    const polls = [1, 2, 3].map(() => poll().catch(() => undefined));
    await eventually(() => sqs.waiting('orders') === 3, 'the polls');
    givenUp.abort();
    await Promise.all(polls);
    await client.send(new SendMessageCommand({ QueueUrl, MessageBody: String(round) }));
    const { Messages: [message] = [] } = await client.send(new ReceiveMessageCommand({ QueueUrl, WaitTimeSeconds: 1 }));
    assert.equal(message?.Body, String(round));
    await client.send(new DeleteMessageCommand({ QueueUrl, ReceiptHandle: message!.ReceiptHandle }));
  }
});

test('a queue that the API has made is there after a restart with all that belongs to it', async (context) => {
  const dataDir = temporaryFolder(context);
  const first = await endpoint(context, dataDir);
  const policy = JSON.stringify({ deadLetterTargetArn: arn('dead'), maxReceiveCount: 1 });
  const { QueueUrl: made } = await first.client.send(new CreateQueueCommand({ QueueName: 'made', Attributes: { VisibilityTimeout: '7' }, tags: { team: 'orders' } }));
  await first.client.send(new SetQueueAttributesCommand({ QueueUrl: made, Attributes: { RedrivePolicy: policy } }));
  await first.client.send(new CreateQueueCommand({ QueueName: 'deleted' }));
  await first.client.send(new SendMessageCommand({ QueueUrl: first.sqs.queueUrl('deleted', account), MessageBody: 'gone' }));
  await first.client.send(new DeleteQueueCommand({ QueueUrl: first.sqs.queueUrl('deleted', account) }));
  await first.client.send(new SendMessageCommand({ QueueUrl: made, MessageBody: 'poison' }));
  await first.client.send(new ReceiveMessageCommand({ QueueUrl: made, VisibilityTimeout: 0 }));
  await first.stop();

  const second = await endpoint(context, dataDir);
  const QueueUrl = second.sqs.queueUrl('made', account);
  const { Attributes } = await second.client.send(new GetQueueAttributesCommand({ QueueUrl, AttributeNames: ['All'] }));
  assert.deepEqual([Attributes?.VisibilityTimeout, Attributes?.RedrivePolicy], ['7', policy]);
  assert.deepEqual((await second.client.send(new ListQueueTagsCommand({ QueueUrl }))).Tags, { team: 'orders' });
  await assert.rejects(second.client.send(new GetQueueUrlCommand({ QueueName: 'deleted' })), { name: 'QueueDoesNotExist' });
  await second.client.send(new ReceiveMessageCommand({ QueueUrl }));
  assert.deepEqual([second.sqs.bodies('made'), second.sqs.bodies('dead'), second.sqs.orphans()], [[], ['poison'], []]);
});

test('a queue of the templates takes the place of one that the API has made, with its messages', async (context) => {
  const dataDir = temporaryFolder(context);
  const { client, sqs, stop } = await endpoint(context, dataDir);
  const { QueueUrl } = await client.send(new CreateQueueCommand({ QueueName: 'later', Attributes: { VisibilityTimeout: '7' } }));
  await client.send(new SendMessageCommand({ QueueUrl, MessageBody: 'kept' }));
  await sqs.written();
  sqs.createQueue({ name: 'later', arn: arn('later'), attributes: { VisibilityTimeout: '8' } }, account);
  const { Attributes } = await client.send(new GetQueueAttributesCommand({ QueueUrl, AttributeNames: ['VisibilityTimeout'] }));
  assert.deepEqual([Attributes?.VisibilityTimeout, sqs.bodies('later')], ['8', ['kept']]);
  await stop();
});

test('after a restart, nothing of a group is given out while its consumer may still have the first', async (context) => {
  const dataDir = temporaryFolder(context);
  const first = await endpoint(context, dataDir);
  const queue = (sqs: SqsEndpoint) => ({ QueueUrl: sqs.queueUrl('slow.fifo', account) });
  for (const MessageBody of ['1', '2']) await first.client.send(new SendMessageCommand({ ...queue(first.sqs), MessageBody, MessageGroupId: 'g' }));
  const { Messages: [one] = [] } = await first.client.send(new ReceiveMessageCommand(queue(first.sqs)));
  await first.stop();
  const second = await endpoint(context, dataDir);
  assert.equal((await second.client.send(new ReceiveMessageCommand(queue(second.sqs)))).Messages, undefined);
  await second.client.send(new DeleteMessageCommand({ ...queue(second.sqs), ReceiptHandle: one?.ReceiptHandle }));
  assert.equal((await second.client.send(new ReceiveMessageCommand(queue(second.sqs)))).Messages?.[0]?.Body, '2');
});

test('attributes and trace header of a message are there after a restart', async (context) => {
  const dataDir = temporaryFolder(context);
  const first = await endpoint(context, dataDir);
  const header = 'Root=1-5759e988-bd862e3fe1be46a994272793';
  const sent = await first.client.send(new SendMessageCommand({
    QueueUrl: first.QueueUrl,
    MessageBody: 'x',
    MessageAttributes: { a: { DataType: 'Binary', BinaryValue: Uint8Array.of(1, 255) } },
    MessageSystemAttributes: { AWSTraceHeader: { DataType: 'String', StringValue: header } },
  }));
  await first.stop();
  const second = await endpoint(context, dataDir);
  const { Messages: [message] = [] } = await second.client.send(new ReceiveMessageCommand({
    QueueUrl: second.QueueUrl, MessageAttributeNames: ['All'], MessageSystemAttributeNames: ['All'],
  }));
  assert.deepEqual([message?.MessageId, message?.MD5OfMessageAttributes], [sent.MessageId, sent.MD5OfMessageAttributes]);
  assert.equal(message?.Attributes?.AWSTraceHeader, header);
  assert.deepEqual([...message?.MessageAttributes?.a?.BinaryValue ?? []], [1, 255]);
});

test('the messages of a data folder from before are found', async (context) => {
  const dataDir = temporaryFolder(context);
  await (await endpoint(context, dataDir)).stop();
  const database = new (process.getBuiltinModule('node:sqlite').DatabaseSync)(join(dataDir, 'sqs', 'queues.db'));
  // As it was written by the emulator that the endpoint was built on.
  const message = { messageId: randomUUID(), md5OfBody: 'm', messageAttributes: {}, md5OfMessageAttributes: '', sentTimestamp: Date.now(), approximateReceiveCount: 0 };
  database.prepare('insert into queued (queue, message, body, receive_count) values (?, ?, ?, 0)').run('orders', JSON.stringify(message), 'old');
  database.close();
  const { client, QueueUrl } = await endpoint(context, dataDir);
  const { Messages: [found] = [] } = await client.send(new ReceiveMessageCommand({ QueueUrl, MessageAttributeNames: ['All'] }));
  assert.deepEqual([found?.Body, found?.MessageId, found?.MessageAttributes], ['old', message.messageId, undefined]);
  await client.send(new DeleteMessageCommand({ QueueUrl, ReceiptHandle: found?.ReceiptHandle }));
});

test('the endpoint stops at once while consumers wait, and refuses what web pages send', async (context) => {
  const { sqs, client, QueueUrl } = await endpoint(context, temporaryFolder(context));
  const poll = client.send(new ReceiveMessageCommand({ QueueUrl, WaitTimeSeconds: 20 }));
  await eventually(() => sqs.waiting('orders') === 1, 'the long poll');
  const response = await fetch(sqs.url, { method: 'POST', body: new URLSearchParams({ Action: 'SendMessage', QueueUrl, MessageBody: 'from a page' }) });
  assert.deepEqual([response.status, sqs.bodies('orders')], [403, []]);
  const began = performance.now();
  await sqs.stop();
  assert.equal((await poll).Messages, undefined);
  assert.ok(performance.now() - began < 10_000);
});

test('after a restart, a group is locked too by a message that its consumer has and that is not the first', async (context) => {
  const dataDir = temporaryFolder(context);
  const first = await endpoint(context, dataDir);
  const queue = (sqs: SqsEndpoint) => ({ QueueUrl: sqs.queueUrl('slow.fifo', account) });
  for (const MessageBody of ['1', '2']) await first.client.send(new SendMessageCommand({ ...queue(first.sqs), MessageBody, MessageGroupId: 'g' }));
  const { Messages: [one] = [] } = await first.client.send(new ReceiveMessageCommand({ ...queue(first.sqs), MaxNumberOfMessages: 10 }));
  const back = { ReceiptHandle: one?.ReceiptHandle, VisibilityTimeout: 0 };
  await first.client.send(new ChangeMessageVisibilityCommand({ ...queue(first.sqs), ...back }));
  await first.stop();
  const second = await endpoint(context, dataDir);
  assert.equal((await second.client.send(new ReceiveMessageCommand(queue(second.sqs)))).Messages, undefined);
});
