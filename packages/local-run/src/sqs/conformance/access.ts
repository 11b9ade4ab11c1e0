import assert from 'node:assert/strict';
import {
  AddPermissionCommand, CreateQueueCommand, ListQueueTagsCommand, RemovePermissionCommand, TagQueueCommand, UntagQueueCommand,
} from '@aws-sdk/client-sqs';
import { apiPage, guidePage, refused } from './bench.ts';
import type { Bench, Check } from './bench.ts';

const tagsOf = async ({ client }: Bench, QueueUrl: string) => (await client.send(new ListQueueTagsCommand({ QueueUrl }))).Tags;
const tag = ({ client }: Bench, QueueUrl: string, Tags: Record<string, string>) => client.send(new TagQueueCommand({ QueueUrl, Tags }));
const grant = ({ client }: Bench, QueueUrl: string, more: object = {}) => (
  client.send(new AddPermissionCommand({ QueueUrl, Label: 'label', AWSAccountIds: ['111122223333'], Actions: ['SendMessage'], ...more })));

export const accessChecks: readonly Check[] = [
  {
    id: 'tags',
    source: apiPage('TagQueue'),
    rule: 'Tags are added, overwritten by their key, listed and removed.',
    run: async (bench) => {
      const QueueUrl = await bench.queue();
      assert.equal(await tagsOf(bench, QueueUrl), undefined);
      await tag(bench, QueueUrl, { a: '1', b: '' });
      await tag(bench, QueueUrl, { a: '2' });
      assert.deepEqual(await tagsOf(bench, QueueUrl), { a: '2', b: '' });
      await bench.client.send(new UntagQueueCommand({ QueueUrl, TagKeys: ['a', 'none'] }));
      assert.deepEqual(await tagsOf(bench, QueueUrl), { b: '' });
    },
  },
  {
    id: 'tags-at-creation',
    source: apiPage('CreateQueue'),
    rule: 'A queue is made with tags.',
    run: async (bench) => {
      const { QueueUrl } = await bench.client.send(new CreateQueueCommand({ QueueName: bench.name(), tags: { team: 'orders' } }));
      assert.deepEqual(await tagsOf(bench, QueueUrl!), { team: 'orders' });
    },
  },
  {
    id: 'tags-most',
    source: guidePage('quotas-queues'),
    rule: 'A queue has up to 50 tags.',
    run: async (bench) => {
      const QueueUrl = await bench.queue();
      await tag(bench, QueueUrl, Object.fromEntries(Array.from({ length: 50 }, (_, index) => [`k${index}`, 'v'])));
      await refused(tag(bench, QueueUrl, { more: 'v' }), 'InvalidParameterValue', /Too many tags/);
    },
  },
  {
    id: 'tags-syntax',
    source: guidePage('quotas-queues'),
    rule: 'Keys have 1 to 128 characters, values up to 256, and the prefix aws: is reserved.',
    run: async (bench) => {
      const QueueUrl = await bench.queue();
      for (const tags of [{ '': 'v' }, { ['k'.repeat(129)]: 'v' }, { k: 'v'.repeat(257) }, { 'aws:k': 'v' }, { 'k!': 'v' }]) {
        await refused(tag(bench, QueueUrl, tags as unknown as Record<string, string>), 'InvalidParameterValue');
      }
    },
  },
  {
    id: 'permission-add',
    source: apiPage('AddPermission'),
    rule: 'A permission is a statement of the policy.',
    run: async (bench) => {
      const QueueUrl = await bench.queue();
      await grant(bench, QueueUrl);
      const { Policy } = await bench.attributes(QueueUrl, 'Policy');
      const { Statement: [statement] } = JSON.parse(Policy!) as { Statement: [Record<string, unknown>] };
      const { Sid, Effect, Principal, Action, Resource } = statement;
      assert.deepEqual([Sid, Effect, Principal, Action, Resource], ['label', 'Allow', { AWS: 'arn:aws:iam::111122223333:root' }, 'SQS:SendMessage', bench.arn(QueueUrl)]);
    },
  },
  {
    id: 'permission-label',
    source: apiPage('AddPermission'),
    rule: 'A label has up to 80 letters, digits, hyphens and underscores, and is used once.',
    run: async (bench) => {
      const QueueUrl = await bench.queue();
      for (const Label of ['a b', 'x'.repeat(81)]) await refused(grant(bench, QueueUrl, { Label }), 'InvalidParameterValue');
      await grant(bench, QueueUrl);
      await refused(grant(bench, QueueUrl), 'InvalidParameterValue', /Already exists/);
    },
  },
  {
    id: 'permission-accounts',
    source: apiPage('AddPermission'),
    rule: 'Accounts have 12 digits, and there is one at least.',
    run: async (bench) => {
      const QueueUrl = await bench.queue();
      await refused(grant(bench, QueueUrl, { AWSAccountIds: ['1234'] }), 'InvalidParameterValue');
      await refused(grant(bench, QueueUrl, { AWSAccountIds: [] }), 'MissingParameter');
    },
  },
  {
    id: 'permission-actions',
    source: apiPage('AddPermission'),
    rule: 'Actions are those that an owner can share, or *.',
    run: async (bench) => {
      const QueueUrl = await bench.queue();
      await refused(grant(bench, QueueUrl, { Actions: ['Nonsense'] }), 'InvalidParameterValue');
      await refused(grant(bench, QueueUrl, { Actions: [] }), 'MissingParameter');
      await grant(bench, QueueUrl, { Actions: ['*'] });
    },
  },
  {
    id: 'permission-actions-most',
    source: guidePage('quotas-policies'),
    rule: 'A statement has up to 7 actions.',
    run: async (bench) => {
      const Actions = [
        'SendMessage', 'ReceiveMessage', 'DeleteMessage', 'ChangeMessageVisibility',
        'GetQueueAttributes', 'GetQueueUrl', 'PurgeQueue', 'ListDeadLetterSourceQueues',
      ];
      await refused(grant(bench, await bench.queue(), { Actions }), 'OverLimit', /maximum allowed is 7/);
    },
  },
  {
    id: 'permission-remove',
    source: apiPage('RemovePermission'),
    rule: 'A permission is removed by its label, and an unknown label is refused.',
    run: async (bench) => {
      const QueueUrl = await bench.queue();
      await grant(bench, QueueUrl);
      await bench.client.send(new RemovePermissionCommand({ QueueUrl, Label: 'label' }));
      assert.deepEqual(await bench.attributes(QueueUrl, 'Policy'), {});
      await refused(bench.client.send(new RemovePermissionCommand({ QueueUrl, Label: 'label' })), 'InvalidParameterValue', /can't find label/);
    },
  },
];
