import { App, CfnResource, RemovalPolicy, Stack } from 'aws-cdk-lib';
import { Template } from 'aws-cdk-lib/assertions';
import * as events from 'aws-cdk-lib/aws-events';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import * as sqs from 'aws-cdk-lib/aws-sqs';
import { Construct, Dependable, IConstruct } from 'constructs';
import { externalTarget, functionOf, kubernetesTarget, latency, ownTarget, roleOf, vpcOf } from './targets';
import {
  BufferedEventConsumer, BufferedEventConsumerProps, ConsumerTarget, ConsumerTargetConfig, IConsumerTarget, KubernetesWorkload,
  QueueScaling, QueueType,
} from '../../src';

const created = { detailType: ['OrderCreated'] };
let app: App;
let stack: Stack;
beforeEach(() => {
  app = new App();
  stack = new Stack(app, 'Test', { env: { account: '111122223333', region: 'eu-west-1' } });
});

function consumerOf(target: IConsumerTarget, props: Partial<BufferedEventConsumerProps> = {}): BufferedEventConsumer {
  return new BufferedEventConsumer(stack, 'Consumer', { eventPattern: created, target, ...props });
}

/** The constructs that stand in the properties of an object, one by one or in a list. */
function constructsIn(object: object): IConstruct[] {
  return Object.values(object).flat().filter((value): value is IConstruct => Construct.isConstruct(value));
}

/** The resources that a consumer makes in its scope, but for those that belong to what is in a property. */
function withoutProperty(consumer: BufferedEventConsumer): string[] {
  const { workload } = consumer.targetConfig;
  const known = new Set([consumer, consumer.targetConfig, workload ?? {}].flatMap(constructsIn));
  known.delete(consumer);
  // Its parts have properties of their own.
  if (workload) { known.delete(workload); }
  const resources = consumer.node.findAll().filter((construct) => CfnResource.isCfnResource(construct));
  expect(resources.length).toBeGreaterThan(3);
  return resources.filter((resource) => !resource.node.scopes.some((scope) => known.has(scope))).map(({ node }) => node.path);
}

const operator = () => iam.Role.fromRoleArn(stack, 'Keda', 'arn:aws:iam::111122223333:role/keda');
const VARIANTS: [string, () => BufferedEventConsumer][] = [
  ['a Lambda function', () => consumerOf(ConsumerTarget.lambdaFunction(functionOf(stack)))],
  ['Kubernetes', () => consumerOf(kubernetesTarget(stack, QueueScaling.keda({ ...latency, operatorRole: operator() })))],
  ['elsewhere', () => consumerOf(externalTarget(operator()))],
  ['a FIFO queue', () => consumerOf(ownTarget(), { queueType: QueueType.fifo() })],
  ['a bus of another account', () => consumerOf(ownTarget(), {
    eventPattern: undefined,
    eventPatterns: [created, { source: ['com.partner'] }],
    eventBus: events.EventBus.fromEventBusArn(stack, 'Central', 'arn:aws:events:eu-west-1:999999999999:event-bus/central'),
  })],
];
test.each(VARIANTS)('every resource of a consumer with %s is a property', (_, make) => {
  expect(withoutProperty(make())).toEqual([]);
});

/** The resources in a property, by their types. */
const typesOf = (construct: IConstruct | undefined) => construct && (construct.node.defaultChild as CfnResource).cfnResourceType;

