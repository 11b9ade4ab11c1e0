import assert from 'node:assert/strict';
import {
  ChangeMessageVisibilityBatchCommand, ChangeMessageVisibilityCommand, DeleteMessageBatchCommand, DeleteMessageCommand,
} from '@aws-sdk/client-sqs';
import type { MessageSystemAttributeName, QueueAttributeName } from '@aws-sdk/client-sqs';
import { apiPage, failed, guidePage, refused } from './bench.ts';
import type { Bench, Check } from './bench.ts';

const VISIBILITY = guidePage('sqs-visibility-timeout');
const remove = ({ client }: Bench, QueueUrl: string, ReceiptHandle?: string) => client.send(new DeleteMessageCommand({ QueueUrl, ReceiptHandle }));
const hide = ({ client }: Bench, QueueUrl: string, ReceiptHandle: string | undefined, VisibilityTimeout: number) =>
  client.send(new ChangeMessageVisibilityCommand({ QueueUrl, ReceiptHandle, VisibilityTimeout }));

async function queueWith(bench: Bench, ...bodies: string[]): Promise<string> {
  const url = await bench.queue();
  for (const body of bodies) await bench.send(url, body);
  return url;
}

async function queueWithAttributes(bench: Bench): Promise<string> {
  const url = await bench.queue();
  const value = { DataType: 'String', StringValue: 'v' };
  await bench.send(url, 'x', { MessageAttributes: { 'one': value, 'two.a': value, 'two.b': value } });
  return url;
}

