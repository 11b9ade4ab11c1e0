import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { TestContext } from 'node:test';
import { PublishCommand, SNSClient, SubscribeCommand } from '@aws-sdk/client-sns';
import { atEnd } from '../../test/temporary.ts';
import { DeliveryError } from '../service.ts';
import type { DeliveryOptions, MessageAttribute, Sender } from '../service.ts';
import { serveSns } from './endpoint.ts';
import { compileFilter } from './filter.ts';
import { Topics } from './topics.ts';

const account = '000000000000';
const queueArn = (name: string) => `arn:aws:sqs:us-east-1:${account}:${name}`;

interface Got {
  readonly arn: string;
  readonly body: string;
  readonly sender: Sender;
  readonly options: DeliveryOptions;
}

/** Topics whose queues are a list of this test; the queue `refusing` takes nothing. */
function topicsOf(clock = () => Date.now()) {
  const got: Got[] = [];
  const logged: string[] = [];
  const topics = new Topics({
    account,
    region: 'us-east-1',
    clock,
    url: () => 'http://127.0.0.1:1',
    log: (level, message) => void logged.push(`${level} ${message}`),
    receiver: (arn) => ({
      deliver: async (body, sender, options = {}) => {
        if (arn.endsWith(':refusing')) throw new DeliveryError('NO_PERMISSIONS', 'The policy says no.');
        got.push({ arn, body, sender, options });
      },
    }),
  });
  return { topics, got, logged, bodies: () => got.map(({ body }) => body) };
}

const attribute = (StringValue: string, DataType = 'String'): MessageAttribute => ({ DataType, StringValue });
const message = (text: string, more: object = {}) => ({ message: text, attributes: {}, ...more });

describe('filter policies over attributes', () => {
  const attributes: Record<string, MessageAttribute> = {
    'store': attribute('example_corp'),
    'event': attribute('order_cancelled'),
    'price': attribute('210.75', 'Number'),
    'interests': attribute('["rugby","tennis",null,7,true]', 'String.Array'),
    'broken': attribute('[1', 'String.Array'),
    'ip': attribute('10.0.0.15'),
    'with.dot': attribute('yes'),
    'bytes': { DataType: 'Binary', BinaryValue: 'AAAA' },
  };
  // Most come from "Amazon SNS message filtering" in the developer guide.
  const cases: [policy: object, accepted: boolean][] = [
    [{}, true],
    [{ store: ['example_corp'] }, true],
    [{ store: ['Example_Corp'] }, false],
    [{ store: [{ 'equals-ignore-case': 'Example_Corp' }] }, true],
    [{ store: ['other', 'example_corp'], event: [{ prefix: 'order_' }] }, true],
    [{ store: ['example_corp'], event: ['order_placed'] }, false],
    [{ event: [{ suffix: '_cancelled' }] }, true],
    [{ event: [{ 'anything-but': ['order_cancelled', 'order_placed'] }] }, false],
    [{ event: [{ 'anything-but': 'order_placed' }] }, true],
    [{ event: [{ 'anything-but': { prefix: 'order_' } }] }, false],
    [{ missing: [{ 'anything-but': 'x' }] }, false],
    [{ price: [{ numeric: ['>=', 200, '<', 300] }] }, true],
    [{ price: [{ numeric: ['=', 210.75] }] }, true],
    [{ price: [210.75] }, true],
    [{ price: ['210.75'] }, false],
    [{ price: [{ numeric: ['>', 300] }] }, false],
    [{ store: [{ numeric: ['>', 0] }] }, false],
    [{ interests: ['tennis', 'baseball'] }, true],
    [{ interests: ['baseball'] }, false],
    [{ interests: [{ 'anything-but': ['rugby'] }] }, true],
    [{ interests: [null] }, true],
    [{ interests: [7] }, true],
    [{ interests: [true] }, true],
    [{ broken: [{ exists: true }] }, false],
    [{ store: [{ exists: true }] }, true],
    [{ store: [{ exists: false }] }, false],
    [{ missing: [{ exists: false }] }, true],
    [{ bytes: [{ exists: true }] }, false],
    [{ ip: [{ cidr: '10.0.0.0/24' }] }, true],
    [{ ip: [{ cidr: '10.0.1.0/24' }] }, false],
    [{ 'with.dot': ['yes'] }, true],
    [{ $or: [{ store: ['other'] }, { price: [{ numeric: ['>', 200] }] }] }, true],
    [{ $or: [{ store: ['other'] }, { price: [{ numeric: ['>', 300] }] }], event: [{ prefix: 'order' }] }, false],
  ];
  for (const [policy, accepted] of cases) {
    test(`${accepted ? 'accepts' : 'refuses'} ${JSON.stringify(policy)}`, () => {
      assert.equal(compileFilter(JSON.stringify(policy), 'MessageAttributes')({ message: '{}', attributes }), accepted);
    });
  }

  test('and over a body, in which objects are nested', () => {
    const filter = (policy: object) => compileFilter(JSON.stringify(policy), 'MessageBody');
    const body = (text: string) => ({ message: text, attributes: { store: attribute('example_corp') } });
    const policy = filter({ store: ['example_corp'], order: { total: [{ numeric: ['>', 10] }] } });
    assert.equal(policy(body('{"store":"example_corp","order":{"total":11}}')), true);
    assert.equal(policy(body('{"store":"example_corp","order":{"total":9}}')), false);
    assert.equal(policy(body('{"order":{"total":11}}')), false);
    for (const other of ['plain text', '[1]', '"text"', 'null', '']) assert.equal(policy(body(other)), false, other);
    assert.equal(filter({ interests: ['tennis'] })(body('{"interests":["rugby","tennis"]}')), true);
  });

  test('a policy that is not valid is an error that names the field', () => {
    const compile = (policy: string, scope: 'MessageAttributes' | 'MessageBody' = 'MessageAttributes') => () => compileFilter(policy, scope);
    assert.throws(compile('{"a":[{"starts":"x"}]}'), { name: 'InvalidParameter', message: /^Invalid parameter: FilterPolicy: Unrecognized match type starts \(field: a\)/ });
    assert.throws(compile('{"a":{"b":["c"]}}'), { message: /does not support nested filter policy/ });
    assert.doesNotThrow(compile('{"a":{"b":["c"]}}', 'MessageBody'));
    assert.throws(compile('[1]'), { message: /it must be a JSON object/ });
    assert.throws(compile('{"a'), { message: /it must be a JSON object/ });
    assert.doesNotThrow(compile(JSON.stringify({ a: Array.from({ length: 150 }, (_, index) => `${index}-${'x'.repeat(100)}`) })));
  });
});