describe('what the target made is in targetConfig', () => {
  const made = ({ eventSourceMapping, workload, policy, scalerPolicy }: ConsumerTargetConfig) => ({
    eventSourceMapping: typesOf(eventSourceMapping),
    workload: workload && workload.constructor,
    policy: typesOf(policy),
    scalerPolicy: typesOf(scalerPolicy),
  });
  const nothing = { eventSourceMapping: undefined, workload: undefined, policy: undefined, scalerPolicy: undefined };

  test('of a Lambda function', () => {
    const fn = functionOf(stack, { vpc: vpcOf(stack) });
    const { targetConfig } = consumerOf(ConsumerTarget.lambdaFunction(fn));
    expect(made(targetConfig)).toEqual({ ...nothing, eventSourceMapping: 'AWS::Lambda::EventSourceMapping', policy: 'AWS::IAM::Policy' });
    expect(targetConfig.grantee).toBe(fn);
    expect(targetConfig.connections).toBe(fn);
    expect(targetConfig.dependable).toBe(targetConfig.eventSourceMapping);
  });

  test('of a Lambda function in another stack that owns the mapping', () => {
    const functions = new Stack(app, 'Functions', { env: { account: stack.account, region: stack.region } });
    const { targetConfig } = consumerOf(ConsumerTarget.lambdaFunction(functionOf(functions)), {
      environment: { QUEUE: new sqs.Queue(stack, 'Other').queueUrl },
    });
    const { eventSourceMapping, policy } = targetConfig;
    expect([eventSourceMapping!, policy!].map((construct) => Stack.of(construct))).toEqual([functions, functions]);
    expect(targetConfig.dependable).toBe(targetConfig.eventSourceMapping);
  });

  test('of a workload on Kubernetes', () => {
    const { targetConfig } = consumerOf(kubernetesTarget(stack));
    expect(made(targetConfig)).toEqual({ ...nothing, workload: KubernetesWorkload });
    expect(targetConfig.grantee).toBe(targetConfig.workload);
    expect(targetConfig.connections).toBe(targetConfig.workload);
    expect(targetConfig.dependable).toBe(targetConfig.workload!.manifest);
  });

  test.each<[string, () => QueueScaling]>([
    ['KEDA', () => QueueScaling.keda({ ...latency, operatorRole: operator() })],
    ['an external metric', () => QueueScaling.externalMetric({ ...latency, metricName: 'sqs', adapterRole: operator() })],
  ])('of a workload on Kubernetes that is scaled by %s', (_, scaling) => {
    const { targetConfig } = consumerOf(kubernetesTarget(stack, scaling()));
    expect(made(targetConfig)).toEqual({ ...nothing, workload: KubernetesWorkload, scalerPolicy: 'AWS::IAM::Policy' });
    expect(stack.resolve((targetConfig.scalerPolicy!.node.defaultChild as iam.CfnPolicy).roles)).toEqual(['keda']);
  });

  test('of a process elsewhere', () => {
    const { targetConfig } = consumerOf(externalTarget(operator()));
    expect(made(targetConfig)).toEqual({ ...nothing, policy: 'AWS::IAM::Policy' });
    expect([targetConfig.connections, targetConfig.dependable]).toEqual([undefined, undefined]);
  });

  test('of a process elsewhere whose role has the permission itself', () => {
    const role = roleOf(stack);
    const { targetConfig } = consumerOf(externalTarget(role));
    expect(made(targetConfig)).toEqual(nothing);
    expect(targetConfig.grantee).toBe(role);
  });

  test('without policies that could not be given to anybody', () => {
    const fixed = (id: string) => iam.Role.fromRoleArn(stack, id, `arn:aws:iam::111122223333:role/${id}`, { mutable: false });
    const fn = lambda.Function.fromFunctionAttributes(stack, 'Fn', {
      functionArn: 'arn:aws:lambda:eu-west-1:111122223333:function:orders', role: fixed('Function'), sameEnvironment: true,
    });
    const targets = [
      externalTarget(fixed('Elsewhere')),
      ConsumerTarget.lambdaFunction(fn, { processingTime: latency.messageProcessingTime }),
      kubernetesTarget(stack, QueueScaling.keda({ ...latency, operatorRole: fixed('Keda') })),
    ];
    const configs = targets.map((target, index) => new BufferedEventConsumer(stack, `Consumer${index}`, { eventPattern: created, target }).targetConfig);
    expect(configs.map(({ policy, scalerPolicy }) => [policy, scalerPolicy])).toEqual(targets.map(() => [undefined, undefined]));
  });

  test('of a target of one\'s own, as it returned it', () => {
    const config = { dependable: new Construct(stack, 'Service') };
    expect(consumerOf(ownTarget(config)).targetConfig).toBe(config);
  });
});

test('a consumer is dependable: what depends on it comes after all that it made', () => {
  const consumer = consumerOf(ConsumerTarget.lambdaFunction(functionOf(stack)));
  expect(Dependable.of(consumer).dependencyRoots).toEqual([consumer]);
  const after = new CfnResource(stack, 'After', { type: 'AWS::CloudFormation::WaitConditionHandle' });
  after.node.addDependency(consumer);
  const ids = consumer.node.findAll().filter((construct) => CfnResource.isCfnResource(construct))
    .map((resource) => stack.getLogicalId(resource));
  const { DependsOn } = Template.fromStack(stack).toJSON().Resources.After;
  expect([...DependsOn].sort()).toEqual(ids.sort());
  expect(ids.length).toBe(7);
});