export const receiveChecks: readonly Check[] = [
  {
    id: 'receive-default',
    source: apiPage('ReceiveMessage'),
    rule: 'Without MaxNumberOfMessages, one message is received.',
    run: async (bench) => assert.equal((await bench.receive(await queueWith(bench, 'a', 'b'), { MaxNumberOfMessages: undefined })).length, 1),
  },
  {
    id: 'receive-most',
    source: apiPage('ReceiveMessage'),
    rule: 'MaxNumberOfMessages is 1 to 10.',
    run: async (bench) => {
      const url = await queueWith(bench, 'a');
      for (const MaxNumberOfMessages of [0, 11, -1]) await refused(bench.receive(url, { MaxNumberOfMessages }), 'InvalidParameterValue', /between 1 and 10/);
    },
  },
  {
    id: 'receive-none',
    source: apiPage('ReceiveMessage'),
    rule: 'Of an empty queue, no list of messages is received.',
    run: async (bench) => {
      const answer = await bench.post('AmazonSQS.ReceiveMessage', JSON.stringify({ QueueUrl: await bench.queue() }));
      assert.deepEqual([answer.status, answer.text], [200, '{}']);
    },
  },
  {
    id: 'receive-wait-limits',
    source: apiPage('ReceiveMessage'),
    rule: 'WaitTimeSeconds is 0 to 20.',
    run: async (bench) => {
      const url = await queueWith(bench, 'a');
      for (const WaitTimeSeconds of [-1, 21]) await refused(bench.receive(url, { WaitTimeSeconds }), 'InvalidParameterValue', /<= 20/);
    },
  },
  {
    id: 'receive-wait-ends',
    source: guidePage('sqs-short-and-long-polling'),
    rule: 'A long poll ends when a message comes.',
    run: async (bench) => {
      const url = await bench.queue();
      const poll = bench.bodies(url, { WaitTimeSeconds: 20 });
      await bench.send(url, 'x');
      assert.deepEqual(await poll, ['x']);
    },
  },
  {
    id: 'receive-wait-of-queue',
    source: guidePage('sqs-short-and-long-polling'),
    rule: 'ReceiveMessageWaitTimeSeconds of the queue counts for a receive without WaitTimeSeconds.',
    run: async (bench) => {
      const url = await bench.queue({ ReceiveMessageWaitTimeSeconds: '20' });
      const poll = bench.bodies(url);
      assert.deepEqual(await bench.bodies(url, { WaitTimeSeconds: 0 }), []);
      await bench.send(url, 'x');
      assert.deepEqual(await poll, ['x']);
    },
  },
  {
    id: 'receive-wait-delayed',
    source: guidePage('sqs-short-and-long-polling'),
    rule: 'A long poll ends when a message comes back or is delayed no longer.',
    run: async (bench) => {
      const url = await bench.queue();
      await bench.send(url, 'delayed', { DelaySeconds: 60 });
      const poll = bench.bodies(url, { WaitTimeSeconds: 20 });
      await bench.attributes(url, 'All');
      bench.advance(61);
      assert.deepEqual(await poll, ['delayed']);
    },
  },
  {
    id: 'receive-attributes-unasked',
    source: apiPage('ReceiveMessage'),
    rule: 'Message attributes and system attributes come only if they are asked for, and so does their MD5.',
    run: async (bench) => {
      const [message] = await bench.receive(await queueWithAttributes(bench));
      assert.deepEqual([message?.Attributes, message?.MessageAttributes, message?.MD5OfMessageAttributes], [undefined, undefined, undefined]);
    },
  },
  {
    id: 'receive-attributes-named',
    source: apiPage('ReceiveMessage'),
    rule: 'Message attributes come by their names.',
    run: async (bench) => {
      const [message] = await bench.receive(await queueWithAttributes(bench), { MessageAttributeNames: ['one', 'none'] });
      assert.deepEqual(Object.keys(message?.MessageAttributes ?? {}), ['one']);
    },
  },
  {
    id: 'receive-attributes-prefix',
    source: apiPage('ReceiveMessage'),
    rule: 'Message attributes come by a prefix.',
    run: async (bench) => {
      const [message] = await bench.receive(await queueWithAttributes(bench), { MessageAttributeNames: ['two.*'] });
      assert.deepEqual(Object.keys(message?.MessageAttributes ?? {}).sort(), ['two.a', 'two.b']);
    },
  },
  {
    id: 'receive-attributes-all',
    source: apiPage('ReceiveMessage'),
    rule: 'All and .* bring all message attributes.',
    run: async (bench) => {
      for (const name of ['All', '.*']) {
        const [message] = await bench.receive(await queueWithAttributes(bench), { MessageAttributeNames: [name] });
        assert.equal(Object.keys(message?.MessageAttributes ?? {}).length, 3);
      }
    },
  },
  {
    id: 'receive-system-attributes',
    source: apiPage('ReceiveMessage'),
    rule: 'System attributes come by their names, in either of the two parameters.',
    run: async (bench) => {
      const url = await queueWith(bench, 'a', 'b');
      const [one] = await bench.receive(url, { MaxNumberOfMessages: 1, MessageSystemAttributeNames: ['SentTimestamp', 'SenderId'] });
      assert.deepEqual(Object.keys(one?.Attributes ?? {}).sort(), ['SenderId', 'SentTimestamp']);
      assert.ok(Math.abs(Number(one?.Attributes?.SentTimestamp) - Date.now()) < 86_400_000);
      const [other] = await bench.receive(url, { AttributeNames: ['ApproximateReceiveCount' as QueueAttributeName] });
      assert.deepEqual(other?.Attributes, { ApproximateReceiveCount: '1' });
    },
  },
  {
    id: 'receive-system-attributes-all',
    source: apiPage('Message'),
    rule: 'All brings the system attributes that a message of a standard queue has.',
    run: async (bench) => {
      const { Attributes } = await bench.receiveOne(await queueWith(bench, 'a'));
      assert.deepEqual(Object.keys(Attributes ?? {}).sort(), ['ApproximateFirstReceiveTimestamp', 'ApproximateReceiveCount', 'SenderId', 'SentTimestamp']);
    },
  },
  {
    id: 'receive-system-attributes-unknown',
    source: apiPage('ReceiveMessage'),
    rule: 'An unknown system attribute is refused.',
    run: async (bench) => refused(bench.receive(await bench.queue(), { MessageSystemAttributeNames: ['Nonsense' as MessageSystemAttributeName] }), 'InvalidAttributeName'),
  },
  {
    id: 'receive-count',
    source: apiPage('ReceiveMessage'),
    rule: 'Receives are counted, and the time of the first stays.',
    run: async (bench) => {
      const url = await queueWith(bench, 'a');
      const one = (await bench.receiveOne(url, { VisibilityTimeout: 10 })).Attributes;
      bench.advance(11);
      const other = (await bench.receiveOne(url)).Attributes;
      assert.deepEqual([one?.ApproximateReceiveCount, other?.ApproximateReceiveCount], ['1', '2']);
      assert.equal(other?.ApproximateFirstReceiveTimestamp, one?.ApproximateFirstReceiveTimestamp);
    },
  },
  {
    id: 'receive-attempt-id',
    source: apiPage('ReceiveMessage'),
    rule: 'ReceiveRequestAttemptId is for FIFO queues only.',
    run: async (bench) => refused(bench.receive(await bench.queue(), { ReceiveRequestAttemptId: 'a' }), 'InvalidParameterValue'),
  },
  {
    id: 'visibility-hides',
    source: VISIBILITY,
    rule: 'A message that was received is hidden until its visibility timeout is over.',
    run: async (bench) => {
      const url = await bench.queue({ VisibilityTimeout: '60' });
      await bench.send(url, 'x');
      assert.deepEqual(await bench.bodies(url), ['x']);
      bench.advance(58);
      assert.deepEqual(await bench.bodies(url), []);
      bench.advance(3);
      assert.deepEqual(await bench.bodies(url), ['x']);
    },
  },
  {
    id: 'visibility-of-receive',
    source: apiPage('ReceiveMessage'),
    rule: 'VisibilityTimeout of a receive counts instead of that of the queue; zero hides nothing.',
    run: async (bench) => {
      const url = await queueWith(bench, 'x');
      for (let time = 0; time < 3; time++) assert.deepEqual(await bench.bodies(url, { VisibilityTimeout: 0 }), ['x']);
      await bench.receive(url, { VisibilityTimeout: 100 });
      bench.advance(98);
      assert.deepEqual(await bench.bodies(url), []);
      bench.advance(3);
      assert.deepEqual(await bench.bodies(url), ['x']);
    },
  },
  {
    id: 'visibility-of-receive-limits',
    source: apiPage('ReceiveMessage'),
    rule: 'VisibilityTimeout of a receive is 0 to 43,200.',
    run: async (bench) => {
      const url = await queueWith(bench, 'x');
      for (const VisibilityTimeout of [-1, 43_201]) await refused(bench.receive(url, { VisibilityTimeout }), 'InvalidParameterValue');
    },
  },
  {
    id: 'visibility-change',
    source: apiPage('ChangeMessageVisibility'),
    rule: 'The visibility timeout is extended from now on, or ended by zero.',
    run: async (bench) => {
      const url = await queueWith(bench, 'x');
      const { ReceiptHandle } = await bench.receiveOne(url, { VisibilityTimeout: 10 });
      bench.advance(8);
      await hide(bench, url, ReceiptHandle, 60);
      bench.advance(50);
      assert.deepEqual(await bench.bodies(url), []);
      await hide(bench, url, ReceiptHandle, 0);
      assert.deepEqual(await bench.bodies(url), ['x']);
    },
  },
  {
    id: 'visibility-change-limits',
    source: apiPage('ChangeMessageVisibility'),
    rule: 'The new timeout is 0 to 43,200.',
    run: async (bench) => {
      const url = await queueWith(bench, 'x');
      const { ReceiptHandle } = await bench.receiveOne(url);
      for (const seconds of [-1, 43_201]) await refused(hide(bench, url, ReceiptHandle, seconds), 'InvalidParameterValue');
    },
  },
  {
    id: 'visibility-change-total',
    source: apiPage('ChangeMessageVisibility'),
    rule: 'A message is hidden for 12 hours at most, counted from its receive.',
    run: async (bench) => {
      const url = await queueWith(bench, 'x');
      const { ReceiptHandle } = await bench.receiveOne(url, { VisibilityTimeout: 1000 });
      bench.advance(100);
      await refused(hide(bench, url, ReceiptHandle, 43_150), 'InvalidParameterValue');
      await hide(bench, url, ReceiptHandle, 43_000);
    },
  },
  {
    id: 'visibility-change-not-in-flight',
    source: apiPage('ChangeMessageVisibility'),
    rule: 'The visibility of a message that is not in flight cannot be changed.',
    run: async (bench) => {
      const url = await queueWith(bench, 'x');
      const { ReceiptHandle } = await bench.receiveOne(url);
      await hide(bench, url, ReceiptHandle, 0);
      await refused(hide(bench, url, ReceiptHandle, 10), 'MessageNotInflight');
    },
  },
  {
    id: 'visibility-change-deleted',
    source: apiPage('ChangeMessageVisibility'),
    rule: 'Nor can that of a message that is deleted.',
    run: async (bench) => {
      const url = await queueWith(bench, 'x');
      const { ReceiptHandle } = await bench.receiveOne(url);
      await remove(bench, url, ReceiptHandle);
      await refused(hide(bench, url, ReceiptHandle, 10), 'InvalidParameterValue', /not available for visibility timeout change/);
    },
  },
  {
    id: 'visibility-change-batch',
    source: apiPage('ChangeMessageVisibilityBatch'),
    rule: 'In a batch, each entry succeeds or fails alone.',
    run: async (bench) => {
      const QueueUrl = await queueWith(bench, 'x');
      const { ReceiptHandle } = await bench.receiveOne(QueueUrl);
      const Entries = [{ Id: 'a', ReceiptHandle, VisibilityTimeout: 0 }, { Id: 'b', ReceiptHandle: 'nonsense', VisibilityTimeout: 0 }];
      const { Successful, Failed } = await bench.client.send(new ChangeMessageVisibilityBatchCommand({ QueueUrl, Entries }));
      assert.deepEqual(Successful?.map(({ Id }) => Id), ['a']);
      failed(Failed, 'b', 'ReceiptHandleIsInvalid');
      assert.deepEqual(await bench.bodies(QueueUrl), ['x']);
    },
  },
  {
    id: 'delete',
    source: apiPage('DeleteMessage'),
    rule: 'A message that was deleted does not come back; to delete it again succeeds.',
    run: async (bench) => {
      const url = await queueWith(bench, 'x');
      const { ReceiptHandle } = await bench.receiveOne(url);
      for (let time = 0; time < 2; time++) await remove(bench, url, ReceiptHandle);
      bench.advance(100);
      assert.deepEqual(await bench.bodies(url), []);
    },
  },
  {
    id: 'delete-invalid',
    source: apiPage('DeleteMessage'),
    rule: 'A receipt handle that is none is ReceiptHandleIsInvalid.',
    run: async (bench) => {
      const url = await queueWith(bench, 'x');
      await refused(remove(bench, url, 'nonsense'), 'ReceiptHandleIsInvalid');
      await refused(hide(bench, url, 'nonsense', 10), 'ReceiptHandleIsInvalid');
    },
  },
  {
    id: 'delete-of-other-queue',
    source: apiPage('DeleteMessage'),
    rule: 'So is that of another queue.',
    run: async (bench) => {
      const { ReceiptHandle } = await bench.receiveOne(await queueWith(bench, 'x'));
      await refused(remove(bench, await bench.queue(), ReceiptHandle), 'ReceiptHandleIsInvalid');
    },
  },
  {
    id: 'delete-after-timeout',
    source: apiPage('DeleteMessage'),
    rule: 'Of a standard queue, a message is deleted by its last handle after the visibility timeout too.',
    run: async (bench) => {
      const url = await queueWith(bench, 'a', 'b', 'c');
      const messages = await bench.receive(url, { VisibilityTimeout: 10 });
      bench.advance(11);
      for (const body of ['b', 'a']) await remove(bench, url, messages.find(({ Body }) => Body === body)?.ReceiptHandle);
      assert.equal((await bench.attributes(url, 'All')).ApproximateNumberOfMessages, '1');
      assert.deepEqual(await bench.bodies(url), ['c']);
    },
  },
  {
    id: 'delete-old-handle',
    source: apiPage('DeleteMessage'),
    rule: 'Each receive gives another handle, and one of an earlier receive deletes nothing.',
    run: async (bench) => {
      const url = await queueWith(bench, 'x');
      const first = await bench.receiveOne(url, { VisibilityTimeout: 10 });
      bench.advance(11);
      const second = await bench.receiveOne(url, { VisibilityTimeout: 10 });
      assert.notEqual(first.ReceiptHandle, second.ReceiptHandle);
      await remove(bench, url, first.ReceiptHandle);
      bench.advance(11);
      assert.deepEqual(await bench.bodies(url), ['x']);
    },
  },
  {
    id: 'delete-batch',
    source: apiPage('DeleteMessageBatch'),
    rule: 'In a batch, each message is deleted or fails alone.',
    run: async (bench) => {
      const QueueUrl = await queueWith(bench, 'x');
      const { ReceiptHandle } = await bench.receiveOne(QueueUrl);
      const { Successful, Failed } = await bench.client.send(new DeleteMessageBatchCommand({ QueueUrl, Entries: [{ Id: 'a', ReceiptHandle }, { Id: 'b', ReceiptHandle: 'no' }] }));
      assert.deepEqual(Successful?.map(({ Id }) => Id), ['a']);
      failed(Failed, 'b', 'ReceiptHandleIsInvalid');
    },
  },
  {
    id: 'delete-batch-limits',
    source: apiPage('DeleteMessageBatch'),
    rule: 'The rules of a batch count for deletes too.',
    run: async (bench) => {
      const QueueUrl = await bench.queue();
      const batch = (Entries: { Id: string; ReceiptHandle: string }[]) => bench.client.send(new DeleteMessageBatchCommand({ QueueUrl, Entries }));
      const entry = (Id: string) => ({ Id, ReceiptHandle: 'r' });
      await refused(batch([]), 'EmptyBatchRequest');
      await refused(batch(Array.from({ length: 11 }, (_, index) => entry(String(index)))), 'TooManyEntriesInBatchRequest');
      await refused(batch([entry('a'), entry('a')]), 'BatchEntryIdsNotDistinct');
      await refused(batch([entry('a!')]), 'InvalidBatchEntryId');
    },
  },
  {
    id: 'retention',
    source: apiPage('CreateQueue'),
    rule: 'A message is kept for MessageRetentionPeriod, and no longer.',
    run: async (bench) => {
      const url = await bench.queue({ MessageRetentionPeriod: '60' });
      await bench.send(url, 'old');
      bench.advance(50);
      await bench.send(url, 'young');
      bench.advance(11);
      assert.deepEqual(await bench.bodies(url), ['young']);
    },
  },
  {
    id: 'in-flight-most',
    source: guidePage('quotas-messages'),
    rule: 'Of a standard queue, 120,000 messages can be in flight; a receive that would need more is OverLimit. (Checked with a limit of 3.)',
    run: (bench) => bench.limited(3, async (limited) => {
      const url = await queueWith(limited, 'a', 'b', 'c', 'd');
      const messages = await limited.receive(url);
      assert.equal(messages.length, 3);
      await refused(limited.receive(url), 'OverLimit');
      await remove(limited, url, messages[0]?.ReceiptHandle);
      assert.deepEqual(await limited.bodies(url), ['d']);
    }),
  },
];
