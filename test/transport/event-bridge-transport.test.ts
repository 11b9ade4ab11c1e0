import { join } from 'node:path';
import { App, Duration, Stack } from 'aws-cdk-lib';
import { Annotations, Match, Template } from 'aws-cdk-lib/assertions';
import * as events from 'aws-cdk-lib/aws-events';
import * as kms from 'aws-cdk-lib/aws-kms';
import * as sqs from 'aws-cdk-lib/aws-sqs';
import { Construct } from 'constructs';
import {
  BufferedEventConsumer, EventArchive, EventBridgeTransportOptions, EventSubscriptionOptions, EventTransport, EventTransportBindOptions,
  IEventChannel, IHostedService, ServiceHost, ServiceKind, WorkloadImage,
} from '../../src';
import { testKubernetes } from '../cluster';
import { ownTarget } from '../consumer/targets';
import { evaluate } from '../evaluate';
import { expectLogicalIds } from '../logical-ids';

const account = '111122223333';
let stack: Stack;
beforeEach(() => {
  stack = new Stack(new App(), 'Test', { env: { account, region: 'eu-west-1' } });
});

function channelOf(options: EventBridgeTransportOptions = {}, bind: Partial<EventTransportBindOptions> = {}): IEventChannel {
  return EventTransport.eventBridge(options).bindTransport(stack, { eventSource: 'com.example.orders', ...bind });
}

function subscribe(channel: IEventChannel, options: Partial<EventSubscriptionOptions> = {}, id = 'Stock'): BufferedEventConsumer {
  const says = ['events', 'eventPattern', 'eventPatterns', 'queue'].some((name) => name in options);
  const all = says ? options : { ...options, events: ['order.created'] };
  return channel.addSubscription(stack, id, { target: ownTarget(), ...all }) as BufferedEventConsumer;
}

function relay(): IHostedService {
  return ServiceHost.kubernetes(testKubernetes(stack), { image: WorkloadImage.fromRegistry('public.ecr.aws/team/orders:1') })
    .bindService(stack, 'Relay', { kind: ServiceKind.RELAY, environment: {} });
}

const template = () => Template.fromStack(stack);
const rules = () => Object.values(template().findResources('AWS::Events::Rule')).map(({ Properties }) => Properties);
const published = () => Object.values(template().findResources('AWS::IAM::Policy')).flatMap(({ Properties }) => Properties.PolicyDocument.Statement);

describe('without a bus of one\'s own', () => {
  test('there is a new one, with an archive of 30 days', () => {
    const channel = channelOf();
    template().resourceCountIs('AWS::Events::EventBus', 1);
    template().hasResourceProperties('AWS::Events::Archive', { RetentionDays: 30, SourceArn: stack.resolve(channel.eventBus!.eventBusArn) });
    expect(stack.resolve(channel.archive!.archiveArn)).toEqual({ 'Fn::GetAtt': [expect.stringMatching(/^BusArchive/), 'Arn'] });
    expect(channel.environment).toEqual({ EVENT_BUS_NAME: channel.eventBus!.eventBusName, EVENT_SOURCE: 'com.example.orders' });
    expect(channel.egressPorts).toBeUndefined();
  });

  test.each<[string, EventArchive, number]>([
    ['as long as is said', EventArchive.retain(Duration.days(90)), 90],
    // So AWS says it: https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-events-archive.html
    ['forever', EventArchive.indefinite(), 0],
  ])('events are kept %s', (_, archive, days) => {
    expect(channelOf({ archive }).archive).toBeDefined();
    const [found] = Object.values(template().findResources('AWS::Events::Archive'));
    expect(found!.Properties.RetentionDays).toBe(days);
  });

  test('events are kept not at all, if that is said', () => {
    expect(channelOf({ archive: EventArchive.none() }).archive).toBeUndefined();
    template().resourceCountIs('AWS::Events::Archive', 0);
  });

  test('a key encrypts bus, archive and queues', () => {
    const encryptionKey = new kms.Key(stack, 'Key');
    const arn = stack.resolve(encryptionKey.keyArn);
    subscribe(channelOf({}, { encryptionKey }));
    template().hasResourceProperties('AWS::Events::EventBus', { KmsKeyIdentifier: arn });
    template().hasResourceProperties('AWS::Events::Archive', { KmsKeyIdentifier: arn });
    template().resourcePropertiesCountIs('AWS::SQS::Queue', { KmsMasterKeyId: arn }, 2);
  });

  test('it keeps its logical ids', () => {
    subscribe(channelOf());
    expectLogicalIds(stack, join(__dirname, 'logical-ids', 'event-bridge.json'));
  });
});

