import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import {
  CancelMessageMoveTaskCommand, CreateQueueCommand, ListDeadLetterSourceQueuesCommand, ListMessageMoveTasksCommand,
  SetQueueAttributesCommand, StartMessageMoveTaskCommand,
} from '@aws-sdk/client-sqs';
import { apiPage, guidePage, refused } from './bench.ts';
import type { Bench, Check } from './bench.ts';

const GUIDE = guidePage('sqs-dead-letter-queues');
function redriveTo(deadLetterTargetArn: string, maxReceiveCount: unknown = 1) {
  return { RedrivePolicy: JSON.stringify({ deadLetterTargetArn, maxReceiveCount }) };
}

function start({ client }: Bench, SourceArn: string, more: object = {}) {
  return client.send(new StartMessageMoveTaskCommand({ SourceArn, ...more }));
}

async function tasks({ client }: Bench, SourceArn: string) {
  return (await client.send(new ListMessageMoveTasksCommand({ SourceArn, MaxResults: 10 }))).Results ?? [];
}

async function ended(bench: Bench, arn: string) {
  for (;;) {
    const [task] = await tasks(bench, arn);
    if (task && task.Status !== 'RUNNING') return task;
    await delay(10);
  }
}

/** Receives once more than the queue allows. */
async function die(bench: Bench, queue: string, receives = 1): Promise<void> {
  for (let count = 0; count <= receives; count++) await bench.receive(queue, { VisibilityTimeout: 0 });
}

