import { App, Duration, Stack, Stage } from 'aws-cdk-lib';
import { Annotations, Match, Template } from 'aws-cdk-lib/assertions';
import * as events from 'aws-cdk-lib/aws-events';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as kms from 'aws-cdk-lib/aws-kms';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import * as sqs from 'aws-cdk-lib/aws-sqs';
import {
  BufferedEventConsumer, BufferedEventConsumerProps, ConsumerTarget, IConsumerTarget, LambdaConsumerOptions, QueueScaling, WorkloadImage,
} from '../../src';
import { testKubernetes } from '../cluster';

const env = { account: '111122223333', region: 'eu-west-1' };
const created = { detailType: ['OrderCreated'] };
let app: App;
let stack: Stack;
beforeEach(() => {
  app = new App();
  stack = new Stack(app, 'Test', { env });
});

const external = (): IConsumerTarget => ConsumerTarget.external(
  new iam.Role(stack, 'Role', { assumedBy: new iam.ServicePrincipal('ecs-tasks.amazonaws.com') }), { processingTime: Duration.seconds(30) });
const functionOf = () => new lambda.Function(stack, 'Function', {
  runtime: lambda.Runtime.NODEJS_24_X,
  handler: 'index.handler',
  code: lambda.Code.fromInline('exports.handler = async () => ({ batchItemFailures: [] });'),
});
const consumerOf = (props: Partial<BufferedEventConsumerProps> = {}) =>
  new BufferedEventConsumer(stack, 'Consumer', { eventPattern: created, target: props.target ?? external(), ...props });
const queueWith = (deadLetters: sqs.QueueProps) => new sqs.Queue(stack, 'Queue', {
  visibilityTimeout: Duration.minutes(3), deadLetterQueue: { queue: new sqs.Queue(stack, 'Dead', deadLetters), maxReceiveCount: 3 },
});

describe('what would only fail once it is deployed', () => {
  test('a dead-letter queue that comes with the queue, and that EventBridge can\'t use', () => {
    expect(() => consumerOf({ queue: queueWith({ encryption: sqs.QueueEncryption.KMS_MANAGED }) }))
      .toThrow('the deadLetterQueue of queue is encrypted with the key alias/aws/sqs, which EventBridge can\'t use');
  });

  test.each(['deadLetterQueue', 'ruleDeadLetterQueue'])('a %s that is the queue', (name) => {
    const imported = (id: string) => sqs.Queue.fromQueueArn(stack, id, 'arn:aws:sqs:eu-west-1:111122223333:orders');
    const made = new sqs.Queue(stack, 'Queue', { visibilityTimeout: Duration.minutes(3) });
    for (const [queue, same] of [[made, made], [imported('One'), imported('Other')]]) {
      expect(() => new BufferedEventConsumer(stack, `Consumer${queue!.node.id}`, { eventPattern: created, queue, [name]: same, target: external() }))
        .toThrow(`${name} is queue itself, so a failed message would be received again forever: give another queue, or leave ${name} out`);
      stack.node.tryRemoveChild('Role');
    }
  });

  test.each<[events.EventPattern, string]>([
    [{ detailType: [] }, 'eventPattern.detailType'],
    [{ source: ['shop'], detail: {} }, 'eventPattern.detail'],
    [{ detail: { total: [{ numeric: [] }] } }, 'eventPattern.detail.total[0].numeric'],
  ])('the pattern %j', (eventPattern, field) => {
    expect(() => consumerOf({ eventPattern }))
      .toThrow(`${field} is empty, which EventBridge refuses: give the values that it has to match, or leave it out`);
  });

  test.each(['visibilityTimeout', 'retentionPeriod'])('a %s with a fraction of a second', (name) => {
    expect(() => consumerOf({ [name]: Duration.millis(200_500) })).toThrow(`${name} must be whole seconds, got 200.5`);
  });

  test('a QUEUE_URL that isn\'t the consumer\'s', () => {
    expect(() => consumerOf({ environment: { QUEUE_URL: 'https://sqs.eu-west-1.amazonaws.com/111122223333/invoices' } }))
      .toThrow('environment.QUEUE_URL is the queue of this consumer, which it sets itself: give another queue another name');
  });

  test('a QUEUE_URL that the target brings', () => {
    const target = ConsumerTarget.kubernetes(testKubernetes(stack), {
      image: WorkloadImage.fromRegistry('public.ecr.aws/team/orders:1'), scaling: QueueScaling.fixed(1), environment: { QUEUE_URL: 'other' },
    });
    expect(() => consumerOf({ target })).toThrow('environment.QUEUE_URL is the queue of this consumer, which it sets itself');
  });

  test('a key of another region', () => {
    expect(() => consumerOf({ encryptionKey: kms.Key.fromKeyArn(stack, 'Key', 'arn:aws:kms:us-east-1:111122223333:key/orders') }))
      .toThrow('encryptionKey is in us-east-1, but Amazon SQS accepts only keys of its own region, which is eu-west-1');
  });

  test.each([
    ['region', 'us-east-1', 'arn:aws:lambda:us-east-1:111122223333:function:orders'],
    ['account', '999999999999', 'arn:aws:lambda:eu-west-1:999999999999:function:orders'],
  ])('a function of another %s', (what, other, arn) => {
    const fn = lambda.Function.fromFunctionArn(stack, 'Function', arn);
    expect(() => consumerOf({ target: ConsumerTarget.lambdaFunction(fn, { processingTime: Duration.seconds(3) }) }))
      .toThrow(new RegExp(`^the function 'Test/Function' is in ${what} ${other}, but its event source mapping would be in .*`
        + `: make the consumer in a stack of ${what} ${other}`));
  });

  test.each<[LambdaConsumerOptions, string]>([
    [{ batchSize: 11, maxBatchingWindow: Duration.seconds(0) }, 'batchSize of more than 10 needs maxBatchingWindow of at least 1 second, got 11'],
    [{ maxBatchingWindow: Duration.millis(500) }, 'maxBatchingWindow must be whole seconds, got 0.5'],
  ])('of Lambda: %j', (options, message) => {
    expect(() => consumerOf({ target: ConsumerTarget.lambdaFunction(functionOf(), options) })).toThrow(message);
  });
});

