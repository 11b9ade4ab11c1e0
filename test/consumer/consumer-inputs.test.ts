import { App, Duration, Environment, Stack, Token } from 'aws-cdk-lib';
import { Annotations, Match, Template } from 'aws-cdk-lib/assertions';
import * as events from 'aws-cdk-lib/aws-events';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as kms from 'aws-cdk-lib/aws-kms';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import * as sqs from 'aws-cdk-lib/aws-sqs';
import { BufferedEventConsumer, BufferedEventConsumerProps, ConsumerTarget, LambdaConsumerOptions, QueueType } from '../../src';
import { evaluate } from '../evaluate';
import { unacknowledgedFindings } from '../nag';

const env: Environment = { account: '111122223333', region: 'eu-west-1' };
const created = { detailType: ['OrderCreated'] };
const cancelled = { detailType: ['OrderCancelled'], detail: { total: [{ numeric: ['>=', 100] }] } };
let app: App;
let stack: Stack;
beforeEach(() => {
  app = new App();
  stack = new Stack(app, 'Test', { env });
});

const functionOf = (props: Partial<lambda.FunctionProps> = {}) => new lambda.Function(stack, 'Function', {
  runtime: lambda.Runtime.NODEJS_24_X,
  handler: 'index.handler',
  code: lambda.Code.fromInline('exports.handler = async () => ({ batchItemFailures: [] });'),
  role: new iam.Role(stack, 'FunctionRole', { assumedBy: new iam.ServicePrincipal('lambda.amazonaws.com') }),
  timeout: Duration.seconds(20),
  ...props,
});

function consumerOf(props: Partial<BufferedEventConsumerProps> = {}): BufferedEventConsumer {
  return new BufferedEventConsumer(stack, 'Consumer', {
    target: ConsumerTarget.external(
      new iam.Role(stack, 'Role', { assumedBy: new iam.ServicePrincipal('ecs-tasks.amazonaws.com') }), { processingTime: Duration.seconds(30) },
    ),
    ...props,
  });
}

const template = () => Template.fromStack(stack);
const rules = () => template().findResources('AWS::Events::Rule');
const rulesByPlace = () => Object.values(rules()).map(({ Properties }) => Properties);
function propertiesOf(queue: sqs.IQueue): { [name: string]: any } {
  return template().toJSON().Resources[stack.getLogicalId(queue.node.defaultChild as sqs.CfnQueue)].Properties;
}
function warnings(): string[] {
  return Annotations.fromStack(stack).findWarning('*', Match.anyValue()).map(({ entry }) => String(entry.data));
}
/** Who may send to a queue, as the conditions of its policy say. */
function senders(queue: sqs.IQueue): unknown[] {
  const ref = { Ref: stack.getLogicalId(queue.node.defaultChild as sqs.CfnQueue) };
  return Object.values(template().findResources('AWS::SQS::QueuePolicy', { Properties: { Queues: [ref] } }))
    .flatMap(({ Properties }) => Properties.PolicyDocument.Statement)
    .filter((statement) => statement.Action === 'sqs:SendMessage')
    .map((statement) => statement.Condition);
}

describe('several event patterns', () => {
  test('are a rule each, on one queue', () => {
    const consumer = consumerOf({ eventPatterns: [created, cancelled] });
    const target = expect.objectContaining({
      Arn: stack.resolve(consumer.queue.queueArn), DeadLetterConfig: { Arn: stack.resolve(consumer.deadLetterQueue.queueArn) },
    });
    expect(rulesByPlace().map(({ EventPattern, Targets }) => ({ EventPattern, Targets }))).toEqual([
      { EventPattern: { 'detail-type': ['OrderCreated'] }, Targets: [target] },
      { EventPattern: { 'detail-type': ['OrderCancelled'], 'detail': { total: [{ numeric: ['>=', 100] }] } }, Targets: [target] },
    ]);
    const condition = { ArnEquals: { 'aws:SourceArn': consumer.rules.map((rule) => stack.resolve(rule.ruleArn)) } };
    expect(senders(consumer.queue)).toEqual([condition]);
    expect(senders(consumer.deadLetterQueue)).toEqual([condition]);
    expect(unacknowledgedFindings(stack)).toEqual([]);
  });

  test('fail in sum', () => {
    const consumer = consumerOf({ eventPatterns: [created, cancelled] });
    const config = consumer.metricFailedDeliveries({ period: Duration.minutes(1) }).toMetricConfig().mathExpression!;
    expect(config.expression).toBe('SUM(FILL(METRICS(), 0))');
    const metrics = Object.values(config.usingMetrics).map((metric) => stack.resolve(metric.toMetricConfig().metricStat));
    expect(metrics).toEqual(consumer.rules.map((rule) => expect.objectContaining({
      metricName: 'FailedInvocations', dimensions: [{ name: 'RuleName', value: stack.resolve(rule.ruleName) }],
    })));
  });

  test.each<[Partial<BufferedEventConsumerProps>, string]>([
    [{ eventPattern: created, eventPatterns: [cancelled] }, "eventPattern and eventPatterns can't be given together: choose one"],
    [{ eventPatterns: [created, {}] }, 'eventPatterns[1] is empty: name at least one field, such as detailType'],
    [{ eventPatterns: [created, { ...created }] },
      'eventPatterns[1] is the same as eventPatterns[0], so each of its events would be delivered twice: leave one out'],
    [{ eventPatterns: [] }, 'eventPattern is missing: give it, or eventPatterns, or give a queue that something else sends to'],
    [{}, 'eventPattern is missing'],
  ])('refuses %j', (props, message) => {
    expect(() => consumerOf(props)).toThrow(message);
  });
});