describe('the relay of a bus of another account', () => {
  const central = () => events.EventBus.fromEventBusArn(stack, 'Central', 'arn:aws:events:eu-west-1:999999999999:event-bus/central');

  test('is in properties: bus, role and rules, in the order of the rules here', () => {
    const consumer = consumerOf(ownTarget(), { eventPattern: undefined, eventPatterns: [created, { source: ['com.partner'] }], eventBus: central() });
    expect(typesOf(consumer.relayBus)).toBe('AWS::Events::EventBus');
    expect(typesOf(consumer.relayRole)).toBe('AWS::IAM::Role');
    expect(consumer.relayRules.map((rule) => stack.resolve(rule.eventPattern)))
      .toEqual(consumer.rules.map((rule) => stack.resolve((rule.node.defaultChild as events.CfnRule).eventPattern)));
    expect(consumer.relayRules).toHaveLength(2);
  });

  test('is not there for a bus of this account', () => {
    const consumer = consumerOf(ownTarget());
    expect([consumer.relayBus, consumer.relayRole, consumer.relayRules]).toEqual([undefined, undefined, []]);
  });
});

describe('removalPolicy', () => {
  const fates = () => Object.fromEntries(Object.entries(Template.fromStack(stack).findResources('AWS::SQS::Queue'))
    .map(([id, { DeletionPolicy, UpdateReplacePolicy }]) => [id.replace(/[0-9A-F]{8}$/, ''), [DeletionPolicy, UpdateReplacePolicy]]));

  test('is that of every new queue', () => {
    consumerOf(ownTarget(), { queueType: QueueType.fifo(), removalPolicy: RemovalPolicy.RETAIN });
    expect(fates()).toEqual({
      ConsumerQueue: ['Retain', 'Retain'], ConsumerDeadLetterQueue: ['Retain', 'Retain'], ConsumerRuleDeadLetterQueue: ['Retain', 'Retain'],
    });
  });

  test('deletes the queues unless it is given', () => {
    consumerOf(ownTarget());
    expect(fates()).toEqual({ ConsumerQueue: ['Delete', 'Delete'], ConsumerDeadLetterQueue: ['Delete', 'Delete'] });
  });

  test('leaves brought queues as they are', () => {
    consumerOf(ownTarget(), { queue: new sqs.Queue(stack, 'Queue'), removalPolicy: RemovalPolicy.RETAIN });
    expect(fates()).toEqual({ Queue: ['Delete', 'Delete'], ConsumerDeadLetterQueue: ['Retain', 'Retain'] });
  });

  test.each<[string, boolean, Partial<BufferedEventConsumerProps>]>([
    ['standard', false, {}],
    ['FIFO, without rules', true, { eventPattern: undefined }],
  ])('is refused if all queues are brought: %s', (_, fifo, props) => {
    const dead = new sqs.Queue(stack, 'Dead', { fifo: fifo || undefined });
    const queue = new sqs.Queue(stack, 'Queue', { fifo: fifo || undefined, deadLetterQueue: { queue: dead, maxReceiveCount: 3 } });
    expect(() => consumerOf(ownTarget(), { queue, removalPolicy: RemovalPolicy.RETAIN, ...props }))
      .toThrow("removalPolicy can't be given together with queue: set it where queue is defined, or leave queue out (in 'Test/Consumer')");
  });

  test('may be given with brought FIFO queues, as EventBridge needs another dead-letter queue', () => {
    const dead = new sqs.Queue(stack, 'Dead', { fifo: true });
    const queue = new sqs.Queue(stack, 'Queue', { fifo: true, contentBasedDeduplication: true, deadLetterQueue: { queue: dead, maxReceiveCount: 3 } });
    consumerOf(ownTarget(), { queue, removalPolicy: RemovalPolicy.RETAIN });
    expect(fates()).toMatchObject({ Queue: ['Delete', 'Delete'], ConsumerRuleDeadLetterQueue: ['Retain', 'Retain'] });
  });
});