describe('a FIFO topic', () => {
  test('hands on groups and deduplication ids, and publishes what is the same within five minutes once', async () => {
    let now = 1_000_000;
    const { topics, got, bodies } = topicsOf(() => now);
    const topic = topics.create('orders.fifo', { FifoTopic: 'true', ContentBasedDeduplication: 'true' });
    topics.subscribe(topic, 'sqs', queueArn('orders.fifo'), { RawMessageDelivery: 'true' });
    topics.subscribe(topic, 'sqs', queueArn('audit'), { RawMessageDelivery: 'true' });
    const first = await topics.publish(topic, message('1', { messageGroupId: 'g' }));
    assert.deepEqual(await topics.publish(topic, message('1', { messageGroupId: 'other' })), first);
    const second = await topics.publish(topic, message('1', { messageGroupId: 'g', messageDeduplicationId: 'own' }));
    assert.ok(first.sequenceNumber?.length === 20 && (second.sequenceNumber ?? '') > first.sequenceNumber);
    now += 299_999;
    assert.deepEqual(await topics.publish(topic, message('1', { messageGroupId: 'g' })), first);
    now += 1;
    assert.notDeepEqual(await topics.publish(topic, message('1', { messageGroupId: 'g' })), first);
    const ids = got.filter(({ arn }) => arn.endsWith('.fifo'))
      .map(({ options: { messageGroupId, messageDeduplicationId } }) => [messageGroupId, messageDeduplicationId?.length]);
    assert.deepEqual(ids, [['g', 64], ['g', 3], ['g', 64]]);
    // A standard queue has fair groups and no deduplication.
    assert.ok(got.filter(({ arn }) => arn.endsWith(':audit')).every(({ options }) => options.messageGroupId === 'g' && options.messageDeduplicationId === undefined));
    assert.equal(bodies().length, 6);
  });

  test('deduplicates within a group if its throughput scope is the group', async () => {
    const { topics, bodies } = topicsOf();
    const topic = topics.create('orders.fifo', { FifoTopic: 'true', ContentBasedDeduplication: 'true', FifoThroughputScope: 'MessageGroup' });
    topics.subscribe(topic, 'sqs', queueArn('orders.fifo'), { RawMessageDelivery: 'true' });
    for (const messageGroupId of ['a', 'b', 'a']) await topics.publish(topic, message('same', { messageGroupId }));
    assert.deepEqual(bodies(), ['same', 'same']);
  });

  test('keeps the order of concurrent publications', async () => {
    const { topics, bodies } = topicsOf();
    const topic = topics.create('orders.fifo', { FifoTopic: 'true', ContentBasedDeduplication: 'true' });
    topics.subscribe(topic, 'sqs', queueArn('orders.fifo'), { RawMessageDelivery: 'true' });
    const all = Array.from({ length: 50 }, (_, index) => String(index));
    await Promise.all(all.map((text) => topics.publish(topic, message(text, { messageGroupId: 'g' }))));
    assert.deepEqual(bodies(), all);
  });

  test('and a standard one refuse the parameters of the other', async () => {
    const { topics } = topicsOf();
    const plain = topics.create('plain');
    const fifo = topics.create('orders.fifo', { FifoTopic: 'true' });
    await assert.rejects(topics.publish(fifo, message('m')), { name: 'InvalidParameter', message: /MessageGroupId parameter is required/ });
    await assert.rejects(topics.publish(fifo, message('m', { messageGroupId: 'g' })), { message: /ContentBasedDeduplication enabled or MessageDeduplicationId/ });
    await assert.rejects(topics.publish(plain, message('m', { messageDeduplicationId: 'd' })), { message: /not valid for this topic type/ });
    assert.throws(() => topics.subscribe(plain, 'sqs', queueArn('orders.fifo')), { message: /use a FIFO topic/ });
    assert.throws(() => topics.create('orders', { FifoTopic: 'true' }), { message: 'Invalid parameter: Topic Name' });
  });
});

