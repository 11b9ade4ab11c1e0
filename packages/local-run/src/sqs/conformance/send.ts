import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import type { MessageAttributeValue } from '@aws-sdk/client-sqs';
import { apiPage, failed, guidePage, refused } from './bench.ts';
import type { Bench, Check } from './bench.ts';

const METADATA = guidePage('sqs-message-metadata');
const text = (StringValue: string, DataType = 'String'): MessageAttributeValue => ({ DataType, StringValue });
const numbered = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, index) => [`a${index}`, text('v')]));

async function refusesAttributes(bench: Bench, attributes: Record<string, MessageAttributeValue>, name = 'InvalidParameterValue'): Promise<void> {
  await refused(bench.send(await bench.queue(), 'x', { MessageAttributes: attributes }), name);
}

async function takesAttributes(bench: Bench, MessageAttributes: Record<string, MessageAttributeValue>): Promise<void> {
  const url = await bench.queue();
  await bench.send(url, 'x', { MessageAttributes });
  const received = (await bench.receiveOne(url)).MessageAttributes!;
  const values = ({ DataType, StringValue, BinaryValue }: MessageAttributeValue) => (
    [DataType, StringValue, BinaryValue && Buffer.from(BinaryValue).toString('hex')]);
  const plain = (all: Record<string, MessageAttributeValue>) =>
    Object.fromEntries(Object.entries(all).map(([name, value]) => [name, values(value)]));
  assert.deepEqual(plain(received), plain(MessageAttributes));
}