describe('a queue without a bus', () => {
  test('is only consumed', () => {
    const dead = new sqs.Queue(stack, 'Dead', { retentionPeriod: Duration.days(14) });
    const queue = new sqs.Queue(stack, 'Queue', { deadLetterQueue: { queue: dead, maxReceiveCount: 3 }, visibilityTimeout: Duration.minutes(3) });
    const consumer = consumerOf({ queue });
    expect(consumer.rules).toEqual([]);
    expect(consumer.ruleDeadLetterQueue).toBeUndefined();
    expect([consumer.queuePolicyStatement, consumer.keyPolicyStatement]).toEqual([undefined, undefined]);
    expect(Object.keys(template().toJSON().Resources).filter((id) => id.startsWith('Consumer'))).toEqual([]);
    expect(warnings()).toEqual([]);
    expect(() => consumer.metricFailedDeliveries()).toThrow('metricFailedDeliveries() needs an eventPattern');
  });

  test('may be encrypted with the key of Amazon SQS, which only EventBridge can\'t use', () => {
    const dead = new sqs.Queue(stack, 'Dead');
    const queue = new sqs.Queue(stack, 'Queue', { encryption: sqs.QueueEncryption.KMS_MANAGED, deadLetterQueue: { queue: dead, maxReceiveCount: 3 } });
    expect(() => consumerOf({ queue })).not.toThrow();
  });

  test.each<Partial<BufferedEventConsumerProps>>([
    { eventBus: events.EventBus.fromEventBusName(new Stack(), 'Bus', 'shop') },
    { ruleInput: events.RuleTargetInput.fromEventPath('$.detail') },
    { ruleDeadLetterQueue: sqs.Queue.fromQueueArn(new Stack(), 'Dead', 'arn:aws:sqs:eu-west-1:111122223333:dead') },
  ])('takes no %p', (props) => {
    expect(() => consumerOf({ queue: new sqs.Queue(stack, 'Queue'), ...props }))
      .toThrow(`${Object.keys(props)[0]} needs eventPattern: give that too, or leave ${Object.keys(props)[0]} out`);
  });
});

