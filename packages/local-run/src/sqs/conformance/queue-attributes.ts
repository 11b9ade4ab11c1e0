import assert from 'node:assert/strict';
import { SetQueueAttributesCommand } from '@aws-sdk/client-sqs';
import type { QueueAttributeName } from '@aws-sdk/client-sqs';
import { apiPage, refused } from './bench.ts';
import type { Bench, Check } from './bench.ts';

function set({ client }: Bench, QueueUrl: string, Attributes: Record<string, string>) {
  return client.send(new SetQueueAttributesCommand({ QueueUrl, Attributes }));
}

const LIMITS: readonly [QueueAttributeName, least: number, most: number][] = [
  ['DelaySeconds', 0, 900],
  ['MaximumMessageSize', 1024, 1_048_576],
  ['MessageRetentionPeriod', 60, 1_209_600],
  ['ReceiveMessageWaitTimeSeconds', 0, 20],
  ['VisibilityTimeout', 0, 43_200],
];

const limits = LIMITS.flatMap(([name, least, most]): Check[] => [{
  id: `create-${name}`,
  source: apiPage('CreateQueue'),
  rule: `${name} of a new queue is ${least} to ${most}.`,
  run: async (bench) => {
    for (const value of [String(least), String(most)]) {
      assert.equal((await bench.attributes(await bench.queue({ [name]: value }), name))[name], value);
    }
    for (const value of [least - 1, most + 1, 'x', '']) await refused(bench.queue({ [name]: String(value) }), 'InvalidAttributeValue', new RegExp(name));
  },
}, {
  id: `set-${name}`,
  source: apiPage('SetQueueAttributes'),
  rule: `${name} of a queue that is there is set to ${least} to ${most}.`,
  run: async (bench) => {
    const url = await bench.queue();
    await set(bench, url, { [name]: String(most) });
    assert.equal((await bench.attributes(url, name))[name], String(most));
    for (const value of [least - 1, most + 1]) await refused(set(bench, url, { [name]: String(value) }), 'InvalidAttributeValue');
    assert.equal((await bench.attributes(url, name))[name], String(most));
  },
}]);

export const queueAttributeChecks: readonly Check[] = [
  ...limits,
  {
    id: 'create-defaults',
    source: apiPage('CreateQueue'),
    rule: 'A new queue has the documented defaults.',
    run: async (bench) => {
      const all = await bench.attributes(await bench.queue(), 'All');
      const { DelaySeconds, MaximumMessageSize, MessageRetentionPeriod, ReceiveMessageWaitTimeSeconds, VisibilityTimeout } = all;
      assert.deepEqual([DelaySeconds, MaximumMessageSize, MessageRetentionPeriod, ReceiveMessageWaitTimeSeconds, VisibilityTimeout], ['0', '1048576', '345600', '0', '30']);
    },
  },
  {
    id: 'attributes-none-asked',
    source: apiPage('GetQueueAttributes'),
    rule: 'Without names, no attributes are returned.',
    run: async (bench) => assert.deepEqual(await bench.attributes(await bench.queue()), {}),
  },
  {
    id: 'attributes-some',
    source: apiPage('GetQueueAttributes'),
    rule: 'Only the attributes that are asked for are returned.',
    run: async (bench) => {
      const url = await bench.queue();
      assert.deepEqual(await bench.attributes(url, 'QueueArn', 'DelaySeconds', 'Policy'), { QueueArn: bench.arn(url), DelaySeconds: '0' });
    },
  },
  {
    id: 'attributes-unknown',
    source: apiPage('GetQueueAttributes'),
    rule: 'An unknown name is refused.',
    run: async (bench) => refused(bench.attributes(await bench.queue(), 'Nonsense' as QueueAttributeName), 'InvalidAttributeName', /Unknown Attribute Nonsense/),
  },
  {
    id: 'attributes-counts',
    source: apiPage('GetQueueAttributes'),
    rule: 'Messages that wait, are in flight and are delayed are counted apart.',
    run: async (bench) => {
      const url = await bench.queue();
      for (const body of ['a', 'b', 'c']) await bench.send(url, body);
      await bench.send(url, 'later', { DelaySeconds: 600 });
      await bench.receive(url, { MaxNumberOfMessages: 1 });
      const { ApproximateNumberOfMessages, ApproximateNumberOfMessagesNotVisible, ApproximateNumberOfMessagesDelayed } = await bench.attributes(url, 'All');
      assert.deepEqual([ApproximateNumberOfMessages, ApproximateNumberOfMessagesNotVisible, ApproximateNumberOfMessagesDelayed], ['2', '1', '1']);
    },
  },
  {
    id: 'attributes-timestamps',
    source: apiPage('GetQueueAttributes'),
    rule: 'CreatedTimestamp and LastModifiedTimestamp are seconds, and a change moves the second.',
    run: async (bench) => {
      const url = await bench.queue();
      const before = await bench.attributes(url, 'CreatedTimestamp', 'LastModifiedTimestamp');
      assert.match(before.CreatedTimestamp!, /^\d{10}$/);
      bench.advance(5);
      await set(bench, url, { DelaySeconds: '1' });
      const after = await bench.attributes(url, 'CreatedTimestamp', 'LastModifiedTimestamp');
      assert.equal(after.CreatedTimestamp, before.CreatedTimestamp);
      assert.ok(Number(after.LastModifiedTimestamp) >= Number(before.LastModifiedTimestamp) + 5);
    },
  },
  {
    id: 'set-unknown-attribute',
    source: apiPage('SetQueueAttributes'),
    rule: 'Unknown attributes and those that can only be read are refused.',
    run: async (bench) => {
      const url = await bench.queue();
      for (const name of ['Nonsense', 'QueueArn', 'ApproximateNumberOfMessages', 'CreatedTimestamp']) await refused(set(bench, url, { [name]: '1' }), 'InvalidAttributeName');
    },
  },
  {
    id: 'set-fifo',
    source: apiPage('SetQueueAttributes'),
    rule: 'FifoQueue is given at creation only.',
    run: async (bench) => {
      await refused(set(bench, await bench.queue(), { FifoQueue: 'true' }), 'InvalidAttributeName');
      await refused(set(bench, await bench.fifo(), { FifoQueue: 'true' }), 'InvalidAttributeName');
    },
  },
  {
    id: 'set-others-stay',
    source: apiPage('SetQueueAttributes'),
    rule: 'Attributes that are not given stay.',
    run: async (bench) => {
      const url = await bench.queue({ DelaySeconds: '3' });
      await set(bench, url, { VisibilityTimeout: '50' });
      assert.deepEqual(await bench.attributes(url, 'DelaySeconds', 'VisibilityTimeout'), { DelaySeconds: '3', VisibilityTimeout: '50' });
    },
  },
];
