import { App, Duration, IPropertyInjector, PropertyInjectors, Stack } from 'aws-cdk-lib';
import { Annotations, Match, Template } from 'aws-cdk-lib/assertions';
import * as kms from 'aws-cdk-lib/aws-kms';
import * as sqs from 'aws-cdk-lib/aws-sqs';
import { functionOf, ownTarget } from './targets';
import { BufferedEventConsumer, BufferedEventConsumerProps, ConsumerTarget, QueueType } from '../../src';

let app: App;
let stack: Stack;
beforeEach(() => {
  app = new App();
  stack = new Stack(app, 'Test', { env: { account: '111122223333', region: 'eu-west-1' } });
});

function inject(constructUniqueId: string, change: (props: any) => object): void {
  const injector: IPropertyInjector = { constructUniqueId, inject: (props) => ({ ...props, ...change(props) }) };
  PropertyInjectors.of(app).add(injector);
}

function consumerOf(props: Partial<BufferedEventConsumerProps> = {}): BufferedEventConsumer {
  return new BufferedEventConsumer(stack, 'Consumer', {
    eventPattern: { detailType: ['OrderCreated'] }, target: ConsumerTarget.lambdaFunction(functionOf(stack)), ...props,
  });
}

const queues = () => Object.fromEntries(Object.entries(Template.fromStack(stack).findResources('AWS::SQS::Queue'))
  .map(([id, { Properties }]) => [id.replace(/[0-9A-F]{8}$/, ''), { key: Properties.KmsMasterKeyId, sse: Properties.SqsManagedSseEnabled }]));
const encrypted = (key: unknown) => ({ key, sse: undefined });

