import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EventBridgeClient, PutEventsCommand } from '@aws-sdk/client-eventbridge';
import {
  CreateTopicCommand, GetSubscriptionAttributesCommand, GetTopicAttributesCommand, ListSubscriptionsByTopicCommand, ListTopicsCommand,
  PublishBatchCommand, PublishCommand, SetSubscriptionAttributesCommand, SNSClient, SubscribeCommand, TagResourceCommand,
} from '@aws-sdk/client-sns';
import type { PublishCommandInput } from '@aws-sdk/client-sns';
import { ReceiveMessageCommand, SQSClient } from '@aws-sdk/client-sqs';
import * as cdk from 'aws-cdk-lib';
import * as events from 'aws-cdk-lib/aws-events';
import * as targets from 'aws-cdk-lib/aws-events-targets';
import * as sns from 'aws-cdk-lib/aws-sns';
import * as subscriptions from 'aws-cdk-lib/aws-sns-subscriptions';
import * as sqs from 'aws-cdk-lib/aws-sqs';
import { LocalSns } from './local-sns.ts';
import { functionTest, RECORD } from '../../test/lambda/stack.ts';
import { atEnd, eventually } from '../../test/temporary.ts';
import type { RunContext } from '../service.ts';

test('topics of a stack reach their queues and functions', async (context) => {
  const stackTest = functionTest(context);
  const { stack } = stackTest;
  const queue = (name: string, props: sqs.QueueProps = {}) => new sqs.Queue(stack, name.replace('.', ''), { queueName: name, ...props });
  const orders = new sns.Topic(stack, 'Orders', { topicName: 'orders', displayName: 'Orders' });
  orders.addSubscription(new subscriptions.SqsSubscription(queue('envelope')));
  orders.addSubscription(new subscriptions.SqsSubscription(queue('raw'), { rawMessageDelivery: true }));
  orders.addSubscription(new subscriptions.SqsSubscription(queue('red'), {
    rawMessageDelivery: true,
    filterPolicy: { colour: sns.SubscriptionFilter.stringFilter({ allowlist: ['red'] }), price: sns.SubscriptionFilter.numericFilter({ between: { start: 1, stop: 9 } }) },
  }));
  orders.addSubscription(new subscriptions.SqsSubscription(queue('big'), {
    rawMessageDelivery: true,
    filterPolicyWithMessageBody: {
      order: sns.FilterOrPolicy.policy({ total: sns.FilterOrPolicy.filter(sns.SubscriptionFilter.numericFilter({ greaterThan: 100 })) }),
    },
  }));
  const handler = stackTest.function('Handler', { 'index.js': `${RECORD}exports.handler = async (event) => record(event);` });
  orders.addSubscription(new subscriptions.LambdaSubscription(handler));
  orders.addSubscription(new subscriptions.EmailSubscription('ops@example.com'));
  orders.addSubscription(new subscriptions.UrlSubscription('https://hooks.example/orders'));
  // The policy of this queue names another topic.
  const refusing = queue('refusing');
  const dead = queue('dead');
  new sns.CfnSubscription(stack, 'Refused', {
    topicArn: orders.topicArn, protocol: 'sqs', endpoint: refusing.queueArn, redrivePolicy: { deadLetterTargetArn: dead.queueArn }, filterPolicy: { colour: ['blue'] },
  });
  dead.addToResourcePolicy(new cdk.aws_iam.PolicyStatement({
    actions: ['sqs:SendMessage'],
    principals: [new cdk.aws_iam.ServicePrincipal('sns.amazonaws.com')],
    resources: [dead.queueArn],
    conditions: { ArnEquals: { 'aws:SourceArn': orders.topicArn } },
  }));
  const fifo = new sns.Topic(stack, 'Fifo', { topicName: 'orders.fifo', fifo: true });
  fifo.addSubscription(new subscriptions.SqsSubscription(queue('lines.fifo', { fifo: true }), { rawMessageDelivery: true }));
  const elsewhere = sns.Topic.fromTopicArn(stack, 'Elsewhere', 'arn:aws:sns:eu-west-1:123456789012:elsewhere');
  elsewhere.addSubscription(new subscriptions.SqsSubscription(queue('foreign')));
  new events.Rule(stack, 'Rule', { eventPattern: { source: ['shop'] }, targets: [new targets.SnsTopic(orders)] });
  const { run, seen } = await stackTest.start();

  const credentials = { accessKeyId: 'local', secretAccessKey: 'local' };
  const endpoint = run.environment.AWS_ENDPOINT_URL_SNS ?? assert.fail('no address');
  assert.equal(endpoint, run.endpoints.sns);
  const client = new SNSClient({ region: 'us-east-1', endpoint, credentials });
  const queues = new SQSClient({ region: 'us-east-1', endpoint: run.endpoints.sqs, credentials });
  atEnd(context, () => { client.destroy(); queues.destroy(); });
  const TopicArn = 'arn:aws:sns:us-east-1:000000000000:orders';
  const publish = (Message: string, more: Partial<PublishCommandInput> = {}) => (
    client.send(new PublishCommand({ TopicArn, Message, ...more })));
  const depth = (name: string) => run.queues.find((each) => each.name === name)?.depth().visible;
  /** Publish answers when the queues have the message, so nothing has to be waited for. */
  const received = async (name: string) => {
    const QueueUrl = run.queues.find((each) => each.name === name)?.url;
    const { Messages = [] } = await queues.send(new ReceiveMessageCommand({
      QueueUrl, MaxNumberOfMessages: 10, MessageAttributeNames: ['All'], MessageSystemAttributeNames: ['All'], VisibilityTimeout: 600,
    }));
    return Messages;
  };

  await context.test('what cannot be delivered is named', () => {
    assert.deepEqual(run.warnings.map((warning) => warning.replace(/Test\/\S+/, 'X')).toSorted(), [
      'Subscription X is for the topic arn:aws:sns:eu-west-1:123456789012:elsewhere, which no stack of this run makes: it gets no messages.',
      'Subscription X sends to https://hooks.example/orders by https: the local run delivers to queues and functions only, so it gets no messages.',
      'Subscription X sends to ops@example.com by email: the local run delivers to queues and functions only, so it gets no messages.',
    ]);
  });

  await context.test('raw, in an envelope, and to a function', async () => {
    const { MessageId } = await publish('hello', {
      Subject: 'greeting', MessageAttributes: { colour: { DataType: 'String', StringValue: 'green' }, bytes: { DataType: 'Binary', BinaryValue: Buffer.from([1, 2, 255]) } },
    });
    const [raw] = await received('raw');
    assert.equal(raw?.Body, 'hello');
    const attributes = Object.entries(raw?.MessageAttributes ?? {})
      .map(([name, value]) => [name, value.DataType, value.StringValue ?? [...value.BinaryValue ?? []]]);
    assert.deepEqual(attributes.toSorted(), [['bytes', 'Binary', [1, 2, 255]], ['colour', 'String', 'green']]);
    const [message] = await received('envelope');
    assert.equal(message?.MessageAttributes, undefined);
    const { Timestamp, SigningCertURL, UnsubscribeURL, Signature, ...envelope } = JSON.parse(message?.Body ?? '') as Record<string, string>;
    assert.deepEqual(envelope, {
      Type: 'Notification',
      MessageId,
      TopicArn,
      Subject: 'greeting',
      Message: 'hello',
      SignatureVersion: '1',
      MessageAttributes: { colour: { Type: 'String', Value: 'green' }, bytes: { Type: 'Binary', Value: 'AQL/' } },
    });
    assert.ok(Math.abs(Date.now() - Date.parse(Timestamp ?? '')) < 60_000 && SigningCertURL && UnsubscribeURL && Signature);
    const [event] = await eventually(() => seen<{ Records: { EventSource: string; Sns: Record<string, unknown> }[] }>().length > 0 && seen<{ Records: never[] }>(), 'the function');
    const [record] = event?.Records as unknown as [{ EventSource: string; Sns: Record<string, unknown> }];
    assert.equal(record.EventSource, 'aws:sns');
    assert.deepEqual([record.Sns.Message, record.Sns.Subject, record.Sns.MessageId, record.Sns.TopicArn], ['hello', 'greeting', MessageId, TopicArn]);
  });

  await context.test('filters look at attributes or at the body', async () => {
    const attributes = (colour: string, price: string) => ({
      MessageAttributes: { colour: { DataType: 'String', StringValue: colour }, price: { DataType: 'Number', StringValue: price } },
    });
    await publish('red 5', attributes('red', '5'));
    await publish('red 10', attributes('red', '10'));
    await publish('green 5', attributes('green', '5'));
    await publish('{"order":{"total":101}}');
    await publish('{"order":{"total":99}}');
    assert.deepEqual((await received('red')).map(({ Body }) => Body), ['red 5']);
    assert.deepEqual((await received('big')).map(({ Body }) => Body), ['{"order":{"total":101}}']);
    assert.equal((await received('raw')).length, 5);
  });

  await context.test('a queue that does not let the topic in: the message is in the dead-letter queue of the subscription', async () => {
    await publish('refused', { MessageAttributes: { colour: { DataType: 'String', StringValue: 'blue' } } });
    assert.deepEqual([depth('refusing'), depth('dead')], [0, 1]);
    const [letter] = await received('dead');
    assert.equal((JSON.parse(letter?.Body ?? '') as { Message: string }).Message, 'refused');
  });

  await context.test('a FIFO topic keeps groups, order and deduplication', async () => {
    const answer = await client.send(new PublishBatchCommand({
      TopicArn: `${TopicArn}.fifo`,
      PublishBatchRequestEntries: [
        ...['1', '2', '3', '3'].map((text, index) => ({ Id: `e${index}`, Message: text, MessageGroupId: 'g', MessageDeduplicationId: text })),
        { Id: 'bad', Message: 'm' },
      ],
    }));
    assert.deepEqual(answer.Successful?.map(({ Id }) => Id), ['e0', 'e1', 'e2', 'e3']);
    assert.equal(answer.Successful?.[2]?.MessageId, answer.Successful?.[3]?.MessageId);
    assert.deepEqual(answer.Failed?.map(({ Id, Code, SenderFault }) => [Id, Code, SenderFault]), [['bad', 'InvalidParameter', true]]);
    const messages = await received('lines.fifo');
    const ids = messages.map(({ Body, Attributes }) => [Body, Attributes?.MessageGroupId, Attributes?.MessageDeduplicationId]);
    assert.deepEqual(ids, ['1', '2', '3'].map((text) => [text, 'g', text]));
  });

  await context.test('a rule publishes to a topic', async () => {
    const bus = new EventBridgeClient({ region: 'us-east-1', endpoint: run.endpoints.eventbridge, credentials });
    await received('raw');
    await bus.send(new PutEventsCommand({ Entries: [{ Source: 'shop', DetailType: 'Placed', Detail: '{"id":1}' }] }));
    bus.destroy();
    const [message] = await received('raw');
    assert.deepEqual((JSON.parse(message?.Body ?? '') as { detail: unknown }).detail, { id: 1 });
  });

  await context.test('lists, attributes, and topics that a program makes', async () => {
    const { Topics = [] } = await client.send(new ListTopicsCommand({}));
    assert.deepEqual(Topics.map((topic) => topic.TopicArn), [TopicArn, `${TopicArn}.fifo`]);
    const { Attributes = {} } = await client.send(new GetTopicAttributesCommand({ TopicArn }));
    assert.deepEqual([Attributes.DisplayName, Attributes.SubscriptionsConfirmed, Attributes.TopicArn], ['Orders', '6', TopicArn]);
    const { Subscriptions = [] } = await client.send(new ListSubscriptionsByTopicCommand({ TopicArn: `${TopicArn}.fifo` }));
    assert.deepEqual(Subscriptions.map(({ Protocol, Endpoint }) => [Protocol, Endpoint]), [['sqs', 'arn:aws:sqs:us-east-1:000000000000:lines.fifo']]);

    const created = await client.send(new CreateTopicCommand({ Name: 'made' }));
    const { SubscriptionArn } = await client.send(new SubscribeCommand({
      TopicArn: created.TopicArn, Protocol: 'sqs', Endpoint: 'arn:aws:sqs:us-east-1:000000000000:raw', Attributes: { RawMessageDelivery: 'true' },
    }));
    await client.send(new SetSubscriptionAttributesCommand({ SubscriptionArn, AttributeName: 'FilterPolicy', AttributeValue: '{"a":["b"]}' }));
    const settings = await client.send(new GetSubscriptionAttributesCommand({ SubscriptionArn }));
    assert.deepEqual([settings.Attributes?.RawMessageDelivery, settings.Attributes?.FilterPolicy], ['true', '{"a":["b"]}']);
    const change = { SubscriptionArn, AttributeName: 'FilterPolicy', AttributeValue: '{"a":"b"}' };
    await assert.rejects(client.send(new SetSubscriptionAttributesCommand(change)), { name: 'InvalidParameterException' });
    await assert.rejects(client.send(new TagResourceCommand({ ResourceArn: TopicArn, Tags: [] })), {
      message: /SNS has no TagResource in the local run\. It has: CreateTopic/,
    });
  });
});

test('a message that a topic does not take from a rule or a schedule is not tried again', async () => {
  const run: Partial<RunContext> = { account: '123456789012', region: 'us-east-1', log: () => undefined, receiver: () => undefined };
  const service = new LocalSns(run as RunContext);
  const arn = service.topics.create('orders.fifo', { FifoTopic: 'true' });
  const sender = { service: 'events.amazonaws.com', sourceArn: 'arn:aws:events:us-east-1:123456789012:rule/r', sourceAccount: '123456789012' };
  await assert.rejects(service.receiver(arn)!.deliver('{}', sender), { name: 'DeliveryError', code: 'INVALID_PARAMETER', message: /MessageGroupId/ });
});