export const sendChecks: readonly Check[] = [
  {
    id: 'send-answer',
    source: apiPage('SendMessage'),
    rule: 'The answer has an id and the MD5 of the body, and of a standard queue no sequence number.',
    run: async (bench) => {
      const { MessageId, MD5OfMessageBody, SequenceNumber, MD5OfMessageAttributes } = await bench.send(await bench.queue(), 'ä body');
      assert.match(MessageId!, /^[0-9a-f-]{36}$/);
      assert.deepEqual([MD5OfMessageBody, SequenceNumber, MD5OfMessageAttributes], [hash('md5', 'ä body'), undefined, undefined]);
    },
  },
  {
    id: 'send-empty',
    source: apiPage('SendMessage'),
    rule: 'A body has at least one character.',
    run: async (bench) => refused(bench.send(await bench.queue(), ''), 'MissingParameter', /MessageBody/),
  },
  {
    id: 'send-largest',
    source: guidePage('quotas-messages'),
    rule: 'A message has up to 1,048,576 bytes, its attributes among them.',
    run: async (bench) => {
      const url = await bench.queue();
      await bench.send(url, 'x'.repeat(1_048_576));
      await refused(bench.send(url, 'x'.repeat(1_048_577)), 'InvalidParameterValue', /shorter than 1048576 bytes/);
      const MessageAttributes = { name: text('value') };
      await refused(bench.send(url, 'x'.repeat(1_048_576 - 14), { MessageAttributes }), 'InvalidParameterValue');
      await bench.send(url, 'x'.repeat(1_048_576 - 15), { MessageAttributes });
    },
  },
  {
    id: 'send-maximum-message-size',
    source: apiPage('CreateQueue'),
    rule: 'A message larger than the MaximumMessageSize of its queue is refused; bytes count, not characters.',
    run: async (bench) => {
      const url = await bench.queue({ MaximumMessageSize: '1024' });
      await bench.send(url, 'ä'.repeat(512));
      await refused(bench.send(url, 'ä'.repeat(513)), 'InvalidParameterValue', /shorter than 1024 bytes/);
    },
  },
  {
    id: 'send-characters',
    source: apiPage('SendMessage'),
    rule: 'Characters that XML does not have are refused as InvalidMessageContents.',
    run: async (bench) => {
      const url = await bench.queue();
      for (const character of ['\u0000', '\u0008', '\u000b', '\u001f', '\ufffe', '\uffff']) await refused(bench.send(url, `a${character}b`), 'InvalidMessageContents');
      const lone = await bench.post('AmazonSQS.SendMessage', JSON.stringify({ QueueUrl: url, MessageBody: 'x\ud800y' }));
      assert.match(lone.text, /InvalidMessageContents/);
    },
  },
  {
    id: 'send-characters-kept',
    source: apiPage('SendMessage'),
    rule: 'Tabs, line ends and all characters of Unicode beyond are kept as they are.',
    run: async (bench) => {
      const url = await bench.queue();
      const body = ' \t\n\r\n ä€😀\ud7ff\ue000\ufffd<&>"\' ';
      await bench.send(url, body);
      assert.equal((await bench.receiveOne(url)).Body, body);
    },
  },
  {
    id: 'send-delay',
    source: guidePage('sqs-message-timers'),
    rule: 'A message with DelaySeconds is received when they are over, and not before.',
    run: async (bench) => {
      const url = await bench.queue();
      await bench.send(url, 'later', { DelaySeconds: 60 });
      bench.advance(58);
      assert.deepEqual(await bench.bodies(url), []);
      bench.advance(3);
      assert.deepEqual(await bench.bodies(url), ['later']);
    },
  },
  {
    id: 'send-delay-limits',
    source: apiPage('SendMessage'),
    rule: 'DelaySeconds is 0 to 900.',
    run: async (bench) => {
      const url = await bench.queue();
      await bench.send(url, 'x', { DelaySeconds: 900 });
      for (const DelaySeconds of [-1, 901]) await refused(bench.send(url, 'x', { DelaySeconds }), 'InvalidParameterValue', /DelaySeconds/);
    },
  },
  {
    id: 'send-delay-of-queue',
    source: guidePage('sqs-delay-queues'),
    rule: 'The delay of a queue counts for messages without one of their own; zero is one.',
    run: async (bench) => {
      const url = await bench.queue({ DelaySeconds: '60' });
      await bench.send(url, 'of the queue');
      await bench.send(url, 'own', { DelaySeconds: 0 });
      assert.deepEqual(await bench.bodies(url), ['own']);
      bench.advance(61);
      assert.deepEqual((await bench.bodies(url)).sort(), ['of the queue', 'own']);
    },
  },
  {
    id: 'send-deduplication-id',
    source: apiPage('SendMessage'),
    rule: 'A standard queue takes no MessageDeduplicationId.',
    run: async (bench) => refused(bench.send(await bench.queue(), 'x', { MessageDeduplicationId: 'd' }), 'InvalidParameterValue'),
  },
  {
    id: 'send-group-of-standard',
    source: guidePage('sqs-fair-queues'),
    rule: 'A standard queue takes a MessageGroupId, for fairness, and gives it back.',
    run: async (bench) => {
      const url = await bench.queue();
      for (const body of ['a', 'b']) await bench.send(url, body, { MessageGroupId: 'tenant' });
      const messages = await bench.receive(url, { MaxNumberOfMessages: 1, MessageSystemAttributeNames: ['MessageGroupId'] });
      assert.equal(messages[0]?.Attributes?.MessageGroupId, 'tenant');
      assert.equal((await bench.receive(url)).length, 1, 'the group is not locked');
    },
  },
  {
    id: 'send-attributes',
    source: METADATA,
    rule: 'Attributes of the types String, Number and Binary, with labels, come as they were sent.',
    run: (bench) => takesAttributes(bench, {
      text: text('ä €'), number: text('-1.5e3', 'Number'), labelled: text('1', 'Number.int'), binary: { DataType: 'Binary.png', BinaryValue: Uint8Array.of(0, 255, 128) },
    }),
  },
  {
    id: 'send-attributes-md5',
    source: apiPage('SendMessage'),
    rule: 'The MD5 of the attributes is that of names, types and values in order, each with its length.',
    run: async (bench) => {
      const url = await bench.queue();
      const MessageAttributes = { b: text('1', 'Number'), a: text('x'), c: { DataType: 'Binary', BinaryValue: Uint8Array.of(1) } };
      const part = (content: string | Uint8Array) => {
        const bytes = Buffer.from(content as string);
        const length = Buffer.alloc(4);
        length.writeUInt32BE(bytes.length);
        return Buffer.concat([length, bytes]);
      };
      const kind = (is: number) => Buffer.from([is]);
      const expected = hash('md5', Buffer.concat([
        part('a'), part('String'), kind(1), part('x'), part('b'), part('Number'), kind(1), part('1'), part('c'), part('Binary'), kind(2), part(Uint8Array.of(1)),
      ]));
      assert.equal((await bench.send(url, 'x', { MessageAttributes })).MD5OfMessageAttributes, expected);
      assert.equal((await bench.receiveOne(url)).MD5OfMessageAttributes, expected);
    },
  },
  {
    id: 'send-attributes-most',
    source: METADATA,
    rule: 'A message has up to 10 attributes.',
    run: async (bench) => {
      await takesAttributes(bench, numbered(10));
      await refusesAttributes(bench, numbered(11));
    },
  },
  {
    id: 'send-attributes-empty',
    source: apiPage('MessageAttributeValue'),
    rule: 'Name, type and value of an attribute are not empty.',
    run: async (bench) => {
      await refusesAttributes(bench, { name: text('') });
      await refusesAttributes(bench, { name: { DataType: 'Binary', BinaryValue: new Uint8Array() } });
      await refusesAttributes(bench, { name: { DataType: 'String' } });
      await refusesAttributes(bench, { name: text('v', '') });
      await refusesAttributes(bench, { '': text('v') });
    },
  },
  {
    id: 'send-attributes-names',
    source: METADATA,
    rule: 'Attribute names have letters, digits, _, - and single periods within, up to 256 characters.',
    run: async (bench) => {
      await takesAttributes(bench, { 'A_b-c.9': text('v'), ['n'.repeat(256)]: text('v') });
      for (const name of ['a b', 'ä', '.a', 'a.', 'a..b', 'a/b', 'n'.repeat(257)]) await refusesAttributes(bench, { [name]: text('v') });
    },
  },
  {
    id: 'send-attributes-reserved',
    source: METADATA,
    rule: 'Attribute names do not start with AWS. or Amazon., in any case.',
    run: async (bench) => {
      for (const name of ['AWS.x', 'aws.x', 'Amazon.x', 'AMAZON.x']) await refusesAttributes(bench, { [name]: text('v') });
      await takesAttributes(bench, { awsome: text('v') });
    },
  },
  {
    id: 'send-attributes-types',
    source: METADATA,
    rule: 'The type of an attribute is String, Number or Binary, with an optional label.',
    run: async (bench) => {
      for (const type of ['Text', 'string', 'StringX', '.String']) await refusesAttributes(bench, { name: text('v', type) });
    },
  },
  {
    id: 'send-attributes-value-of-type',
    source: apiPage('MessageAttributeValue'),
    rule: 'A value is given in the field of its type.',
    run: async (bench) => {
      await refusesAttributes(bench, { name: { DataType: 'Binary', StringValue: 'v' } });
      await refusesAttributes(bench, { name: { DataType: 'String', BinaryValue: Uint8Array.of(1) } });
    },
  },
  {
    id: 'send-attributes-number',
    source: METADATA,
    rule: 'The value of a Number is a number.',
    run: async (bench) => {
      for (const value of ['abc', '1,5', '0x', '--1']) await refusesAttributes(bench, { name: text(value, 'Number') });
    },
  },
  {
    id: 'send-attributes-characters',
    source: apiPage('MessageAttributeValue'),
    rule: 'Text values have the characters that bodies may have.',
    run: (bench) => refusesAttributes(bench, { name: text('a\u0001b') }, 'InvalidMessageContents'),
  },
  {
    id: 'send-trace-header',
    source: apiPage('SendMessage'),
    rule: 'The system attribute AWSTraceHeader is kept, does not count for the size, and has an MD5 of its own.',
    run: async (bench) => {
      const url = await bench.queue({ MaximumMessageSize: '1024' });
      const header = 'Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1';
      const sent = await bench.send(url, 'x'.repeat(1024), { MessageSystemAttributes: { AWSTraceHeader: { DataType: 'String', StringValue: header } } });
      assert.match(sent.MD5OfMessageSystemAttributes!, /^[0-9a-f]{32}$/);
      const message = await bench.receiveOne(url);
      assert.deepEqual([message.Attributes?.AWSTraceHeader, message.MessageAttributes], [header, undefined]);
    },
  },
  {
    id: 'send-system-attributes',
    source: apiPage('SendMessage'),
    rule: 'AWSTraceHeader is the only system attribute that can be sent, and is a String.',
    run: async (bench) => {
      const url = await bench.queue();
      const send = (attributes: object) => bench.send(url, 'x', { MessageSystemAttributes: attributes });
      await refused(send({ SenderId: { DataType: 'String', StringValue: 'x' } }), 'InvalidParameterValue');
      await refused(send({ AWSTraceHeader: { DataType: 'Number', StringValue: '1' } }), 'InvalidParameterValue');
    },
  },
  {
    id: 'batch-answer',
    source: apiPage('SendMessageBatch'),
    rule: 'Each entry of a batch is answered by its id.',
    run: async (bench) => {
      const url = await bench.queue();
      const { Successful } = await bench.sendBatch(url, [{ Id: 'a', MessageBody: 'one' }, { Id: 'b', MessageBody: 'two', MessageAttributes: { n: text('v') } }]);
      assert.deepEqual(Successful?.map(({ Id, MD5OfMessageBody }) => [Id, MD5OfMessageBody]), [['a', hash('md5', 'one')], ['b', hash('md5', 'two')]]);
      assert.match(Successful![1]!.MD5OfMessageAttributes!, /^[0-9a-f]{32}$/);
      assert.deepEqual((await bench.bodies(url)).sort(), ['one', 'two']);
    },
  },
  {
    id: 'batch-one-fails',
    source: apiPage('SendMessageBatch'),
    rule: 'An entry that is wrong fails alone, with its code.',
    run: async (bench) => {
      const url = await bench.queue();
      const { Successful, Failed } = await bench.sendBatch(url, [{ Id: 'good', MessageBody: 'x' }, { Id: 'bad', MessageBody: 'x', DelaySeconds: 901 }]);
      assert.deepEqual(Successful?.map(({ Id }) => Id), ['good']);
      failed(Failed, 'bad', 'InvalidParameterValue');
    },
  },
  {
    id: 'batch-empty',
    source: apiPage('SendMessageBatch'),
    rule: 'A batch has at least one entry.',
    run: async (bench) => refused(bench.sendBatch(await bench.queue(), []), 'EmptyBatchRequest'),
  },
  {
    id: 'batch-most',
    source: apiPage('SendMessageBatch'),
    rule: 'A batch has up to 10 entries.',
    run: async (bench) => {
      const entries = Array.from({ length: 11 }, (_, index) => ({ Id: String(index), MessageBody: 'x' }));
      await refused(bench.sendBatch(await bench.queue(), entries), 'TooManyEntriesInBatchRequest');
    },
  },
  {
    id: 'batch-ids-distinct',
    source: apiPage('SendMessageBatch'),
    rule: 'The ids of a batch are distinct.',
    run: async (bench) => {
      const url = await bench.queue();
      await refused(bench.sendBatch(url, [{ Id: 'a', MessageBody: 'x' }, { Id: 'a', MessageBody: 'y' }]), 'BatchEntryIdsNotDistinct');
      assert.deepEqual(await bench.bodies(url), []);
    },
  },
  {
    id: 'batch-ids',
    source: apiPage('SendMessageBatchRequestEntry'),
    rule: 'An id has 1 to 80 letters, digits, hyphens and underscores.',
    run: async (bench) => {
      const url = await bench.queue();
      for (const Id of ['', 'a b', 'a.b', 'x'.repeat(81)]) await refused(bench.sendBatch(url, [{ Id, MessageBody: 'x' }]), 'InvalidBatchEntryId');
      await bench.sendBatch(url, [{ Id: `_-${'x'.repeat(78)}`, MessageBody: 'x' }]);
    },
  },
  {
    id: 'batch-size',
    source: apiPage('SendMessageBatch'),
    rule: 'The messages of a batch have up to 1,048,576 bytes together.',
    run: async (bench) => {
      const url = await bench.queue();
      const halves = (rest: number) => [{ Id: 'a', MessageBody: 'x'.repeat(524_288) }, { Id: 'b', MessageBody: 'x'.repeat(524_288 + rest) }];
      assert.equal((await bench.sendBatch(url, halves(0))).Successful?.length, 2);
      await refused(bench.sendBatch(url, halves(1)), 'BatchRequestTooLong');
    },
  },
  {
    id: 'batch-entry-size',
    source: apiPage('SendMessageBatch'),
    rule: 'An entry larger than the MaximumMessageSize of its queue fails alone.',
    run: async (bench) => {
      const { Failed } = await bench.sendBatch(await bench.queue({ MaximumMessageSize: '1024' }), [{ Id: 'a', MessageBody: 'x' }, { Id: 'b', MessageBody: 'x'.repeat(1025) }]);
      failed(Failed, 'b', 'InvalidParameterValue');
    },
  },
];