describe('a message', () => {
  test('that a queue refuses goes to the dead-letter queue of the subscription, or is lost with an error in the log', async () => {
    const { topics, got, logged } = topicsOf();
    const topic = topics.create('orders');
    topics.subscribe(topic, 'sqs', queueArn('refusing'), { RawMessageDelivery: 'true', RedrivePolicy: JSON.stringify({ deadLetterTargetArn: queueArn('dead') }) });
    await topics.publish(topic, message('m', { attributes: { a: attribute('1') } }));
    assert.deepEqual(got.map(({ arn, body, options }) => [arn, body, options.messageAttributes]), [[queueArn('dead'), 'm', { a: attribute('1') }]]);
    assert.deepEqual(got[0]?.sender, { service: 'sns.amazonaws.com', sourceArn: topic, sourceAccount: account });
    assert.match(logged[0] ?? '', /^warn SNS: .*NO_PERMISSIONS: The policy says no\.\); the message is in .*:dead\.$/);

    topics.subscription(topics.subscriptions()[0]?.arn ?? '').set({ RedrivePolicy: '' });
    await topics.publish(topic, message('m'));
    assert.match(logged[1] ?? '', /^error SNS: .*has no dead-letter queue, so the message is lost\.$/);
  });

  test('with more attributes than a queue takes cannot be delivered raw', async () => {
    const { topics, got } = topicsOf();
    const topic = topics.create('orders');
    topics.subscribe(topic, 'sqs', queueArn('raw'), { RawMessageDelivery: 'true' });
    topics.subscribe(topic, 'sqs', queueArn('envelope'));
    await topics.publish(topic, message('m', { attributes: Object.fromEntries(Array.from({ length: 11 }, (_, index) => [`a${index}`, attribute('1')])) }));
    assert.deepEqual(got.map(({ arn }) => arn), [queueArn('envelope')]);
  });

  test('is checked as SNS does', async () => {
    const { topics } = topicsOf();
    const topic = topics.create('orders');
    const refused: [object, RegExp][] = [
      [message(''), /Empty message/],
      [message('x'.repeat(262_145)), /Message too long/],
      [message('x'.repeat(262_140), { attributes: { a: attribute('1') } }), /Message too long/],
      [message('m', { subject: 'a\nb' }), /Subject/],
      [message('m', { messageStructure: 'json' }), /JSON message body failed to parse/],
      [message('{"sqs":"m"}', { messageStructure: 'json' }), /No default entry/],
      [message('m', { attributes: { a: attribute('1', 'Text') } }), /supported type prefixes/],
      [message('m', { attributes: { a: attribute('') } }), /non-empty message attribute value/],
      [message('m', { attributes: { a: attribute('ten', 'Number') } }), /Could not cast/],
    ];
    for (const [given, reason] of refused) await assert.rejects(topics.publish(topic, given as never), { name: 'InvalidParameter', message: reason });
    await assert.rejects(topics.publish(`${topic}x`, message('m')), { name: 'NotFound', message: 'Topic does not exist', status: 404 });
  });
});

async function clientOf(context: TestContext) {
  const made = topicsOf();
  const server = await serveSns(made.topics, () => undefined, 0);
  const client = new SNSClient({ region: 'us-east-1', endpoint: server.url, credentials: { accessKeyId: 'local', secretAccessKey: 'local' }, maxAttempts: 1 });
  atEnd(context, () => server.close());
  atEnd(context, () => client.destroy());
  return { ...made, client };
}

test('errors have the names that an SDK knows, and say which protocols stay on this machine', async (context) => {
  const { client, topics } = await clientOf(context);
  const toNone = new PublishCommand({ TopicArn: `arn:aws:sns:us-east-1:${account}:none`, Message: 'm' });
  await assert.rejects(client.send(toNone), { name: 'NotFoundException', message: 'Topic does not exist' });
  await assert.rejects(client.send(new PublishCommand({ PhoneNumber: '+1', Message: 'm' })), { name: 'InvalidParameterException', message: /to topics only, and not to phones/ });
  const TopicArn = topics.create('orders');
  await assert.rejects(client.send(new SubscribeCommand({ TopicArn, Protocol: 'email', Endpoint: 'a@example.com' })),
    { name: 'InvalidParameterException', message: /delivers to sqs and lambda only, and not to email/ });
});