export const deadLetterChecks: readonly Check[] = [
  {
    id: 'redrive-moves',
    source: GUIDE,
    rule: 'A message that was received maxReceiveCount times moves to the dead-letter queue at its next receive.',
    run: async (bench) => {
      const { queue, dead } = await bench.withDeadLetters(2);
      await bench.send(queue, 'poison');
      for (let receive = 0; receive < 2; receive++) assert.deepEqual(await bench.bodies(queue, { VisibilityTimeout: 0 }), ['poison']);
      assert.deepEqual(await bench.bodies(queue), []);
      assert.deepEqual(await bench.bodies(dead), ['poison']);
    },
  },
  {
    id: 'redrive-keeps',
    source: GUIDE,
    rule: 'The dead letter has its id and attributes, and names its source.',
    run: async (bench) => {
      const { queue, dead } = await bench.withDeadLetters();
      const { MessageId } = await bench.send(queue, 'poison', { MessageAttributes: { a: { DataType: 'String', StringValue: 'v' } } });
      await die(bench, queue);
      const message = await bench.receiveOne(dead);
      assert.deepEqual([message.MessageId, message.MessageAttributes?.a?.StringValue], [MessageId, 'v']);
      assert.equal(message.Attributes?.DeadLetterQueueSourceArn, bench.arn(queue));
    },
  },
  {
    id: 'redrive-retention',
    source: GUIDE,
    rule: 'The retention of a dead letter of a standard queue counts from when it was sent first.',
    run: async (bench) => {
      const dead = await bench.queue({ MessageRetentionPeriod: '100' });
      const queue = await bench.queue(redriveTo(bench.arn(dead)));
      await bench.send(queue, 'poison');
      bench.advance(60);
      await die(bench, queue);
      bench.advance(60);
      assert.deepEqual(await bench.bodies(dead), []);
    },
  },
  {
    id: 'redrive-retention-fifo',
    source: GUIDE,
    rule: 'The retention of a dead letter of a FIFO queue begins anew.',
    run: async (bench) => {
      const dead = await bench.fifo({ ContentBasedDeduplication: 'true', MessageRetentionPeriod: '100' });
      const queue = await bench.fifo({ ContentBasedDeduplication: 'true', ...redriveTo(bench.arn(dead)) });
      await bench.send(queue, 'poison');
      bench.advance(60);
      await die(bench, queue);
      bench.advance(60);
      assert.deepEqual(await bench.bodies(dead), ['poison']);
    },
  },
  {
    id: 'redrive-fifo',
    source: GUIDE,
    rule: 'Of a FIFO queue, dead letters keep their group and order.',
    run: async (bench) => {
      const { queue, dead } = await bench.withDeadLetters(1, { FifoQueue: 'true', ContentBasedDeduplication: 'true' });
      for (const body of ['1', '2']) await bench.send(queue, body);
      await die(bench, queue);
      const messages = await bench.receive(dead, { MessageSystemAttributeNames: ['All'] });
      assert.deepEqual(messages.map(({ Body, Attributes }) => [Body, Attributes?.MessageGroupId]), [['1', 'g'], ['2', 'g']]);
    },
  },
  {
    id: 'redrive-policy-form',
    source: apiPage('CreateQueue'),
    rule: 'RedrivePolicy is JSON with deadLetterTargetArn and maxReceiveCount.',
    run: async (bench) => {
      const arn = bench.arn(await bench.queue());
      const incomplete = [{ deadLetterTargetArn: arn }, { maxReceiveCount: 1 }, { deadLetterTargetArn: 'x', maxReceiveCount: 1 }];
      for (const RedrivePolicy of ['no json', '[]', ...incomplete.map((policy) => JSON.stringify(policy))]) {
        await refused(bench.queue({ RedrivePolicy }), 'InvalidParameterValue', /RedrivePolicy/);
      }
    },
  },
  {
    id: 'redrive-policy-count',
    source: apiPage('CreateQueue'),
    rule: 'maxReceiveCount is 1 to 1000, as a number or a text.',
    run: async (bench) => {
      const arn = bench.arn(await bench.queue());
      for (const count of [0, 1001, 'x', 1.5]) await refused(bench.queue(redriveTo(arn, count)), 'InvalidParameterValue', /maxReceiveCount/);
      for (const count of [1, 1000, '5']) await bench.queue(redriveTo(arn, count));
    },
  },
  {
    id: 'redrive-policy-target',
    source: apiPage('SetQueueAttributes'),
    rule: 'The dead-letter queue exists.',
    run: async (bench) => {
      const QueueUrl = await bench.queue();
      const Attributes = redriveTo(bench.arn(QueueUrl).replace(/[^:]+$/, 'none-such'));
      await refused(bench.client.send(new SetQueueAttributesCommand({ QueueUrl, Attributes })), 'InvalidParameterValue', /does not exist/);
    },
  },
  {
    id: 'redrive-policy-kind',
    source: apiPage('CreateQueue'),
    rule: 'The dead-letter queue of a FIFO queue is a FIFO queue, and that of a standard queue a standard queue.',
    run: async (bench) => {
      await refused(bench.queue(redriveTo(bench.arn(await bench.fifo()))), 'InvalidParameterValue', /same type/);
      await refused(bench.fifo(redriveTo(bench.arn(await bench.queue()))), 'InvalidParameterValue', /same type/);
    },
  },
  {
    id: 'redrive-policy-removed',
    source: apiPage('SetQueueAttributes'),
    rule: 'An empty RedrivePolicy takes it away.',
    run: async (bench) => {
      const { queue: QueueUrl } = await bench.withDeadLetters();
      await bench.client.send(new SetQueueAttributesCommand({ QueueUrl, Attributes: { RedrivePolicy: '' } }));
      assert.deepEqual(await bench.attributes(QueueUrl, 'RedrivePolicy'), {});
      await bench.send(QueueUrl, 'x');
      await die(bench, QueueUrl, 2);
      assert.deepEqual(await bench.bodies(QueueUrl), ['x']);
    },
  },
  {
    id: 'redrive-allow-form',
    source: apiPage('CreateQueue'),
    rule: 'RedriveAllowPolicy is JSON with one of three permissions, and 1 to 10 sources for byQueue only.',
    run: async (bench) => {
      const arns = (count: number) => Array.from({ length: count }, (_, index) => `arn:aws:sqs:us-east-1:000000000000:q${index}`);
      const allow = (policy: unknown) => bench.queue({ RedriveAllowPolicy: typeof policy === 'string' ? policy : JSON.stringify(policy) });
      for (const policy of ['no json', {}, { redrivePermission: 'some' }, { redrivePermission: 'byQueue' }, { redrivePermission: 'byQueue', sourceQueueArns: arns(11) },
        { redrivePermission: 'denyAll', sourceQueueArns: arns(1) }]) await refused(allow(policy), 'InvalidParameterValue', /RedriveAllowPolicy/);
      await allow({ redrivePermission: 'byQueue', sourceQueueArns: arns(10) });
    },
  },
  {
    id: 'redrive-allow-refuses',
    source: GUIDE,
    rule: 'A queue that RedriveAllowPolicy does not allow cannot use the dead-letter queue.',
    run: async (bench) => {
      const dead = await bench.queue({ RedriveAllowPolicy: JSON.stringify({ redrivePermission: 'denyAll' }) });
      await refused(bench.queue(redriveTo(bench.arn(dead))), 'InvalidParameterValue');
    },
  },
  {
    id: 'redrive-sources',
    source: apiPage('ListDeadLetterSourceQueues'),
    rule: 'The queues that use a dead-letter queue are listed, page by page.',
    run: async (bench) => {
      const dead = await bench.queue();
      const sources = [await bench.queue(redriveTo(bench.arn(dead))), await bench.queue(redriveTo(bench.arn(dead)))];
      const list = (more: object = {}) => bench.client.send(new ListDeadLetterSourceQueuesCommand({ QueueUrl: dead, ...more }));
      assert.deepEqual((await list()).queueUrls, sources.sort());
      const first = await list({ MaxResults: 1 });
      const second = await list({ MaxResults: 1, NextToken: first.NextToken });
      assert.deepEqual([...first.queueUrls!, ...second.queueUrls!], sources);
      await refused(list({ MaxResults: 1001 }), 'InvalidParameterValue');
    },
  },
  {
    id: 'move-back',
    source: apiPage('StartMessageMoveTask'),
    rule: 'A move task brings dead letters back to where they came from.',
    run: async (bench) => {
      const { queue, dead } = await bench.withDeadLetters();
      await bench.send(queue, 'poison');
      await die(bench, queue);
      await start(bench, bench.arn(dead));
      assert.equal((await ended(bench, bench.arn(dead))).Status, 'COMPLETED');
      assert.deepEqual(await bench.bodies(queue), ['poison']);
    },
  },
  {
    id: 'move-source',
    source: apiPage('StartMessageMoveTask'),
    rule: 'The source is a dead-letter queue that exists.',
    run: async (bench) => {
      const arn = bench.arn(await bench.queue());
      await refused(start(bench, arn), 'InvalidParameterValue', /Dead Letter Queue/);
      await refused(start(bench, `${arn}-none`), 'ResourceNotFoundException');
    },
  },
  {
    id: 'move-rate',
    source: apiPage('StartMessageMoveTask'),
    rule: 'MaxNumberOfMessagesPerSecond is 1 to 500.',
    run: async (bench) => {
      const { dead } = await bench.withDeadLetters();
      for (const rate of [0, 501]) await refused(start(bench, bench.arn(dead), { MaxNumberOfMessagesPerSecond: rate }), 'InvalidParameterValue');
    },
  },
  {
    id: 'move-one-task',
    source: apiPage('StartMessageMoveTask'),
    rule: 'A queue has one active task, which can be cancelled.',
    run: async (bench) => {
      const { queue, dead } = await bench.withDeadLetters();
      for (const body of ['a', 'b', 'c']) await bench.send(queue, body);
      await die(bench, queue);
      const { TaskHandle } = await start(bench, bench.arn(dead), { MaxNumberOfMessagesPerSecond: 1 });
      await refused(start(bench, bench.arn(dead)), 'InvalidParameterValue', /already a task running/);
      await bench.client.send(new CancelMessageMoveTaskCommand({ TaskHandle }));
      assert.deepEqual((await tasks(bench, bench.arn(dead))).map(({ Status }) => Status), ['CANCELLED']);
    },
  },
  {
    id: 'create-queue-unknown-dead-letters',
    source: apiPage('CreateQueue'),
    rule: 'A queue that is refused is not made.',
    run: async (bench) => {
      const QueueName = bench.name();
      const request = bench.client.send(new CreateQueueCommand({ QueueName, Attributes: redriveTo('arn:aws:sqs:us-east-1:000000000000:none-such') }));
      await refused(request, 'InvalidParameterValue');
      await bench.client.send(new CreateQueueCommand({ QueueName, Attributes: { VisibilityTimeout: '7' } }));
    },
  },
];