describe('the dead-letter queue', () => {
  const nameOf = (queue: sqs.IQueue) => evaluate(propertiesOf(queue).QueueName) as string;

  test('may be used by its own queue alone, without a cycle', () => {
    const consumer = consumerOf({ eventPattern: created });
    expect(evaluate(propertiesOf(consumer.deadLetterQueue).RedriveAllowPolicy)).toEqual({
      redrivePermission: 'byQueue', sourceQueueArns: [`arn:aws:sqs:eu-west-1:111122223333:${nameOf(consumer.queue)}`],
    });
    // Not by reference: the queue refers to it.
    expect(JSON.stringify(propertiesOf(consumer.deadLetterQueue))).not.toContain('GetAtt');
    expect(propertiesOf(consumer.queue).RedrivePolicy.deadLetterTargetArn).toEqual(stack.resolve(consumer.deadLetterQueue.queueArn));
  });

  test('has a queue with a name that is unique in the account and never too long', () => {
    stack = new Stack(app, 'AStackWithANameThatIsFarTooLongToBeAPartOfTheNameOfAQueue', { env });
    const target = ConsumerTarget.external(functionOf(), { processingTime: Duration.seconds(1) });
    const props = { eventPattern: created, queueType: QueueType.fifo(), target };
    const consumers = ['OneConsumer', 'AnotherConsumer'].map((id) => new BufferedEventConsumer(stack, id, props));
    const names = consumers.map(({ queue }) => nameOf(queue));
    expect(new Set(names).size).toBe(2);
    for (const name of names) {
      expect(name).toMatch(/^[A-Za-z0-9_-]+-51af3dc0-da77-11e4-872e-1234567db123\.fifo$/);
      expect(name.length).toBeLessThanOrEqual(80);
    }
  });

  test('of a brought queue that has none may be used by that one', () => {
    const queue = new sqs.Queue(stack, 'Queue');
    const consumer = consumerOf({ eventPattern: created, queue });
    expect(propertiesOf(consumer.deadLetterQueue).RedriveAllowPolicy).toEqual({
      redrivePermission: 'byQueue', sourceQueueArns: [stack.resolve(queue.queueArn)],
    });
  });

  test('of an imported queue is warned of, with the redrive policy that the queue needs', () => {
    const consumer = consumerOf({ queue: sqs.Queue.fromQueueArn(stack, 'Imported', 'arn:aws:sqs:eu-west-1:111122223333:orders') });
    const redrive = { deadLetterTargetArn: stack.resolve(consumer.deadLetterQueue.queueArn), maxReceiveCount: 5 };
    expect(warnings()).toEqual(["queue 'Test/Imported' is imported, so its redrive policy stays as it is: give its deadLetterQueue, or set this "
      + `one on it (redrivePolicy): ${JSON.stringify(redrive)} [ack: cdk-order-pipeline:queueRedrivePolicyNotUpdated]`]);
    expect(JSON.parse(evaluate(stack.resolve(consumer.redrivePolicy)) as string)).toEqual(evaluate(redrive));
  });

  test('that is brought keeps its redrive allow policy', () => {
    const deadLetterQueue = new sqs.Queue(stack, 'Dead', { retentionPeriod: Duration.days(14) });
    consumerOf({ eventPattern: created, deadLetterQueue });
    expect(propertiesOf(deadLetterQueue)).toEqual({ MessageRetentionPeriod: 14 * 86_400 });
  });

  test('that no queue may use is refused', () => {
    const deadLetterQueue = new sqs.Queue(stack, 'Dead', { redriveAllowPolicy: { redrivePermission: sqs.RedrivePermission.DENY_ALL } });
    expect(() => consumerOf({ eventPattern: created, deadLetterQueue }))
      .toThrow('the redriveAllowPolicy of deadLetterQueue lets no queue use it: allow the queue of this consumer, or all');
  });
});

