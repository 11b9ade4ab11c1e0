import assert from 'node:assert/strict';
import { CreateQueueCommand, SetQueueAttributesCommand } from '@aws-sdk/client-sqs';
import { apiPage, failed, guidePage, refused } from './bench.ts';
import type { Check } from './bench.ts';

const ONCE = guidePage('FIFO-queues-exactly-once-processing');
const ORDER = guidePage('FIFO-queues-understanding-logic');
const HIGH = { DeduplicationScope: 'messageGroup', FifoThroughputLimit: 'perMessageGroupId' };

export const fifoChecks: readonly Check[] = [
  {
    id: 'fifo-group-required',
    source: apiPage('SendMessage'),
    rule: 'A message of a FIFO queue has a MessageGroupId.',
    run: async (bench) => refused(bench.send(await bench.fifo(), 'x', { MessageGroupId: undefined }), 'MissingParameter', /MessageGroupId/),
  },
  {
    id: 'fifo-deduplication-required',
    source: apiPage('SendMessage'),
    rule: 'Without ContentBasedDeduplication, it has a MessageDeduplicationId.',
    run: async (bench) => {
      const url = await bench.fifo({});
      await refused(bench.send(url, 'x'), 'InvalidParameterValue', /ContentBasedDeduplication/);
      await bench.send(url, 'x', { MessageDeduplicationId: 'd' });
    },
  },
  {
    id: 'fifo-group-syntax',
    source: apiPage('SendMessage'),
    rule: 'A MessageGroupId has 1 to 128 letters, digits and signs.',
    run: async (bench) => {
      const url = await bench.fifo();
      for (const MessageGroupId of ['', 'a b', 'ä', 'x'.repeat(129)]) await refused(bench.send(url, 'x', { MessageGroupId }), 'InvalidParameterValue', /MessageGroupId/);
      await bench.send(url, 'x', { MessageGroupId: '!"#$%&\'()*+,-./:;?@[\\]^_`{|}~' });
    },
  },
  {
    id: 'fifo-deduplication-syntax',
    source: apiPage('SendMessage'),
    rule: 'So has a MessageDeduplicationId.',
    run: async (bench) => {
      const url = await bench.fifo();
      for (const MessageDeduplicationId of ['', 'a b', 'x'.repeat(129)]) await refused(bench.send(url, 'x', { MessageDeduplicationId }), 'InvalidParameterValue');
    },
  },
  {
    id: 'fifo-delay',
    source: apiPage('SendMessage'),
    rule: 'A message of a FIFO queue has no DelaySeconds of its own.',
    run: async (bench) => refused(bench.send(await bench.fifo(), 'x', { DelaySeconds: 5 }), 'InvalidParameterValue', /DelaySeconds/),
  },
  {
    id: 'fifo-delay-of-queue',
    source: guidePage('sqs-delay-queues'),
    rule: 'The delay of a FIFO queue counts for its messages.',
    run: async (bench) => {
      const url = await bench.fifo({ ContentBasedDeduplication: 'true', DelaySeconds: '60' });
      for (const body of ['1', '2']) await bench.send(url, body);
      assert.deepEqual(await bench.bodies(url), []);
      bench.advance(61);
      assert.deepEqual(await bench.bodies(url), ['1', '2']);
    },
  },
  {
    id: 'fifo-sequence-numbers',
    source: apiPage('SendMessage'),
    rule: 'Sequence numbers have 20 digits, grow, and come with the message.',
    run: async (bench) => {
      const url = await bench.fifo();
      const numbers = [(await bench.send(url, '1')).SequenceNumber!, (await bench.send(url, '2')).SequenceNumber!];
      for (const number of numbers) assert.match(number, /^\d{20}$/);
      assert.ok(BigInt(numbers[0]!) < BigInt(numbers[1]!));
      const messages = await bench.receive(url, { MessageSystemAttributeNames: ['SequenceNumber'] });
      assert.deepEqual(messages.map(({ Attributes }) => Attributes?.SequenceNumber), numbers);
    },
  },
  {
    id: 'fifo-attributes',
    source: apiPage('Message'),
    rule: 'All brings the group, the deduplication id and the sequence number too.',
    run: async (bench) => {
      const url = await bench.fifo();
      await bench.send(url, 'x', { MessageGroupId: 'group', MessageDeduplicationId: 'id' });
      const { Attributes } = await bench.receiveOne(url);
      assert.deepEqual([Attributes?.MessageGroupId, Attributes?.MessageDeduplicationId, typeof Attributes?.SequenceNumber], ['group', 'id', 'string']);
    },
  },
  {
    id: 'fifo-duplicate',
    source: ONCE,
    rule: 'A message with the id of one sent within five minutes is accepted, and is not delivered a second time.',
    run: async (bench) => {
      const url = await bench.fifo({});
      const one = await bench.send(url, '1', { MessageDeduplicationId: 'd' });
      bench.advance(290);
      const other = await bench.send(url, '2', { MessageDeduplicationId: 'd' });
      assert.deepEqual([other.MessageId, other.SequenceNumber], [one.MessageId, one.SequenceNumber]);
      assert.deepEqual(await bench.bodies(url), ['1']);
    },
  },
  {
    id: 'fifo-duplicate-deleted',
    source: ONCE,
    rule: 'The id is remembered after the message was received and deleted.',
    run: async (bench) => {
      const url = await bench.fifo({});
      await bench.send(url, '1', { MessageDeduplicationId: 'd' });
      await bench.delete(url, (await bench.receiveOne(url)).ReceiptHandle);
      await bench.send(url, '2', { MessageDeduplicationId: 'd' });
      assert.deepEqual(await bench.bodies(url), []);
    },
  },
  {
    id: 'fifo-duplicate-later',
    source: ONCE,
    rule: 'After five minutes it is another message.',
    run: async (bench) => {
      const url = await bench.fifo({});
      await bench.send(url, '1', { MessageDeduplicationId: 'd' });
      bench.advance(301);
      await bench.send(url, '2', { MessageDeduplicationId: 'd' });
      assert.deepEqual(await bench.bodies(url), ['1', '2']);
    },
  },
  {
    id: 'fifo-content',
    source: ONCE,
    rule: 'ContentBasedDeduplication takes the body, not the attributes; an id of its own overrides it.',
    run: async (bench) => {
      const url = await bench.fifo();
      await bench.send(url, 'same');
      await bench.send(url, 'same', { MessageAttributes: { a: { DataType: 'String', StringValue: 'v' } } });
      await bench.send(url, 'same', { MessageDeduplicationId: 'other' });
      assert.deepEqual(await bench.bodies(url), ['same', 'same']);
    },
  },
  {
    id: 'fifo-duplicate-in-batch',
    source: ONCE,
    rule: 'A duplicate within a batch is accepted and not delivered.',
    run: async (bench) => {
      const url = await bench.fifo();
      const entry = (Id: string) => ({ Id, MessageBody: 'same', MessageGroupId: 'g' });
      const { Successful = [] } = await bench.sendBatch(url, [entry('a'), entry('b')]);
      assert.equal(Successful[0]?.MessageId, Successful[1]?.MessageId);
      assert.deepEqual(await bench.bodies(url), ['same']);
    },
  },
  {
    id: 'fifo-duplicate-of-group',
    source: guidePage('high-throughput-fifo'),
    rule: 'With the DeduplicationScope messageGroup, ids count within their group.',
    run: async (bench) => {
      const url = await bench.fifo(HIGH);
      for (const MessageGroupId of ['a', 'b', 'a']) await bench.send(url, MessageGroupId, { MessageGroupId, MessageDeduplicationId: 'd' });
      assert.deepEqual((await bench.bodies(url)).sort(), ['a', 'b']);
      const wide = await bench.fifo({});
      for (const MessageGroupId of ['a', 'b']) await bench.send(wide, MessageGroupId, { MessageGroupId, MessageDeduplicationId: 'd' });
      assert.deepEqual(await bench.bodies(wide), ['a']);
    },
  },
  {
    id: 'fifo-throughput',
    source: apiPage('CreateQueue'),
    rule: 'The FifoThroughputLimit perMessageGroupId is allowed only with the DeduplicationScope messageGroup.',
    run: async (bench) => {
      await refused(bench.fifo({ FifoThroughputLimit: 'perMessageGroupId' }), 'InvalidAttributeValue');
      const url = await bench.fifo(HIGH);
      const { DeduplicationScope, FifoThroughputLimit } = await bench.attributes(url, 'All');
      assert.deepEqual({ DeduplicationScope, FifoThroughputLimit }, HIGH);
      await refused(bench.client.send(new SetQueueAttributesCommand({ QueueUrl: url, Attributes: { DeduplicationScope: 'queue' } })), 'InvalidAttributeValue');
    },
  },
  {
    id: 'fifo-attribute-values',
    source: apiPage('CreateQueue'),
    rule: 'The attributes of FIFO queues take the documented values only.',
    run: async (bench) => {
      for (const attributes of [{ FifoQueue: 'yes' }, { FifoQueue: 'true', ContentBasedDeduplication: '1' }, { FifoQueue: 'true', DeduplicationScope: 'group' }]) {
        const request = bench.client.send(new CreateQueueCommand({ QueueName: bench.name('.fifo'), Attributes: attributes as unknown as Record<string, string> }));
        await assert.rejects(request, /Invalid value|Unknown Attribute|Can only include/);
      }
    },
  },
  {
    id: 'fifo-order',
    source: ORDER,
    rule: 'Of a group, messages are received in the order in which they were sent.',
    run: async (bench) => {
      const url = await bench.fifo();
      for (const body of ['1', '2', '3', '4']) await bench.send(url, body);
      assert.deepEqual([...await bench.bodies(url, { MaxNumberOfMessages: 3 })], ['1', '2', '3']);
    },
  },
  {
    id: 'fifo-group-locked',
    source: ORDER,
    rule: 'While messages of a group are in flight, no more of it are received; other groups go on.',
    run: async (bench) => {
      const url = await bench.fifo();
      for (const body of ['1', '2']) await bench.send(url, body, { MessageGroupId: 'a' });
      const one = await bench.receiveOne(url, { MaxNumberOfMessages: 1 });
      await bench.send(url, 'x', { MessageGroupId: 'b' });
      assert.deepEqual(await bench.bodies(url), ['x']);
      await bench.delete(url, one.ReceiptHandle);
      assert.deepEqual(await bench.bodies(url), ['2']);
    },
  },
  {
    id: 'fifo-comes-back-in-place',
    source: ORDER,
    rule: 'A message whose visibility timeout is over comes back before those behind it.',
    run: async (bench) => {
      const url = await bench.fifo();
      for (const body of ['1', '2', '3']) await bench.send(url, body);
      await bench.receive(url, { MaxNumberOfMessages: 2, VisibilityTimeout: 10 });
      bench.advance(11);
      assert.deepEqual(await bench.bodies(url), ['1', '2', '3']);
    },
  },
  {
    id: 'fifo-delete-late',
    source: apiPage('ReceiveMessage'),
    rule: 'To delete a message after its visibility timeout fails.',
    run: async (bench) => {
      const url = await bench.fifo();
      await bench.send(url, '1');
      const { ReceiptHandle } = await bench.receiveOne(url, { VisibilityTimeout: 10 });
      bench.advance(11);
      await refused(bench.delete(url, ReceiptHandle), 'InvalidParameterValue', /expired/);
      assert.deepEqual(await bench.bodies(url), ['1']);
      await refused(bench.delete(url, ReceiptHandle), 'InvalidParameterValue', /expired/);
    },
  },
  {
    id: 'fifo-attempt-again',
    source: guidePage('using-receiverequestattemptid-request-parameter'),
    rule: 'A receive with the ReceiveRequestAttemptId of one before brings the same messages and handles.',
    run: async (bench) => {
      const url = await bench.fifo();
      for (const body of ['1', '2']) await bench.send(url, body);
      const receive = async () => (await bench.receive(url, { ReceiveRequestAttemptId: 'again' })).map(({ Body, ReceiptHandle }) => [Body, ReceiptHandle]);
      const first = await receive();
      assert.equal(first.length, 2);
      assert.deepEqual(await receive(), first);
      assert.deepEqual(await bench.bodies(url, { ReceiveRequestAttemptId: 'another' }), []);
    },
  },
  {
    id: 'fifo-attempt-resets',
    source: apiPage('ReceiveMessage'),
    rule: 'The repeated receive begins the visibility timeout anew.',
    run: async (bench) => {
      const url = await bench.fifo();
      await bench.send(url, '1');
      const receive = () => bench.bodies(url, { ReceiveRequestAttemptId: 'again', VisibilityTimeout: 20 });
      await receive();
      bench.advance(15);
      assert.deepEqual(await receive(), ['1']);
      bench.advance(15);
      assert.deepEqual(await bench.bodies(url), []);
    },
  },
  {
    id: 'fifo-attempt-modified',
    source: apiPage('ReceiveMessage'),
    rule: 'It is not possible when one of the messages was deleted or had its visibility changed.',
    run: async (bench) => {
      const url = await bench.fifo();
      await bench.send(url, '1');
      const [message] = await bench.receive(url, { ReceiveRequestAttemptId: 'again' });
      await bench.changeVisibility(url, message?.ReceiptHandle, 100);
      await refused(bench.receive(url, { ReceiveRequestAttemptId: 'again' }), 'InvalidParameterValue');
    },
  },
  {
    id: 'fifo-attempt-syntax',
    source: apiPage('ReceiveMessage'),
    rule: 'A ReceiveRequestAttemptId has 1 to 128 letters, digits and signs.',
    run: async (bench) => {
      const url = await bench.fifo();
      for (const ReceiveRequestAttemptId of ['a b', 'x'.repeat(129)]) await refused(bench.receive(url, { ReceiveRequestAttemptId }), 'InvalidParameterValue');
    },
  },
  {
    id: 'fifo-batch-missing-group',
    source: apiPage('SendMessageBatch'),
    rule: 'An entry of a batch without a group fails alone.',
    run: async (bench) => {
      const url = await bench.fifo();
      const { Successful, Failed } = await bench.sendBatch(url, [{ Id: 'a', MessageBody: '1', MessageGroupId: 'g' }, { Id: 'b', MessageBody: '2' }]);
      assert.match(Successful![0]!.SequenceNumber!, /^\d{20}$/);
      failed(Failed, 'b', 'MissingParameter');
    },
  },
  {
    id: 'fifo-in-flight-most',
    source: guidePage('quotas-messages'),
    rule: 'Of a FIFO queue, a receive beyond the limit of messages in flight is no error and brings none. (Checked with a limit of 2.)',
    run: (bench) => bench.limited(2, async (limited) => {
      const url = await limited.fifo();
      for (const body of ['1', '2', '3']) await limited.send(url, body, { MessageGroupId: body });
      assert.equal((await limited.receive(url)).length, 2);
      assert.deepEqual(await limited.receive(url), []);
    }),
  },
];