const ids = (type: string) => Object.keys(Template.fromStack(stack).findResources(type));
const statementsOf = (...types: string[]) => types.flatMap((type) => Object.values(Template.fromStack(stack).findResources(type)))
  .flatMap(({ Properties }) => (Properties.PolicyDocument ?? Properties.KeyPolicy).Statement);
const warnings = () => Annotations.fromStack(stack).findWarning('*', Match.anyValue()).map(({ entry }) => String(entry.data));

describe('a key that is known by its alias', () => {
  test.each<[string, () => kms.IKey]>([
    ['name', () => kms.Alias.fromAliasName(stack, 'Key', 'alias/orders')],
    ['ARN', () => kms.Key.fromKeyArn(stack, 'Key', 'arn:aws:kms:eu-west-1:111122223333:alias/orders')],
  ])('may be used by what consumes: by its %s', (_, key) => {
    const consumer = consumerOf({ encryptionKey: key(), target: ConsumerTarget.lambdaFunction(functionOf()) });
    const [, decrypt] = consumer.consumePolicyStatements.map((statement) => stack.resolve(statement.toStatementJson()));
    // The ARN of an alias is no resource in a policy.
    expect(decrypt).toEqual({
      Effect: 'Allow',
      Action: 'kms:Decrypt',
      Resource: expect.anything(),
      Condition: { 'ForAnyValue:StringEquals': { 'kms:ResourceAliases': 'alias/orders' } },
    });
    expect(JSON.stringify(decrypt.Resource)).toContain(':kms:eu-west-1:111122223333:key/*');
    expect(statementsOf('AWS::IAM::Policy')).toContainEqual(decrypt);
  });

  test('and made in this app is used as the key that it is', () => {
    const key = new kms.Key(stack, 'Key');
    consumerOf({ encryptionKey: key.addAlias('alias/orders') });
    expect(statementsOf('AWS::IAM::Policy')).toContainEqual({ Effect: 'Allow', Action: 'kms:Decrypt', Resource: stack.resolve(key.keyArn) });
  });
});

test('a queue that gets another name may still use its dead-letter queue', () => {
  const consumer = consumerOf();
  (consumer.queue.node.defaultChild as sqs.CfnQueue).queueName = 'orders';
  const [dead] = Object.values(Template.fromStack(stack).findResources('AWS::SQS::Queue'))
    .filter(({ Properties }) => Properties.RedriveAllowPolicy);
  expect(JSON.stringify(dead!.Properties.RedriveAllowPolicy)).toContain(':sqs:eu-west-1:111122223333:orders"');
});