describe('a FIFO queue', () => {
  const fifo = (props: Partial<BufferedEventConsumerProps> = {}) =>
    consumerOf({ eventPattern: created, queueType: QueueType.fifo(), ...props });
  const groups = () => rulesByPlace().map(({ Targets }) => Targets[0].SqsParameters?.MessageGroupId);

  test('has FIFO dead letters, and a standard queue for what EventBridge can\'t deliver', () => {
    const consumer = fifo();
    expect(propertiesOf(consumer.queue)).toMatchObject({ FifoQueue: true, ContentBasedDeduplication: true, SqsManagedSseEnabled: true });
    expect(propertiesOf(consumer.deadLetterQueue)).toMatchObject({ FifoQueue: true, RedriveAllowPolicy: { redrivePermission: 'byQueue' } });
    expect(propertiesOf(consumer.ruleDeadLetterQueue!)).toEqual({
      MessageRetentionPeriod: 14 * 86_400, SqsManagedSseEnabled: true, RedriveAllowPolicy: { redrivePermission: 'denyAll' },
    });
    expect(rulesByPlace()[0].Targets[0].DeadLetterConfig).toEqual({ Arn: stack.resolve(consumer.ruleDeadLetterQueue!.queueArn) });
    const condition = { ArnEquals: { 'aws:SourceArn': stack.resolve(consumer.rules[0]!.ruleArn) } };
    expect([consumer.queue, consumer.deadLetterQueue, consumer.ruleDeadLetterQueue!].map(senders)).toEqual([[condition], [], [condition]]);
    expect(warnings()).toEqual([]);
    expect(unacknowledgedFindings(stack)).toEqual([]);
  });

  test('has a group per pattern, or the one that is named', () => {
    fifo({ eventPatterns: [created, cancelled], eventPattern: undefined });
    expect(groups()).toEqual(['Rule', 'Rule2']);
    stack = new Stack(new App(), 'Named', { env });
    fifo({ eventPatterns: [created, cancelled], eventPattern: undefined, queueType: QueueType.fifo({ messageGroupId: 'ledger' }) });
    expect(groups()).toEqual(['ledger', 'ledger']);
  });

  test.each([
    ['$.detail.orderId', '$.detail.orderId'],
    [events.EventField.fromPath('$.detail.orderId'), '$.detail.orderId'],
    ['<aws.events.event.json>', '<aws.events.event.json>'],
  ])('refuses a group from the event: %s', (messageGroupId, path) => {
    expect(() => fifo({ queueType: QueueType.fifo({ messageGroupId }) })).toThrow(
      `queueType.messageGroupId is '${path}', but EventBridge can't read it from the event: the group of a rule is a fixed text.`);
  });

  test.each(['', 'two words', 'x'.repeat(101)])('refuses a group of the name %j', (messageGroupId) => {
    expect(() => fifo({ queueType: QueueType.fifo({ messageGroupId }) })).toThrow('queueType.messageGroupId must be 1 to 100 letters');
  });

  test('takes a group that is only known at deployment', () => {
    fifo({ queueType: QueueType.fifo({ messageGroupId: Token.asString({ Ref: 'Group' }) }) });
    expect(groups()).toEqual([{ Ref: 'Group' }]);
  });

  test('drops equal messages, which is warned of if the id of the event is left out', () => {
    const field = events.EventField;
    const inputs = [
      events.RuleTargetInput.fromEventPath('$.detail'),
      events.RuleTargetInput.fromObject({ order: field.fromPath('$.detail.orderId') }),
      events.RuleTargetInput.fromObject({ id: field.eventId, order: field.fromPath('$.detail.orderId') }),
      events.RuleTargetInput.fromEventPath('$'),
    ];
    expect(inputs.map((ruleInput, index) => {
      stack = new Stack(new App(), `Input${index}`, { env });
      fifo({ ruleInput });
      return warnings().map((text) => /\[ack: (.*)\]/.exec(text)![1]);
    })).toEqual([['cdk-order-pipeline:fifoDropsEqualMessages'], ['cdk-order-pipeline:fifoDropsEqualMessages'], [], []]);
  });

  test('can be brought, and so can its dead-letter queues', () => {
    const dead = new sqs.Queue(stack, 'Dead', { fifo: true });
    const queue = new sqs.Queue(stack, 'Queue', {
      fifo: true,
      contentBasedDeduplication: true,
      deadLetterQueue: { queue: dead, maxReceiveCount: 3 },
      visibilityTimeout: Duration.minutes(3),
    });
    const ruleDeadLetterQueue = new sqs.Queue(stack, 'RuleDead');
    const consumer = consumerOf({ eventPattern: created, queue, ruleDeadLetterQueue });
    expect([consumer.queue, consumer.deadLetterQueue, consumer.ruleDeadLetterQueue]).toEqual([queue, dead, ruleDeadLetterQueue]);
    expect(groups()).toEqual(['Rule']);
    template().resourceCountIs('AWS::SQS::Queue', 3);
    expect(warnings()).toEqual([]);
  });

  test('gives operators what they need for both dead-letter queues', () => {
    const consumer = fifo();
    const operator = new iam.Role(stack, 'Operator', { assumedBy: new iam.AccountRootPrincipal() });
    consumer.grants.redrive(operator);
    consumer.grants.inspectDeadLetters(operator);
    const statements = Object.values(template().findResources('AWS::IAM::Policy', { Properties: { Roles: [stack.resolve(operator.roleName)] } }))
      .flatMap(({ Properties }) => Properties.PolicyDocument.Statement)
      .filter(({ Resource }) => JSON.stringify(Resource) === JSON.stringify(stack.resolve(consumer.ruleDeadLetterQueue!.queueArn)));
    expect(statements.map(({ Action }) => Action)).toEqual([
      ['sqs:ReceiveMessage', 'sqs:DeleteMessage', 'sqs:GetQueueAttributes'],
      ['sqs:ReceiveMessage', 'sqs:ChangeMessageVisibility', 'sqs:GetQueueAttributes'],
    ]);
  });

  test('of Lambda has batches of ten at most, which are not gathered', () => {
    const on = (options: LambdaConsumerOptions) => () => fifo({ target: ConsumerTarget.lambdaFunction(functionOf(), options) });
    expect(on({ batchSize: 20, maxBatchingWindow: Duration.seconds(1) })).toThrow("maxBatchingWindow can't be given for a FIFO queue");
    stack = new Stack(new App(), 'Ten', { env });
    expect(on({ batchSize: 10 })).not.toThrow();
  });

  test.each<[string, () => Partial<BufferedEventConsumerProps>, string]>([
    ['no deduplication', () => ({ queueType: undefined, queue: new sqs.Queue(stack, 'Queue', { fifo: true }) }),
      "queue has no contentBasedDeduplication, without which EventBridge can't send to a FIFO queue"],
    ['another type', () => ({ queueType: QueueType.fair(), queue: new sqs.Queue(stack, 'Queue', { fifo: true, contentBasedDeduplication: true }) }),
      'queueType is standard, but queue is FIFO: give the type of queue, or leave queueType out'],
    ['standard dead letters', () => ({ deadLetterQueue: new sqs.Queue(stack, 'Dead') }),
      'deadLetterQueue is standard, but the queue is FIFO, and SQS requires the same type for both'],
    ['FIFO dead letters of a standard queue', () => ({ queueType: undefined, deadLetterQueue: new sqs.Queue(stack, 'Dead', { fifo: true }) }),
      'deadLetterQueue is FIFO, but the queue is standard'],
    ['FIFO dead letters of EventBridge', () => ({ ruleDeadLetterQueue: new sqs.Queue(stack, 'Dead', { fifo: true }) }),
      "ruleDeadLetterQueue is FIFO, but EventBridge accepts only standard queues for events that it can't deliver"],
  ])('refuses %s', (_, props, message) => {
    expect(() => fifo(props())).toThrow(message);
  });
});

