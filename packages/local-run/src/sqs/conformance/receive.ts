import assert from 'node:assert/strict';
import type { MessageSystemAttributeName, QueueAttributeName } from '@aws-sdk/client-sqs';
import { apiPage, guidePage, queueWith, refused } from './bench.ts';
import type { Bench, Check } from './bench.ts';


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
      const { Attributes, MessageAttributes, MD5OfMessageAttributes } = message!;
      assert.deepEqual([Attributes, MessageAttributes, MD5OfMessageAttributes], [undefined, undefined, undefined]);
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
      await limited.delete(url, messages[0]?.ReceiptHandle);
      assert.deepEqual(await limited.bodies(url), ['d']);
    }),
  },
];