describe('an organisation\'s injector that says how queues are encrypted', () => {
  const eventBridge = {
    Effect: 'Allow',
    Principal: { Service: 'events.amazonaws.com' },
    Action: ['kms:Decrypt', 'kms:GenerateDataKey*'],
    Resource: '*',
    Condition: { StringEquals: { 'aws:SourceAccount': '111122223333' } },
  };
  /** What the policies of the stack's keys say of EventBridge. */
  const ofEventBridge = () => Object.values(Template.fromStack(stack).findResources('AWS::KMS::Key'))
    .map(({ Properties }) => Properties.KeyPolicy.Statement.filter(({ Principal }: any) => Principal.Service));
  const decrypts = () => Object.values(Template.fromStack(stack).findResources('AWS::IAM::Policy'))
    .flatMap(({ Properties }) => Properties.PolicyDocument.Statement).filter(({ Action }) => Action === 'kms:Decrypt');

  test('gives each of them its key, which EventBridge and the target may use', () => {
    const key = new kms.Key(stack, 'Key');
    inject(sqs.Queue.PROPERTY_INJECTION_ID, () => ({ encryption: sqs.QueueEncryption.KMS, encryptionMasterKey: key }));
    const consumer = consumerOf();
    const arn = stack.resolve(key.keyArn);
    expect(queues()).toEqual({ ConsumerQueue: encrypted(arn), ConsumerDeadLetterQueue: encrypted(arn) });
    expect(ofEventBridge()).toEqual([[eventBridge]]);
    expect(decrypts()).toEqual([{ Effect: 'Allow', Action: 'kms:Decrypt', Resource: arn }]);
    expect(consumer.consumePolicyStatements).toHaveLength(2);
    Annotations.fromStack(stack).hasNoWarning('*', Match.anyValue());
  });

  test('gives it also to the dead-letter queue that a FIFO queue needs for EventBridge', () => {
    const key = new kms.Key(stack, 'Key');
    inject(sqs.Queue.PROPERTY_INJECTION_ID, () => ({ encryptionMasterKey: key }));
    consumerOf({ queueType: QueueType.fifo() });
    const each = encrypted(stack.resolve(key.keyArn));
    expect(queues()).toEqual({ ConsumerQueue: each, ConsumerDeadLetterQueue: each, ConsumerRuleDeadLetterQueue: each });
    expect(ofEventBridge()).toEqual([[eventBridge]]);
  });

  test('may let each have a new key of its own', () => {
    inject(sqs.Queue.PROPERTY_INJECTION_ID, () => ({ encryption: sqs.QueueEncryption.KMS }));
    consumerOf();
    const key = (id: string) => encrypted({ 'Fn::GetAtt': [expect.stringMatching(id), 'Arn'] });
    expect(queues()).toEqual({ ConsumerQueue: key('^ConsumerQueueKey'), ConsumerDeadLetterQueue: key('^ConsumerDeadLetterQueueKey') });
    expect(ofEventBridge()).toEqual([[eventBridge], [eventBridge]]);
    expect(decrypts().map(({ Resource }) => Resource)).toEqual([{ 'Fn::GetAtt': [expect.stringMatching('^ConsumerQueueKey'), 'Arn'] }]);
  });

  test('may take the keys of Amazon SQS, and is not asked if the consumer has a key', () => {
    inject(sqs.Queue.PROPERTY_INJECTION_ID, ({ encryption, encryptionMasterKey }) => (
      encryptionMasterKey ? {} : { encryption: encryption ?? sqs.QueueEncryption.SQS_MANAGED }));
    const encryptionKey = new kms.Key(stack, 'Key');
    consumerOf({ encryptionKey });
    new BufferedEventConsumer(stack, 'Other', { eventPattern: { source: ['shop'] }, target: ownTarget() });
    const [own, managed] = [encrypted(stack.resolve(encryptionKey.keyArn)), { key: undefined, sse: true }];
    expect(queues()).toEqual({ ConsumerQueue: own, ConsumerDeadLetterQueue: own, OtherQueue: managed, OtherDeadLetterQueue: managed });
  });

  test.each<[string, () => object]>([
    ['by the way of encryption', () => ({ encryption: sqs.QueueEncryption.KMS_MANAGED })],
    ['by its alias', () => ({ encryptionMasterKey: kms.Alias.fromAliasName(stack, 'Managed', 'alias/aws/sqs') })],
  ])('can\'t take the key that AWS manages, %s, as EventBridge can\'t use it', (_, encryption) => {
    inject(sqs.Queue.PROPERTY_INJECTION_ID, encryption);
    expect(() => consumerOf()).toThrow("the new queue 'DeadLetterQueue' is encrypted with the key alias/aws/sqs, which EventBridge can't use, as its policy "
      + 'can\'t be changed: encrypt it with QueueEncryption.SQS_MANAGED or with a customer managed key (in \'Test/Consumer\')');
  });

  test('is not needed: without one, queues are encrypted with keys of Amazon SQS', () => {
    consumerOf({ queueType: QueueType.fifo() });
    const managed = { key: undefined, sse: true };
    expect(queues()).toEqual({ ConsumerQueue: managed, ConsumerDeadLetterQueue: managed, ConsumerRuleDeadLetterQueue: managed });
  });

  test('can encrypt nothing in clear, but leave it to Amazon SQS', () => {
    inject(sqs.Queue.PROPERTY_INJECTION_ID, () => ({ encryption: undefined }));
    consumerOf();
    expect(queues()).toEqual({ ConsumerQueue: { key: undefined, sse: true }, ConsumerDeadLetterQueue: { key: undefined, sse: true } });
  });
});

test('an injector for consumers changes their defaults', () => {
  inject('cdk-order-pipeline.BufferedEventConsumer', (props) => ({ maxReceiveCount: props.maxReceiveCount ?? 9 }));
  consumerOf();
  new BufferedEventConsumer(stack, 'Own', { eventPattern: { source: ['shop'] }, target: ownTarget(), maxReceiveCount: 2 });
  const counts = Object.values(Template.fromStack(stack).findResources('AWS::SQS::Queue'))
    .flatMap(({ Properties }) => Properties.RedrivePolicy?.maxReceiveCount ?? []);
  expect(counts).toEqual([9, 2]);
});

test('an injector for alarms changes their defaults', () => {
  inject('cdk-order-pipeline.ConsumerAlarms', () => ({ acceptableLatency: Duration.minutes(7) }));
  consumerOf().addAlarms({ actions: [] });
  Template.fromStack(stack).hasResourceProperties('AWS::CloudWatch::Alarm', { MetricName: 'ApproximateAgeOfOldestMessage', Threshold: 420 });
});
