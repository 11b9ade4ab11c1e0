import assert from 'node:assert/strict';
import {
  CreateQueueCommand, DeleteQueueCommand, GetQueueAttributesCommand, GetQueueUrlCommand, ListQueuesCommand, PurgeQueueCommand,
} from '@aws-sdk/client-sqs';
import { apiPage, guidePage, refused } from './bench.ts';
import type { Bench, Check } from './bench.ts';

function create(bench: Bench, Attributes: Record<string, string>, QueueName = bench.name()) {
  return bench.client.send(new CreateQueueCommand({ QueueName, Attributes }));
}

export const queueChecks: readonly Check[] = [
  {
    id: 'create-name',
    source: apiPage('CreateQueue'),
    rule: 'A queue name has 1 to 80 letters, digits, hyphens and underscores.',
    run: async (bench) => {
      for (const name of ['a.b', 'a b', 'ä', 'x'.repeat(81), 'a/b']) await refused(create(bench, {}, name), 'InvalidParameterValue');
      assert.match((await create(bench, {}, `${bench.name()}${'_'.repeat(60)}`)).QueueUrl!, /\/\d{12}\/check/);
    },
  },
  {
    id: 'create-name-fifo',
    source: apiPage('CreateQueue'),
    rule: 'The name of a FIFO queue ends with .fifo, and no other name does.',
    run: async (bench) => {
      await refused(create(bench, { FifoQueue: 'true' }, bench.name()), 'InvalidParameterValue', /\.fifo/);
      await refused(create(bench, {}, bench.name('.fifo')), 'InvalidParameterValue');
    },
  },
  {
    id: 'create-unknown-attribute',
    source: apiPage('CreateQueue'),
    rule: 'An unknown attribute is refused.',
    run: (bench) => refused(create(bench, { VisibilityTimeOut: '30' }), 'InvalidAttributeName', /Unknown Attribute VisibilityTimeOut/),
  },
  {
    id: 'create-read-only-attribute',
    source: apiPage('CreateQueue'),
    rule: 'An attribute that can only be read is refused.',
    run: (bench) => refused(create(bench, { QueueArn: 'arn' }), 'InvalidAttributeName'),
  },
  {
    id: 'create-fifo-attributes',
    source: apiPage('CreateQueue'),
    rule: 'ContentBasedDeduplication, DeduplicationScope and FifoThroughputLimit are for FIFO queues only.',
    run: async (bench) => {
      for (const [name, value] of [['ContentBasedDeduplication', 'true'], ['DeduplicationScope', 'queue'], ['FifoThroughputLimit', 'perQueue']]) {
        await refused(create(bench, { [name!]: value! }), 'InvalidAttributeName');
      }
    },
  },
  {
    id: 'create-same',
    source: apiPage('CreateQueue'),
    rule: 'A queue that is there, with the attributes asked for, is given back.',
    run: async (bench) => {
      const name = bench.name();
      const first = await create(bench, { VisibilityTimeout: '40' }, name);
      assert.equal((await create(bench, { VisibilityTimeout: '40' }, name)).QueueUrl, first.QueueUrl);
      assert.equal((await create(bench, {}, name)).QueueUrl, first.QueueUrl);
    },
  },
  {
    id: 'create-other',
    source: apiPage('CreateQueue'),
    rule: 'A queue that is there with other attributes is refused as QueueNameExists.',
    run: async (bench) => {
      const name = bench.name();
      await create(bench, { VisibilityTimeout: '40' }, name);
      await refused(create(bench, { VisibilityTimeout: '41' }, name), 'QueueNameExists', /VisibilityTimeout/);
    },
  },
  {
    id: 'create-policy',
    source: apiPage('CreateQueue'),
    rule: 'Policy is a JSON document.',
    run: async (bench) => {
      await refused(create(bench, { Policy: 'no json' }), 'InvalidAttributeValue');
      const Policy = JSON.stringify({ Version: '2012-10-17', Statement: [] });
      assert.equal((await bench.attributes((await create(bench, { Policy })).QueueUrl!, 'Policy')).Policy, Policy);
    },
  },
  {
    id: 'sse-default',
    source: guidePage('sqs-configure-sqs-sse-queue'),
    rule: 'A new queue is encrypted by SQS.',
    run: async (bench) => assert.equal((await bench.attributes(await bench.queue(), 'SqsManagedSseEnabled')).SqsManagedSseEnabled, 'true'),
  },
  {
    id: 'sse-one-kind',
    source: apiPage('CreateQueue'),
    rule: 'A queue has one kind of encryption: a key of KMS switches that of SQS off.',
    run: async (bench) => {
      await refused(create(bench, { KmsMasterKeyId: 'alias/aws/sqs', SqsManagedSseEnabled: 'true' }), 'InvalidAttributeValue');
      const url = await bench.queue({ KmsMasterKeyId: 'alias/aws/sqs' });
      const { SqsManagedSseEnabled, KmsMasterKeyId } = await bench.attributes(url, 'All');
      assert.deepEqual([SqsManagedSseEnabled, KmsMasterKeyId], ['false', 'alias/aws/sqs']);
    },
  },
  {
    id: 'sse-reuse-period',
    source: apiPage('CreateQueue'),
    rule: 'KmsDataKeyReusePeriodSeconds is 60 to 86,400, and 300 by default.',
    run: async (bench) => {
      for (const value of ['59', '86401']) await refused(create(bench, { KmsMasterKeyId: 'k', KmsDataKeyReusePeriodSeconds: value }), 'InvalidAttributeValue');
      assert.equal((await bench.attributes(await bench.queue({ KmsMasterKeyId: 'k' }), 'All')).KmsDataKeyReusePeriodSeconds, '300');
    },
  },
  {
    id: 'sse-missing-key',
    source: apiPage('SendMessage'),
    rule: 'A message for a queue with a key that does not exist is refused as KmsNotFound.',
    run: async (bench) => refused(bench.send(await bench.queue({ KmsMasterKeyId: 'alias/none-such' }), 'x'), 'KmsNotFound'),
  },
  {
    id: 'url-by-name',
    source: apiPage('GetQueueUrl'),
    rule: 'A queue is found by its name, and by its owner.',
    run: async (bench) => {
      const url = await bench.queue();
      const QueueName = url.split('/').at(-1)!;
      assert.equal((await bench.client.send(new GetQueueUrlCommand({ QueueName }))).QueueUrl, url);
      assert.equal((await bench.client.send(new GetQueueUrlCommand({ QueueName, QueueOwnerAWSAccountId: url.split('/').at(-2)! }))).QueueUrl, url);
    },
  },
  {
    id: 'url-unknown',
    source: apiPage('GetQueueUrl'),
    rule: 'A queue that is not there, or is of another account, is QueueDoesNotExist.',
    run: async (bench) => {
      await refused(bench.client.send(new GetQueueUrlCommand({ QueueName: 'none-such' })), 'QueueDoesNotExist');
      const QueueName = (await bench.queue()).split('/').at(-1)!;
      await refused(bench.client.send(new GetQueueUrlCommand({ QueueName, QueueOwnerAWSAccountId: '999999999999' })), 'QueueDoesNotExist');
    },
  },
  {
    id: 'list-prefix',
    source: apiPage('ListQueues'),
    rule: 'Queues are listed by a prefix of their names.',
    run: async (bench) => {
      const url = await bench.queue();
      const QueueNamePrefix = url.split('/').at(-1)!;
      assert.deepEqual((await bench.client.send(new ListQueuesCommand({ QueueNamePrefix }))).QueueUrls, [url]);
      assert.equal((await bench.client.send(new ListQueuesCommand({ QueueNamePrefix: 'none-such' }))).QueueUrls, undefined);
    },
  },
  {
    id: 'list-pages',
    source: apiPage('ListQueues'),
    rule: 'With MaxResults, NextToken leads to the next page; the last has none.',
    run: async (bench) => {
      const prefix = bench.name('-list-');
      const urls: (string | undefined)[] = [];
      for (const suffix of ['a', 'b', 'c']) urls.push((await create(bench, {}, prefix + suffix)).QueueUrl);
      const first = await bench.client.send(new ListQueuesCommand({ QueueNamePrefix: prefix, MaxResults: 2 }));
      const second = await bench.client.send(new ListQueuesCommand({ QueueNamePrefix: prefix, MaxResults: 2, NextToken: first.NextToken }));
      assert.deepEqual([...first.QueueUrls!, ...second.QueueUrls!], urls);
      assert.equal(second.NextToken, undefined);
      assert.equal((await bench.client.send(new ListQueuesCommand({ QueueNamePrefix: prefix }))).NextToken, undefined);
    },
  },
  {
    id: 'list-limits',
    source: apiPage('ListQueues'),
    rule: 'MaxResults is 1 to 1000.',
    run: async (bench) => {
      for (const MaxResults of [0, 1001]) await refused(bench.client.send(new ListQueuesCommand({ MaxResults })), 'InvalidParameterValue');
    },
  },
  {
    id: 'delete-queue',
    source: apiPage('DeleteQueue'),
    rule: 'A queue that was deleted does not exist any more, for no action.',
    run: async (bench) => {
      const QueueUrl = await bench.queue();
      await bench.client.send(new DeleteQueueCommand({ QueueUrl }));
      for (const request of [
        bench.send(QueueUrl, 'x'), bench.receive(QueueUrl), bench.attributes(QueueUrl, 'All'), bench.client.send(new DeleteQueueCommand({ QueueUrl })),
        bench.client.send(new PurgeQueueCommand({ QueueUrl })),
      ]) await refused(request, 'QueueDoesNotExist');
    },
  },
  {
    id: 'delete-queue-recently',
    source: apiPage('CreateQueue'),
    rule: 'A name can be used again 60 seconds after its queue was deleted, and not before.',
    run: async (bench) => {
      const QueueName = bench.name();
      const { QueueUrl } = await create(bench, {}, QueueName);
      await bench.client.send(new DeleteQueueCommand({ QueueUrl }));
      await refused(create(bench, {}, QueueName), 'QueueDeletedRecently');
    },
  },
  {
    id: 'delete-queue-messages',
    source: apiPage('DeleteQueue'),
    rule: 'The messages of a deleted queue are gone; a new queue of its name is empty.',
    run: async (bench) => {
      const QueueName = bench.name();
      const { QueueUrl } = await create(bench, {}, QueueName);
      await bench.send(QueueUrl!, 'x');
      await bench.client.send(new DeleteQueueCommand({ QueueUrl }));
      bench.advance(61);
      await create(bench, {}, QueueName);
      assert.deepEqual(await bench.bodies(QueueUrl!), []);
    },
  },
  {
    id: 'purge',
    source: apiPage('PurgeQueue'),
    rule: 'A purge deletes all messages: those that wait, are delayed and are in flight.',
    run: async (bench) => {
      const QueueUrl = await bench.queue();
      await bench.send(QueueUrl, 'in flight');
      await bench.receive(QueueUrl);
      await bench.send(QueueUrl, 'waiting');
      await bench.send(QueueUrl, 'delayed', { DelaySeconds: 10 });
      await bench.client.send(new PurgeQueueCommand({ QueueUrl }));
      bench.advance(120);
      assert.deepEqual(await bench.bodies(QueueUrl), []);
    },
  },
  {
    id: 'purge-once',
    source: apiPage('PurgeQueue'),
    rule: 'A queue is purged once in 60 seconds.',
    run: async (bench) => {
      const QueueUrl = await bench.queue();
      const purge = () => bench.client.send(new PurgeQueueCommand({ QueueUrl }));
      await purge();
      await refused(purge(), 'PurgeQueueInProgress', /every 60 seconds/);
      bench.advance(61);
      await purge();
    },
  },
  {
    id: 'queue-url-wrong',
    source: apiPage('SendMessage'),
    rule: 'An address that is no URL of a queue is InvalidAddress.',
    run: async (bench) => {
      const queue = (await bench.queue()).split('/').at(-1)!;
      for (const QueueUrl of [queue, `${bench.url}/${queue}`]) {
        await refused(bench.client.send(new GetQueueAttributesCommand({ QueueUrl, AttributeNames: ['All'] })), 'InvalidAddress');
      }
    },
  },
  {
    id: 'queue-url-case',
    source: apiPage('SendMessage'),
    rule: 'Queue URLs are case-sensitive.',
    run: async (bench) => refused(bench.send((await bench.queue()).replace('check', 'Check'), 'x'), 'QueueDoesNotExist'),
  },
];