/** A bus each way to have one; how a statement and a rule name it. */
const BUSES: [string, () => events.IEventBusRef, unknown, unknown][] = [
  ['a bus', () => new events.EventBus(stack, 'Own'), { 'Fn::GetAtt': ['Own30425842', 'Arn'] }, { Ref: 'Own30425842' }],
  ['an L1 bus', () => new events.CfnEventBus(stack, 'Own', { name: 'orders' }), { 'Fn::GetAtt': ['Own', 'Arn'] },
    { 'Fn::Select': [1, { 'Fn::Split': ['/', { 'Fn::Select': [5, { 'Fn::Split': [':', { 'Fn::GetAtt': ['Own', 'Arn'] }] }] }] }] }],
  ['a reference to a bus', () => {
    const own = new Construct(stack, 'Own');
    const eventBusArn = `arn:aws:events:eu-west-1:${account}:event-bus/orders`;
    return Object.assign(own, { env: { account, region: 'eu-west-1' }, eventBusRef: { eventBusArn, eventBusName: 'orders' } }) as events.IEventBusRef;
  }, `arn:aws:events:eu-west-1:${account}:event-bus/orders`, 'orders'],
  ['an imported bus', () => events.EventBus.fromEventBusName(stack, 'Own', 'orders'),
    { 'Fn::Join': ['', ['arn:', { Ref: 'AWS::Partition' }, `:events:eu-west-1:${account}:event-bus/orders`]] }, 'orders'],
];

describe.each(BUSES)('with %s', (_, bus, arn, name) => {
  test('services publish to it and consumers get its events, without a bus or an archive more', () => {
    const channel = channelOf({ eventBus: bus() });
    const publisher = relay();
    channel.allowPublish(publisher);
    const consumer = subscribe(channel);
    expect(published()).toEqual([{ Action: 'events:PutEvents', Effect: 'Allow', Resource: arn }]);
    expect(stack.resolve(channel.environment.EVENT_BUS_NAME)).toEqual(name);
    expect(rules()).toEqual([expect.objectContaining({
      EventBusName: name, EventPattern: { 'source': ['com.example.orders'], 'detail-type': ['OrderCreated'] },
    })]);
    expect(channel.archive).toBeUndefined();
    expect(consumer.relayBus).toBeUndefined();
    expect(Object.keys(template().findResources('AWS::Events::EventBus')).filter((id) => !id.startsWith('Own'))).toEqual([]);
    template().resourceCountIs('AWS::Events::Archive', 0);
    Annotations.fromStack(stack).hasNoWarning('/Test/Stock', Match.anyValue());
  });

  test('a key encrypts the queues alone', () => {
    const encryptionKey = new kms.Key(stack, 'Key');
    subscribe(channelOf({ eventBus: bus() }, { encryptionKey }));
    template().resourcePropertiesCountIs('AWS::SQS::Queue', { KmsMasterKeyId: stack.resolve(encryptionKey.keyArn) }, 2);
    template().resourcePropertiesCountIs('AWS::Events::EventBus', { KmsKeyIdentifier: Match.anyValue() }, 0);
  });

  test('an archive is the bus owner\'s', () => {
    expect(() => channelOf({ eventBus: bus(), archive: EventArchive.indefinite() }))
      .toThrow("archive can't be given together with eventBus: set it where eventBus is defined, or leave eventBus out (in 'Test')");
  });
});

