import assert from 'node:assert/strict';
import { ChangeMessageVisibilityBatchCommand, DeleteMessageBatchCommand } from '@aws-sdk/client-sqs';
import { apiPage, failed, guidePage, queueWith, refused } from './bench.ts';
import type { Check } from './bench.ts';

const VISIBILITY = guidePage('sqs-visibility-timeout');

export const inFlightChecks: readonly Check[] = [
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
      await bench.changeVisibility(url, ReceiptHandle, 60);
      bench.advance(50);
      assert.deepEqual(await bench.bodies(url), []);
      await bench.changeVisibility(url, ReceiptHandle, 0);
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
      for (const seconds of [-1, 43_201]) await refused(bench.changeVisibility(url, ReceiptHandle, seconds), 'InvalidParameterValue');
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
      await refused(bench.changeVisibility(url, ReceiptHandle, 43_150), 'InvalidParameterValue');
      await bench.changeVisibility(url, ReceiptHandle, 43_000);
    },
  },
  {
    id: 'visibility-change-not-in-flight',
    source: apiPage('ChangeMessageVisibility'),
    rule: 'The visibility of a message that is not in flight cannot be changed.',
    run: async (bench) => {
      const url = await queueWith(bench, 'x');
      const { ReceiptHandle } = await bench.receiveOne(url);
      await bench.changeVisibility(url, ReceiptHandle, 0);
      await refused(bench.changeVisibility(url, ReceiptHandle, 10), 'MessageNotInflight');
    },
  },
  {
    id: 'visibility-change-deleted',
    source: apiPage('ChangeMessageVisibility'),
    rule: 'Nor can that of a message that is deleted.',
    run: async (bench) => {
      const url = await queueWith(bench, 'x');
      const { ReceiptHandle } = await bench.receiveOne(url);
      await bench.delete(url, ReceiptHandle);
      await refused(bench.changeVisibility(url, ReceiptHandle, 10), 'InvalidParameterValue', /not available for visibility timeout change/);
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
      for (let time = 0; time < 2; time++) await bench.delete(url, ReceiptHandle);
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
      await refused(bench.delete(url, 'nonsense'), 'ReceiptHandleIsInvalid');
      await refused(bench.changeVisibility(url, 'nonsense', 10), 'ReceiptHandleIsInvalid');
    },
  },
  {
    id: 'delete-of-other-queue',
    source: apiPage('DeleteMessage'),
    rule: 'So is that of another queue.',
    run: async (bench) => {
      const { ReceiptHandle } = await bench.receiveOne(await queueWith(bench, 'x'));
      await refused(bench.delete(await bench.queue(), ReceiptHandle), 'ReceiptHandleIsInvalid');
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
      for (const body of ['b', 'a']) await bench.delete(url, messages.find(({ Body }) => Body === body)?.ReceiptHandle);
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
      await bench.delete(url, first.ReceiptHandle);
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
      const batch = (Entries: { Id: string; ReceiptHandle: string }[]) =>
        bench.client.send(new DeleteMessageBatchCommand({ QueueUrl, Entries }));
      const entry = (Id: string) => ({ Id, ReceiptHandle: 'r' });
      await refused(batch([]), 'EmptyBatchRequest');
      await refused(batch(Array.from({ length: 11 }, (_, index) => entry(String(index)))), 'TooManyEntriesInBatchRequest');
      await refused(batch([entry('a'), entry('a')]), 'BatchEntryIdsNotDistinct');
      await refused(batch([entry('a!')]), 'InvalidBatchEntryId');
    },
  },
];