test('a fair queue is a standard one whose messages have groups', () => {
  const consumer = consumerOf({ eventPatterns: [created, cancelled], queueType: QueueType.fair() });
  expect(propertiesOf(consumer.queue)).not.toHaveProperty('FifoQueue');
  expect(consumer.ruleDeadLetterQueue).toBe(consumer.deadLetterQueue);
  expect(rulesByPlace().map(({ Targets }) => Targets[0].SqsParameters)).toEqual([{ MessageGroupId: 'Rule' }, { MessageGroupId: 'Rule2' }]);
});

test('a standard queue\'s messages have no groups', () => {
  consumerOf({ eventPattern: created, queueType: QueueType.standard() });
  expect(rulesByPlace()[0].Targets[0]).not.toHaveProperty('SqsParameters');
});

test('a standard queue may have another queue for what EventBridge can\'t deliver', () => {
  const ruleDeadLetterQueue = new sqs.Queue(stack, 'RuleDead');
  const consumer = consumerOf({ eventPattern: created, ruleDeadLetterQueue });
  expect([senders(consumer.deadLetterQueue), senders(ruleDeadLetterQueue)]).toEqual([[], [expect.anything()]]);
});

describe('the visibility timeout', () => {
  test.each([
    [Duration.seconds(179), true],
    [Duration.seconds(180), false],
  ])('of %p is %s to be warned of', (visibilityTimeout, warned) => {
    consumerOf({ eventPattern: created, visibilityTimeout });
    expect(warnings()).toEqual(warned ? ['visibilityTimeout (2 minutes 59 seconds) is less than AWS advises (3 minutes: six times the processing time, '
      + 'and the batching window): a batch that waits for its turn or is tried again may be received twice '
      + '[ack: cdk-order-pipeline:visibilityTimeoutBelowAdvised]'] : []);
  });

  test('of a brought queue is warned of too', () => {
    const dead = new sqs.Queue(stack, 'Dead', { retentionPeriod: Duration.days(14) });
    const queue = new sqs.Queue(stack, 'Queue', { deadLetterQueue: { queue: dead, maxReceiveCount: 3 } });
    consumerOf({ eventPattern: created, queue });
    expect(warnings()).toEqual([expect.stringMatching(/^the visibilityTimeout of queue \(30 seconds\) is less than AWS advises/)]);
  });
});

const kept = (days: number, deadDays: number, fifo?: true): Partial<BufferedEventConsumerProps> => {
  const dead = new sqs.Queue(stack, 'Dead', { fifo, retentionPeriod: Duration.days(deadDays) });
  return {
    queue: new sqs.Queue(stack, 'Queue', {
      fifo,
      contentBasedDeduplication: fifo,
      retentionPeriod: Duration.days(days),
      visibilityTimeout: Duration.minutes(3),
      deadLetterQueue: { queue: dead, maxReceiveCount: 3 },
    }),
  };
};
test.each<[string, () => Partial<BufferedEventConsumerProps>, boolean]>([
  ['14 days', () => ({ retentionPeriod: Duration.days(14) }), true],
  ['14 days of a FIFO queue, where dead letters begin anew', () => ({ retentionPeriod: Duration.days(14), queueType: QueueType.fifo() }), false],
  ['13 days', () => ({ retentionPeriod: Duration.days(13) }), false],
  ['4 days, and as many of the brought dead-letter queue', () => ({ deadLetterQueue: new sqs.Queue(stack, 'Dead') }), true],
  ['3 days, and 4 of the brought dead-letter queue',
    () => ({ deadLetterQueue: new sqs.Queue(stack, 'Dead'), retentionPeriod: Duration.days(3) }), false],
  ['7 days of a brought queue, and as many of its dead-letter queue', () => kept(7, 7), true],
  ['7 days of a brought queue, and 8 of its dead-letter queue', () => kept(7, 8), false],
  ['7 days of a brought FIFO queue, and as many of its dead-letter queue', () => kept(7, 7, true), false],
])('a retention period of %s leaves dead letters their time, or is warned of', (_, props, warned) => {
  consumerOf({ eventPattern: created, ...props() });
  expect(warnings()).toEqual(warned ? [expect.stringMatching(/noTimeForDeadLetters/)] : []);
});