describe('with a bus of another account', () => {
  const arn = 'arn:aws:events:eu-west-1:999999999999:event-bus/central';
  const central = () => channelOf({ eventBus: events.EventBus.fromEventBusArn(stack, 'Central', arn) });

  test('services publish to it, by its ARN', () => {
    const channel = central();
    channel.allowPublish(relay());
    expect(published()).toEqual([{ Action: 'events:PutEvents', Effect: 'Allow', Resource: arn }]);
    // PutEvents takes a name for that of a bus of the caller's account.
    expect(channel.environment.EVENT_BUS_NAME).toBe(arn);
  });

  test('services of a stack that does not say its account publish by the ARN, too', () => {
    stack = new Stack(new App(), 'Test');
    expect(central().environment.EVENT_BUS_NAME).toBe(arn);
    expect(channelOf({ eventBus: events.EventBus.fromEventBusName(stack, 'Own', 'orders') }).environment.EVENT_BUS_NAME).toBe('orders');
  });

  test('subscriptions have a bus here, and say which statement the other one needs', () => {
    const consumer = subscribe(central());
    expect(consumer.relayBus).toBeDefined();
    expect(rules().filter(({ EventBusName }) => EventBusName === arn)).toHaveLength(1);
    expect(evaluate(stack.resolve(consumer.eventBusPolicyStatement!.toStatementJson())))
      .toMatchObject({ Principal: { AWS: `arn:aws:iam::${account}:root` }, Resource: 'arn:aws:events:eu-west-1:999999999999:rule/central/*' });
    Annotations.fromStack(stack).hasWarning('/Test/Stock', Match.stringLikeRegexp('cdk-order-pipeline:eventBusPolicyNotUpdated'));
  });
});

describe('a subscription', () => {
  test('names events by their types', () => {
    subscribe(channelOf({}, { eventSource: 'com.example.shop' }), { events: ['order.created', 'inventory.validated', 'order.update-rejected'] });
    expect(rules().map(({ EventPattern }) => EventPattern)).toEqual([
      { 'source': ['com.example.shop'], 'detail-type': ['OrderCreated', 'StockValidated', 'OrderUpdateRejected'] },
    ]);
  });

  test('means the pipeline\'s own events, unless a pattern names another source', () => {
    subscribe(channelOf(), { eventPatterns: [{ detailType: ['OrderCreated'] }, { source: ['com.partner'] }] });
    expect(rules().map(({ EventPattern }) => EventPattern)).toEqual([
      { 'source': ['com.example.orders'], 'detail-type': ['OrderCreated'] }, { source: ['com.partner'] },
    ]);
  });

  test('may be without events, to a queue that others send to', () => {
    const queue = new sqs.Queue(stack, 'Queue');
    expect(subscribe(channelOf({}, { encryptionKey: new kms.Key(stack, 'Key') }), { queue }).queue).toBe(queue);
    expect(rules()).toEqual([]);
  });

  test('may have a key of its own', () => {
    const [own, shared] = ['Own', 'Shared'].map((id) => new kms.Key(stack, id));
    subscribe(channelOf({}, { encryptionKey: shared }), { encryptionKey: own });
    template().resourcePropertiesCountIs('AWS::SQS::Queue', { KmsMasterKeyId: stack.resolve(own!.keyArn) }, 2);
  });

  test.each<[string, Partial<EventSubscriptionOptions>, string]>([
    ['no event', { events: [] }, "Stock.events is empty: name at least one type, such as 'order.created'"],
    ['a detail type', { events: ['order.created', 'OrderCreated'] },
      "Stock.events[1] must be a type of events, such as 'order.created', got 'OrderCreated': for detail types of EventBridge, give eventPattern instead"],
    ['a type in one word', { events: ['created'] }, "Stock.events[0] must be a type of events, such as 'order.created', got 'created'"],
    ['a type twice', { events: ['order.created', 'order.created'] }, "Stock.events[1] is named twice: 'order.created'"],
    ['types and a pattern', { events: ['order.created'], eventPattern: { source: ['shop'] } },
      "Stock.events and Stock.eventPattern can't be given together: choose one"],
    ['types and patterns', { events: ['order.created'], eventPatterns: [{ source: ['shop'] }] },
      "Stock.events and Stock.eventPatterns can't be given together: choose one"],
  ])('can\'t name %s', (_, options, message) => {
    const channel = channelOf();
    expect(() => subscribe(channel, options)).toThrow(message);
    expect(() => subscribe(channel, options)).toThrow(/ \(in 'Test'\)$/);
  });
});

test('the source of a pipeline can\'t be one of AWS', () => {
  expect(() => channelOf({}, { eventSource: 'aws.orders' }))
    .toThrow("eventSource must not start with 'aws.', which EventBridge keeps for AWS services, got 'aws.orders' (in 'Test')");
});