describe('a bus of another account', () => {
  const elsewhere = { account: '999999999999', region: 'eu-west-1' };

  test('has its rule when everything behind it is there', () => {
    const bus = events.EventBus.fromEventBusArn(stack, 'Central', 'arn:aws:events:eu-west-1:999999999999:event-bus/central');
    consumerOf({ eventBus: bus });
    const rules = Template.fromStack(stack).findResources('AWS::Events::Rule');
    const [relayed] = Object.values(rules).filter(({ Properties }) => JSON.stringify(Properties.EventBusName).includes('central'));
    const here = Object.keys(rules).find((id) => rules[id] !== relayed)!;
    const queuePolicy = ids('AWS::SQS::QueuePolicy').find((id) => id.startsWith('ConsumerQueue'));
    expect(relayed!.DependsOn).toEqual(expect.arrayContaining([here, queuePolicy]));
  });

  test.each([['central', 'rule/central/*'], ['default', 'rule/*']])('has to allow its rules, by their ARNs: %s', (name, rules) => {
    const { eventBusPolicyStatement } = consumerOf({
      eventBus: events.EventBus.fromEventBusArn(stack, 'Central', `arn:aws:events:eu-west-1:999999999999:event-bus/${name}`),
    });
    expect(stack.resolve(eventBusPolicyStatement!.toStatementJson()).Resource).toBe(`arn:aws:events:eu-west-1:999999999999:${rules}`);
  });

  test('that is made in this app is deployed before', () => {
    const bus = new events.EventBus(new Stack(app, 'Owner', { env: elsewhere }), 'Bus', { eventBusName: 'central' });
    consumerOf({ eventBus: bus });
    expect(app.synth().getStackByName('Test').dependencies.map(({ id }) => id)).toContain('Owner');
  });

  test('has a bus of its own here, in each of two stacks that differ in their name', () => {
    const names = ['Development', 'Production'].map((stackName) => {
      stack = new Stack(new App(), 'Test', { env, stackName });
      consumerOf({ eventBus: events.EventBus.fromEventBusArn(stack, 'Central', 'arn:aws:events:eu-west-1:999999999999:event-bus/central') });
      return Object.values(Template.fromStack(stack).findResources('AWS::Events::EventBus')).map(({ Properties }) => Properties.Name);
    });
    expect(new Set(names.flat()).size).toBe(2);
  });

  test('may be in another stage', () => {
    const owner = new Stack(new Stage(app, 'Platform'), 'Owner', { env: elsewhere });
    stack = new Stack(new Stage(app, 'Team'), 'Test', { env });
    consumerOf({ eventBus: new events.EventBus(owner, 'Bus', { eventBusName: 'central' }) });
    expect(() => app.synth()).not.toThrow();
  });

  test('is warned of in a stack that doesn\'t say its account', () => {
    stack = new Stack(app, 'Agnostic');
    const arn = 'arn:aws:events:eu-west-1:999999999999:event-bus/default';
    consumerOf({ eventBus: events.EventBus.fromEventBusArn(stack, 'Central', arn) });
    expect(warnings()).toEqual([expect.stringMatching(/^eventBus is of account 999999999999, .*:eventBusAccountNotCompared/)]);
  });
});

test('an external process of another account is let in by queue and key, and its role has to be changed there', () => {
  const role = iam.Role.fromRoleArn(stack, 'Foreign', 'arn:aws:iam::999999999999:role/orders');
  consumerOf({ encryptionKey: new kms.Key(stack, 'Key'), target: ConsumerTarget.external(role, { processingTime: Duration.seconds(30) }) });
  const principal = { Effect: 'Allow', Principal: { AWS: 'arn:aws:iam::999999999999:role/orders' } };
  expect(statementsOf('AWS::SQS::QueuePolicy', 'AWS::KMS::Key')).toEqual(expect.arrayContaining([
    {
      ...principal,
      Action: ['sqs:ReceiveMessage', 'sqs:DeleteMessage', 'sqs:ChangeMessageVisibility', 'sqs:GetQueueAttributes'],
      Resource: { 'Fn::GetAtt': [ids('AWS::SQS::Queue').find((id) => id.startsWith('ConsumerQueue')), 'Arn'] },
    },
    { ...principal, Action: 'kms:Decrypt', Resource: '*' },
  ]));
  expect(warnings()).toEqual([expect.stringMatching(/cdk-order-pipeline:consumerRoleNotUpdated/)]);
});

test.each<[string, (fn: lambda.Function, value: string) => void]>([
  ['by itself', (fn, value) => fn.addEnvironment('INVOICES_URL', value)],
  ['by another consumer', (fn, value) => new BufferedEventConsumer(stack, 'Another', {
    eventPattern: created, target: ConsumerTarget.lambdaFunction(fn), environment: { INVOICES_URL: value },
  })],
])('a function of another stack that names something of this one has its mapping there: %s', (_, name) => {
  const other = new Stack(app, 'Other', { env });
  const fn = new lambda.Function(other, 'Function', {
    runtime: lambda.Runtime.NODEJS_24_X, handler: 'index.handler', code: lambda.Code.fromInline('exports.handler = async () => ({});'),
  });
  name(fn, new sqs.Queue(stack, 'Invoices').queueUrl);
  consumerOf({ target: ConsumerTarget.lambdaFunction(fn) });
  // Throws if the two stacks need each other.
  expect(app.synth().getStackByName('Test').dependencies.map(({ id }) => id)).not.toContain('Other');
  expect(Object.keys(Template.fromStack(other).findResources('AWS::Lambda::EventSourceMapping')).length).toBeGreaterThan(0);
});

test('a dead-letter queue that a brought queue doesn\'t have itself is only that of EventBridge, which is said', () => {
  consumerOf({
    queue: new sqs.Queue(stack, 'Queue', { visibilityTimeout: Duration.minutes(3) }),
    deadLetterQueue: new sqs.Queue(stack, 'Dead', { retentionPeriod: Duration.days(14) }),
  });
  expect(warnings()).toEqual([expect.stringContaining(
    'Set it where queue is defined; the deadLetterQueue given here only gets events that EventBridge can\'t deliver')]);
});