describe('a key', () => {
  test.each<[string, () => kms.IKey]>([
    ['by its alias', () => kms.Alias.fromAliasName(stack, 'Key', 'alias/aws/sqs')],
    ['by the ARN of its alias', () => kms.Key.fromKeyArn(stack, 'Key', 'arn:aws:kms:eu-west-1:111122223333:alias/aws/sqs')],
  ])('that AWS manages is refused %s', (_, key) => {
    expect(() => consumerOf({ eventPattern: created, encryptionKey: key() })).toThrow('encryptionKey is a key that AWS manages, which EventBridge '
      + "can't use, as its policy can't be changed: give a customer managed key, or none for SSE-SQS");
  });

  test('of a brought queue that AWS manages is refused', () => {
    const queue = sqs.Queue.fromQueueAttributes(stack, 'Queue', {
      queueArn: 'arn:aws:sqs:eu-west-1:111122223333:orders', keyArn: 'arn:aws:kms:eu-west-1:111122223333:alias/aws/sqs',
    });
    expect(() => consumerOf({ eventPattern: created, queue })).toThrow('queue is encrypted with the key alias/aws/sqs');
  });
});

describe('another account', () => {
  const foreign = 'arn:aws:events:eu-west-1:999999999999:event-bus/central';
  const statement = {
    Effect: 'Allow',
    Principal: { AWS: 'arn:aws:iam::111122223333:root' },
    Action: expect.arrayContaining(['events:PutRule', 'events:PutTargets', 'events:RemoveTargets', 'events:DeleteRule']),
    Resource: 'arn:aws:events:eu-west-1:999999999999:rule/central/*',
    Condition: { StringEqualsIfExists: { 'events:creatorAccount': '111122223333' } },
  };

  test('has a bus whose events come by a rule there and a bus here', () => {
    const consumer = consumerOf({ eventPatterns: [created, cancelled], eventBus: events.EventBus.fromEventBusArn(stack, 'Central', foreign) });
    const [bus] = Object.keys(template().findResources('AWS::Events::EventBus'));
    const there = rulesByPlace().filter(({ EventBusName }) => EventBusName === foreign);
    const here = rulesByPlace().filter(({ EventBusName }) => JSON.stringify(EventBusName) === JSON.stringify({ Ref: bus }));
    expect(there.map(({ EventPattern }) => EventPattern)).toEqual(here.map(({ EventPattern }) => EventPattern));
    expect(there.flatMap(({ Targets }) => Targets)).toEqual([1, 2].map(() => ({
      Id: 'Target0',
      Arn: { 'Fn::GetAtt': [bus, 'Arn'] },
      RoleArn: { 'Fn::GetAtt': [expect.stringMatching(/^ConsumerRelayRole/), 'Arn'] },
      DeadLetterConfig: { Arn: stack.resolve(consumer.deadLetterQueue.queueArn) },
    })));
    template().hasResourceProperties('AWS::IAM::Policy', {
      PolicyDocument: { Statement: [{ Action: 'events:PutEvents', Effect: 'Allow', Resource: { 'Fn::GetAtt': [bus, 'Arn'] } }] },
    });
    // The rules there may dead-letter too, but only those here may send to the queue.
    const arns = (queue: sqs.IQueue) => (senders(queue) as any)[0].ArnEquals['aws:SourceArn'];
    expect([arns(consumer.queue).length, arns(consumer.deadLetterQueue).length]).toEqual([2, 4]);
    expect(stack.resolve(consumer.keyPolicyStatement!.toStatementJson()).Condition)
      .toEqual({ StringEquals: { 'aws:SourceAccount': ['111122223333', '999999999999'] } });
    expect(unacknowledgedFindings(stack)).toEqual([]);
  });

  test('has to let this one make its rules, which is warned of with the statement', () => {
    const consumer = consumerOf({ eventPattern: created, eventBus: events.EventBus.fromEventBusArn(stack, 'Central', foreign) });
    expect(evaluate(stack.resolve(consumer.eventBusPolicyStatement!.toStatementJson()))).toEqual(statement);
    const [text] = warnings();
    expect(text).toMatch(/^eventBus is imported, .* no rule can be made on it unless it has this statement \(eventBusPolicyStatement\): /);
    expect(text).toContain('cdk-order-pipeline:eventBusPolicyNotUpdated');
    expect(evaluate(JSON.parse(/Statement\): (.*) \[ack:/.exec(text)![1]))).toEqual(statement);
  });

  test('lets this one make its rules if its bus is made in this app', () => {
    const owner = new Stack(app, 'Owner', { env: { account: '999999999999', region: 'eu-west-1' } });
    consumerOf({ eventPattern: created, eventBus: new events.EventBus(owner, 'Bus', { eventBusName: 'central' }) });
    expect(warnings()).toEqual([]);
    Template.fromStack(owner).hasResourceProperties('AWS::Events::EventBusPolicy', {
      Statement: Match.objectLike({ Condition: statement.Condition, Effect: 'Allow' }),
    });
  });

  test.each<[string, () => Partial<BufferedEventConsumerProps>, string]>([
    ['queue', () => ({ queue: sqs.Queue.fromQueueArn(stack, 'Queue', 'arn:aws:sqs:eu-west-1:999999999999:orders') }),
      'queue is of account 999999999999, to which EventBridge delivers only with a role of the bus\'s account: make the consumer in a stack of account 999999999999'],
    ['bus of another region', () => ({ eventBus: events.EventBus.fromEventBusArn(stack, 'Bus', foreign.replace('eu-west-1', 'us-east-1')) }),
      'eventBus is in us-east-1, but the rule and its queue are in eu-west-1: send the events to a bus of eu-west-1 first'],
  ])('can\'t have the %s', (_, props, message) => {
    expect(() => consumerOf({ eventPattern: created, ...props() })).toThrow(message);
  });
});

describe('Lambda', () => {
  const on = (options: LambdaConsumerOptions, props?: Partial<lambda.FunctionProps>) =>
    consumerOf({ eventPattern: created, target: ConsumerTarget.lambdaFunction(functionOf(props), options) });
  const mapping = () => Object.values(template().findResources('AWS::Lambda::EventSourceMapping'))[0]!.Properties;

  test('gets what a filter matches', () => {
    on({ filters: [lambda.FilterCriteria.filter({ body: { detail: { country: lambda.FilterRule.isEqual('DE') } } })] });
    expect(mapping().FilterCriteria).toEqual({ Filters: [{ Pattern: '{"body":{"detail":{"country":["DE"]}}}' }] });
  });

  test('gets what one of several filters matches, given as patterns or by FilterCriteria, to the same effect', () => {
    const { filter } = lambda.FilterCriteria;
    on({
      filters: [
        { body: { detail: { total: [{ numeric: ['>', 100, '<=', 200] }] } } },
        { body: { 'detail-type': ['OrderCreated'] }, messageAttributes: { pattern: ['a'] } },
        { body: { detail: { country: lambda.FilterRule.isEqual('DE') } } },
      ],
    });
    const patterns = mapping().FilterCriteria;
    expect(patterns).toEqual({
      Filters: [
        { Pattern: '{"body":{"detail":{"total":[{"numeric":[">",100,"<=",200]}]}}}' },
        { Pattern: '{"body":{"detail-type":["OrderCreated"]},"messageAttributes":{"pattern":["a"]}}' },
        { Pattern: '{"body":{"detail":{"country":["DE"]}}}' },
      ],
    });
    stack = new Stack(new App(), 'Test', { env });
    on({
      filters: [
        filter({ body: { detail: { total: lambda.FilterRule.between(100, 200) } } }),
        filter({ body: { 'detail-type': ['OrderCreated'] }, messageAttributes: { pattern: ['a'] } }),
        filter({ body: { detail: { country: lambda.FilterRule.isEqual('DE') } } }),
      ],
    });
    expect(mapping().FilterCriteria).toEqual(patterns);
  });

  test.each<[string, object]>([
    ['nothing', {}],
    ['nothing, by FilterCriteria', lambda.FilterCriteria.filter({})],
    ['a field without a value', { body: undefined }],
  ])('refuses a filter of %s, which would let every message through', (_, filter) => {
    expect(() => on({ filters: [{ body: { id: ['1'] } }, filter] })).toThrow('filters[1] is empty, so it would let every message through: name at least '
      + "one field, such as body, or leave filters out (in 'Test/Consumer')");
  });

  test.each<[LambdaConsumerOptions, object]>([
    [{ minPollers: 4, maxPollers: 20 }, { MinimumPollers: 4, MaximumPollers: 20 }],
    [{ maxPollers: 20 }, { MinimumPollers: 2, MaximumPollers: 20 }],
    [{ minPollers: 4 }, { MinimumPollers: 4 }],
  ])('has the pollers %j', (options, config) => {
    on(options);
    expect(mapping().ProvisionedPollerConfig).toEqual(config);
    expect(mapping()).not.toHaveProperty('ScalingConfig');
  });

  test.each<[LambdaConsumerOptions, string]>([
    [{ maxConcurrency: 10, minPollers: 2 }, "maxConcurrency and minPollers can't be given together: choose one"],
    [{ maxConcurrency: 10, maxPollers: 2 }, "maxConcurrency and maxPollers can't be given together: choose one"],
    [{ minPollers: 1 }, 'minPollers must be a whole number between 2 and 200, got 1'],
    [{ maxPollers: 2001 }, 'maxPollers must be a whole number between 2 and 2000, got 2001'],
    [{ minPollers: 5, maxPollers: 4 }, 'maxPollers (4) must not be less than minPollers (5)'],
    [{ filters: [] }, 'filters must be 1 to 10, got 0'],
    [{ processingTime: Duration.seconds(19) }, 'processingTime (19 seconds) is less than the timeout of the function (20 seconds)'],
  ])('refuses %j', (options, message) => {
    expect(() => on(options)).toThrow(message);
  });

  test('is warned of if it reserves less than the queue may use', () => {
    on({ maxConcurrency: 20 }, { reservedConcurrentExecutions: 10 });
    expect(warnings()).toEqual([expect.stringMatching(
      /^maxConcurrency \(20\) is more than the reserved concurrency of the function \(10\).*:maxConcurrencyAboveReserved/)]);
  });

  test('of another stack leaves everything here if its environment names nothing of here', () => {
    const functions = new Stack(app, 'Functions', { env });
    const fn = new lambda.Function(functions, 'Function', {
      runtime: lambda.Runtime.NODEJS_24_X, handler: 'index.handler', code: lambda.Code.fromInline('exports.handler = async () => ({});'),
    });
    // With the bus there, the function's stack can't need this one.
    consumerOf({
      eventPattern: created,
      eventBus: new events.EventBus(functions, 'Bus'),
      target: ConsumerTarget.lambdaFunction(fn),
      environment: { LOG_LEVEL: 'debug', BUS: 'arn:' + functions.partition },
    });
    template().resourceCountIs('AWS::Lambda::EventSourceMapping', 1);
    Template.fromStack(functions).hasResourceProperties('AWS::Lambda::Function', { Environment: { Variables: { LOG_LEVEL: 'debug' } } });
  });
});

describe('an identity that can\'t be changed', () => {
  const consume = (resource: unknown) => ({
    Action: ['sqs:ReceiveMessage', 'sqs:DeleteMessage', 'sqs:ChangeMessageVisibility', 'sqs:GetQueueAttributes'], Effect: 'Allow', Resource: resource,
  });

  test.each<[string, (role: iam.IRole) => Partial<BufferedEventConsumerProps>]>([
    ['external', (role) => ({ target: ConsumerTarget.external(role, { processingTime: Duration.seconds(30) }) })],
    ['Lambda', (role) => ({
      target: ConsumerTarget.lambdaFunction(
        lambda.Function.fromFunctionAttributes(stack, 'Fn', { functionArn: 'arn:aws:lambda:eu-west-1:111122223333:function:orders', role }),
        { processingTime: Duration.seconds(30) }),
    })],
  ])('is warned of with what it needs: %s', (_, props) => {
    const role = iam.Role.fromRoleArn(stack, 'Fixed', 'arn:aws:iam::111122223333:role/fixed', { mutable: false });
    const key = new kms.Key(stack, 'Key');
    const consumer = consumerOf({ eventPattern: created, encryptionKey: key, ...props(role) });
    template().resourceCountIs('AWS::IAM::Policy', 0);
    const statements = [
      consume(stack.resolve(consumer.queue.queueArn)),
      { Action: 'kms:Decrypt', Effect: 'Allow', Resource: stack.resolve(key.keyArn) },
    ];
    expect(consumer.consumePolicyStatements.map((statement) => stack.resolve(statement.toStatementJson()))).toEqual(statements);
    const [text, ...others] = warnings();
    expect(others).toEqual([]);
    expect(JSON.parse(`[${/\(consumePolicyStatements\): (.*) \[ack:/.exec(text)![1]}]`)).toEqual(statements);
  });
});
