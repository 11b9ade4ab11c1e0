import { App, Duration, Stack, Token } from 'aws-cdk-lib';
import { Annotations, Match, Template } from 'aws-cdk-lib/assertions';
import * as events from 'aws-cdk-lib/aws-events';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as kms from 'aws-cdk-lib/aws-kms';
import * as sqs from 'aws-cdk-lib/aws-sqs';
import { BufferedEventConsumer, BufferedEventConsumerProps, ConsumerTargetBindOptions, IConsumerTarget } from '../../src';
import { unacknowledgedFindings } from '../nag';

/** A target that somebody else wrote: it makes nothing and remembers what it was bound to. */
class OwnTarget implements IConsumerTarget {
  public bound?: ConsumerTargetBindOptions;

  constructor(public readonly processingTime?: Duration, public readonly maxBatchingWindow?: Duration) {
  }

  public bind(_scope: unknown, options: ConsumerTargetBindOptions) {
    this.bound = options;
    return {};
  }
}

const eventPattern = { source: ['com.example.orders'], detailType: ['OrderCreated'] };
let stack: Stack;
let eventBus: events.IEventBus;
beforeEach(() => {
  stack = new Stack(new App(), 'Test');
  eventBus = new events.EventBus(stack, 'Bus');
});

function consumerOf(props: Partial<BufferedEventConsumerProps> = {}): BufferedEventConsumer {
  return new BufferedEventConsumer(stack, 'Consumer', { eventBus, eventPattern, target: new OwnTarget(), ...props });
}

function idOf(queue: sqs.IQueue): string {
  return stack.getLogicalId(queue.node.defaultChild as sqs.CfnQueue);
}

function propertiesOf(queue: sqs.IQueue): { [name: string]: any } {
  return Template.fromStack(stack).toJSON().Resources[idOf(queue)].Properties;
}

/** The statements of a queue's policy, without the one that enforces TLS. */
function allowStatements(queue: sqs.IQueue): unknown[] {
  return Object.values(Template.fromStack(stack).findResources('AWS::SQS::QueuePolicy'))
    .filter((policy) => JSON.stringify(policy.Properties.Queues) === JSON.stringify([{ Ref: idOf(queue) }]))
    .flatMap((policy) => policy.Properties.PolicyDocument.Statement)
    .filter((statement) => statement.Effect === 'Allow');
}

const imported = (id: string) => sqs.Queue.fromQueueArn(stack, id, `arn:aws:sqs:eu-west-1:111122223333:${id}`);

describe('resources', () => {
  test('a rule on the bus sends whole events to the queue', () => {
    const consumer = consumerOf();
    Template.fromStack(stack).hasResourceProperties('AWS::Events::Rule', {
      EventBusName: stack.resolve(eventBus.eventBusName),
      EventPattern: { 'source': ['com.example.orders'], 'detail-type': ['OrderCreated'] },
      State: 'ENABLED',
      Targets: [{
        Id: 'Target0',
        Arn: stack.resolve(consumer.queue.queueArn),
        DeadLetterConfig: { Arn: stack.resolve(consumer.deadLetterQueue.queueArn) },
      }],
    });
  });

  test('one dead-letter queue takes what can\'t be delivered and what fails', () => {
    const consumer = consumerOf();
    const template = Template.fromStack(stack);
    template.resourceCountIs('AWS::SQS::Queue', 2);
    expect(propertiesOf(consumer.queue).RedrivePolicy).toEqual({
      deadLetterTargetArn: stack.resolve(consumer.deadLetterQueue.queueArn),
      maxReceiveCount: 5,
    });
    expect(propertiesOf(consumer.deadLetterQueue)).toEqual({
      MessageRetentionPeriod: 14 * 86_400,
      SqsManagedSseEnabled: true,
      RedriveAllowPolicy: { redrivePermission: 'byQueue', sourceQueueArns: [expect.anything()] },
    });
  });

  test('the queue is encrypted, keeps messages for four days and hides them for six processing times', () => {
    expect(propertiesOf(consumerOf().queue)).toMatchObject({
      SqsManagedSseEnabled: true,
      MessageRetentionPeriod: 4 * 86_400,
      VisibilityTimeout: 180,
    });
  });

  test('both queues refuse connections without TLS', () => {
    consumerOf();
    Template.fromStack(stack).resourcePropertiesCountIs('AWS::SQS::QueuePolicy', {
      PolicyDocument: {
        Statement: Match.arrayWith([Match.objectLike({
          Effect: 'Deny', Action: 'sqs:*', Condition: { Bool: { 'aws:SecureTransport': 'false' } },
        })]),
      },
    }, 2);
  });

  test.each(['queue', 'deadLetterQueue'] as const)('only this rule may send to the %s, and it may only send', (name) => {
    const consumer = consumerOf();
    expect(allowStatements(consumer[name])).toEqual([{
      Effect: 'Allow',
      Principal: { Service: 'events.amazonaws.com' },
      Action: 'sqs:SendMessage',
      Resource: stack.resolve(consumer[name].queueArn),
      Condition: { ArnEquals: { 'aws:SourceArn': stack.resolve(consumer.rules[0]!.ruleArn) } },
    }]);
  });

  test('are five and have no findings', () => {
    consumerOf();
    expect(Object.keys(Template.fromStack(stack).toJSON().Resources).filter((id) => id.startsWith('Consumer'))).toHaveLength(5);
    expect(unacknowledgedFindings(stack)).toEqual([]);
  });

  test('listen to the default bus unless told', () => {
    consumerOf({ eventBus: undefined });
    Template.fromStack(stack).hasResourceProperties('AWS::Events::Rule', { EventBusName: Match.absent() });
  });

  test('have no cycle with a bus of another stack', () => {
    const app = new App();
    const shared = new events.EventBus(new Stack(app, 'Shared'), 'Bus');
    stack = new Stack(app, 'Team');
    consumerOf({ eventBus: shared, encryptionKey: new kms.Key(Stack.of(shared), 'Key') });
    Template.fromStack(stack).resourceCountIs('AWS::Events::Rule', 1);
    Template.fromStack(Stack.of(shared)).resourceCountIs('AWS::Events::Rule', 0);
  });
});

describe('options', () => {
  test('change the new queue', () => {
    const consumer = consumerOf({ maxReceiveCount: 3, retentionPeriod: Duration.days(1), visibilityTimeout: Duration.minutes(2) });
    expect(propertiesOf(consumer.queue)).toMatchObject({
      RedrivePolicy: { maxReceiveCount: 3 }, MessageRetentionPeriod: 86_400, VisibilityTimeout: 120,
    });
  });

  test('transform what is sent', () => {
    consumerOf({ ruleInput: events.RuleTargetInput.fromEventPath('$.detail') });
    Template.fromStack(stack).hasResourceProperties('AWS::Events::Rule', { Targets: [Match.objectLike({ InputPath: '$.detail' })] });
  });

  test('reach the target', () => {
    const target = new OwnTarget();
    const consumer = consumerOf({ target, environment: { DB_NAME: 'orders' }, egressPorts: [5433] });
    expect(target.bound).toEqual({
      queue: consumer.queue,
      deadLetterQueue: consumer.deadLetterQueue,
      environment: { QUEUE_URL: consumer.queue.queueUrl, DB_NAME: 'orders' },
      egressPorts: [5433],
    });
    expect(consumer.environment).toBe(target.bound?.environment);
  });
});

describe('visibility timeout', () => {
  test.each([
    ['six processing times', new OwnTarget(Duration.seconds(60)), 360],
    ['plus the batching window', new OwnTarget(Duration.seconds(60), Duration.seconds(20)), 380],
    ['in whole seconds', new OwnTarget(Duration.millis(1001)), 7],
    ['of at most 12 hours', new OwnTarget(Duration.hours(3)), 43_200],
  ])('is %s', (_, target, seconds) => {
    expect(propertiesOf(consumerOf({ target }).queue).VisibilityTimeout).toBe(seconds);
  });

  test('may be as short as the processing time', () => {
    const target = new OwnTarget(Duration.seconds(60));
    expect(propertiesOf(consumerOf({ target, visibilityTimeout: Duration.seconds(60) }).queue).VisibilityTimeout).toBe(60);
  });

  test('must not be shorter', () => {
    expect(() => consumerOf({ target: new OwnTarget(Duration.seconds(60)), visibilityTimeout: Duration.seconds(59) }))
      .toThrow('visibilityTimeout (59 seconds) is less than the processing time of target (1 minute), so a message would be processed '
        + "twice at a time: make it six times as long (in 'Test/Consumer')");
  });

  test('can\'t be made from a token, but can be one', () => {
    const token = Duration.seconds(Token.asNumber({ Ref: 'Seconds' }));
    expect(() => consumerOf({ target: new OwnTarget(token) }))
      .toThrow('visibilityTimeout must be given, as the processing time or the batching window of target is a token');

    const consumer = new BufferedEventConsumer(stack, 'Given', { eventPattern, target: new OwnTarget(token), visibilityTimeout: token });
    expect(propertiesOf(consumer.queue).VisibilityTimeout).toEqual({ Ref: 'Seconds' });
  });
});

describe('a customer managed key', () => {
  let key: kms.Key;
  beforeEach(() => {
    key = new kms.Key(stack, 'Key', { enableKeyRotation: true });
  });

  const eventBridge = {
    Effect: 'Allow',
    Principal: { Service: 'events.amazonaws.com' },
    Action: ['kms:Decrypt', 'kms:GenerateDataKey*'],
    Resource: '*',
    Condition: { StringEquals: { 'aws:SourceAccount': { Ref: 'AWS::AccountId' } } },
  };
  const statementsOf = (k: kms.Key) => {
    const resource = Template.fromStack(stack).toJSON().Resources[stack.getLogicalId(k.node.defaultChild as kms.CfnKey)];
    return resource.Properties.KeyPolicy.Statement.filter((statement: any) => statement.Principal.Service === 'events.amazonaws.com');
  };

  test('encrypts both queues, and EventBridge may use it', () => {
    const consumer = consumerOf({ encryptionKey: key });
    const KmsMasterKeyId = stack.resolve(key.keyArn);
    expect(propertiesOf(consumer.queue)).toMatchObject({ KmsMasterKeyId });
    expect(propertiesOf(consumer.deadLetterQueue)).toMatchObject({ KmsMasterKeyId });
    expect(statementsOf(key)).toEqual([eventBridge]);
    expect(unacknowledgedFindings(stack)).toEqual([]);
  });

  test('gets one statement from many consumers', () => {
    consumerOf({ encryptionKey: key });
    new BufferedEventConsumer(stack, 'Second', { eventPattern, target: new OwnTarget(), encryptionKey: key });
    expect(statementsOf(key)).toEqual([eventBridge]);
  });

  test('of the dead-letter queue alone may be used too', () => {
    const deadLetterQueue = new sqs.Queue(stack, 'Dead', { encryptionMasterKey: key });
    consumerOf({ deadLetterQueue });
    expect(statementsOf(key)).toEqual([eventBridge]);
  });

  test('of a brought queue encrypts the new dead-letter queue too', () => {
    const consumer = consumerOf({ queue: new sqs.Queue(stack, 'Queue', { encryptionMasterKey: key }) });
    expect(propertiesOf(consumer.deadLetterQueue)).toMatchObject({ KmsMasterKeyId: stack.resolve(key.keyArn) });
    expect(statementsOf(key)).toEqual([eventBridge]);
  });

  test('that is imported is warned of, with the statement that it needs', () => {
    const encryptionKey = kms.Key.fromKeyArn(stack, 'Imported', 'arn:aws:kms:eu-west-1:111122223333:key/1');
    const consumer = consumerOf({ encryptionKey });
    expect(stack.resolve(consumer.keyPolicyStatement!.toStatementJson())).toEqual(eventBridge);
    const warnings = Annotations.fromStack(stack).findWarning('/Test/Consumer', Match.stringLikeRegexp('encryptionKeyPolicyNotUpdated'));
    expect(warnings).toHaveLength(1);
    expect(JSON.parse(/\(keyPolicyStatement\): (.*) \[ack:/.exec(String(warnings[0]!.entry.data))![1]!)).toEqual(eventBridge);
  });
});

describe('a brought queue', () => {
  test('is used with its own dead-letter queue', () => {
    const dead = new sqs.Queue(stack, 'Dead', { retentionPeriod: Duration.days(14) });
    const queue = new sqs.Queue(stack, 'Queue', { deadLetterQueue: { queue: dead, maxReceiveCount: 9 }, visibilityTimeout: Duration.minutes(3) });
    const consumer = consumerOf({ queue });

    expect([consumer.queue, consumer.deadLetterQueue]).toEqual([queue, dead]);
    Template.fromStack(stack).resourceCountIs('AWS::SQS::Queue', 2);
    expect(allowStatements(queue)).toHaveLength(1);
    expect(allowStatements(dead)).toHaveLength(1);
    Annotations.fromStack(stack).hasNoWarning('*', Match.anyValue());
  });

  test('without a dead-letter queue is warned of', () => {
    consumerOf({ queue: new sqs.Queue(stack, 'Queue') });
    Annotations.fromStack(stack).hasWarning('/Test/Consumer', Match.stringLikeRegexp(
      "queue 'Test/Queue' has no deadLetterQueue: .*cdk-order-pipeline:queueWithoutDeadLetterQueue"));
  });

  test('that is imported is warned of, with the statement that it needs', () => {
    const consumer = consumerOf({ queue: imported('orders') });
    const statement = {
      Action: 'sqs:SendMessage',
      Condition: { ArnEquals: { 'aws:SourceArn': stack.resolve(consumer.rules[0]!.ruleArn) } },
      Effect: 'Allow',
      Principal: { Service: 'events.amazonaws.com' },
      Resource: 'arn:aws:sqs:eu-west-1:111122223333:orders',
    };
    expect(stack.resolve(consumer.queuePolicyStatement!.toStatementJson())).toEqual(statement);
    const [warning] = Annotations.fromStack(stack).findWarning('/Test/Consumer', Match.stringLikeRegexp('queuePolicyNotUpdated'));
    expect(warning!.entry.data).toBe("queue is imported, so its policy stays as it is and EventBridge can't deliver unless it has this "
      + `statement (queuePolicyStatement): ${JSON.stringify(statement)} [ack: cdk-order-pipeline:queuePolicyNotUpdated]`);
    // Undeliverable events still have somewhere to go.
    expect(allowStatements(consumer.deadLetterQueue)).toHaveLength(1);
  });

  test('and an imported dead-letter queue are warned of one by one', () => {
    const consumer = consumerOf({ queue: imported('orders'), deadLetterQueue: imported('dead') });
    Template.fromStack(stack).resourceCountIs('AWS::SQS::Queue', 0);
    expect(consumer.deadLetterQueuePolicyStatement!.resources).toEqual(['arn:aws:sqs:eu-west-1:111122223333:dead']);
    const ids = Annotations.fromStack(stack).findWarning('/Test/Consumer', Match.anyValue())
      .map((warning) => /\[ack: (.*)\]/.exec(String(warning.entry.data))![1]);
    expect(ids).toEqual(['cdk-order-pipeline:queuePolicyNotUpdated', 'cdk-order-pipeline:deadLetterQueuePolicyNotUpdated']);
  });

  test.each<Partial<BufferedEventConsumerProps>>([
    { maxReceiveCount: 3 },
    { retentionPeriod: Duration.days(1) },
    { visibilityTimeout: Duration.minutes(5) },
  ])('can\'t be configured here: %j', (configured) => {
    const [prop] = Object.keys(configured);
    expect(() => consumerOf({ queue: imported('orders'), ...configured }))
      .toThrow(`${prop} can't be given together with queue: set it where queue is defined, or leave queue out`);
  });

  test('can\'t be given a key', () => {
    expect(() => consumerOf({ queue: imported('orders'), encryptionKey: new kms.Key(stack, 'Key') }))
      .toThrow("encryptionKey can't be given together with queue: set it where queue is defined, or leave queue out");
  });

  test.each(['queue', 'deadLetterQueue'])('can\'t use the AWS managed key as %s', (prop) => {
    const queue = new sqs.Queue(stack, 'Queue', { encryption: sqs.QueueEncryption.KMS_MANAGED });
    expect(() => consumerOf({ [prop]: queue }))
      .toThrow(`${prop} is encrypted with the key alias/aws/sqs, which EventBridge can't use, as its policy can't be changed: `
        + 'encrypt it with QueueEncryption.SQS_MANAGED or with a customer managed key');
  });

  test('can\'t hide messages for less than the processing time', () => {
    const queue = new sqs.Queue(stack, 'Queue');
    expect(() => consumerOf({ queue, target: new OwnTarget(Duration.seconds(31)) }))
      .toThrow('the visibilityTimeout of queue (30 seconds) is less than the processing time of target (31 seconds)');
  });

  test('can\'t have two dead-letter queues', () => {
    const queue = new sqs.Queue(stack, 'Queue', { deadLetterQueue: { queue: new sqs.Queue(stack, 'Dead'), maxReceiveCount: 9 } });
    expect(() => consumerOf({ queue, deadLetterQueue: new sqs.Queue(stack, 'Other') }))
      .toThrow('deadLetterQueue is not the one of queue: leave it out, or give queue the same one');
  });

  test('can\'t be in another region', () => {
    stack = new Stack(new App(), 'Test', { env: { account: '111122223333', region: 'us-east-1' } });
    expect(() => consumerOf({ eventBus: undefined, queue: imported('orders') }))
      .toThrow('queue is in eu-west-1, but EventBridge delivers to queues of its own region only, which is us-east-1');
  });
});

test('a brought dead-letter queue takes failed messages of the new queue', () => {
  const deadLetterQueue = new sqs.Queue(stack, 'Dead');
  const consumer = consumerOf({ deadLetterQueue, maxReceiveCount: 2 });
  expect(propertiesOf(consumer.queue).RedrivePolicy).toEqual({
    deadLetterTargetArn: stack.resolve(deadLetterQueue.queueArn), maxReceiveCount: 2,
  });
  Template.fromStack(stack).resourceCountIs('AWS::SQS::Queue', 2);
});

describe('refuses', () => {
  test.each<[Partial<BufferedEventConsumerProps>, string]>([
    [{ eventPattern: {} }, 'eventPattern is empty: name at least one field, such as detailType'],
    [{ eventPattern: { source: undefined } }, 'eventPattern is empty'],
    [{ maxReceiveCount: 0 }, 'maxReceiveCount must be a whole number between 1 and 1000, got 0'],
    [{ maxReceiveCount: 2.5 }, 'maxReceiveCount must be a whole number between 1 and 1000, got 2.5'],
    [{ retentionPeriod: Duration.seconds(59) }, 'retentionPeriod must be between 1 minute and 14 days, got 59 seconds'],
    [{ retentionPeriod: Duration.days(15) }, 'retentionPeriod must be between 1 minute and 14 days, got 15 days'],
    [{ visibilityTimeout: Duration.hours(13) }, 'visibilityTimeout must be between 0 seconds and 12 hours, got 13 hours'],
    [{ target: new OwnTarget(Duration.hours(13)) }, 'target.processingTime must be between'],
  ])('%j', (props, message) => {
    expect(() => consumerOf(props)).toThrow(message);
  });

  test('no value that is only known at deployment', () => {
    const consumer = consumerOf({
      maxReceiveCount: Token.asNumber({ Ref: 'Count' }),
      retentionPeriod: Duration.seconds(Token.asNumber({ Ref: 'Retention' })),
      visibilityTimeout: Duration.seconds(Token.asNumber({ Ref: 'Visibility' })),
    });
    expect(propertiesOf(consumer.queue)).toMatchObject({
      RedrivePolicy: { maxReceiveCount: { Ref: 'Count' } },
      MessageRetentionPeriod: { Ref: 'Retention' },
      VisibilityTimeout: { Ref: 'Visibility' },
    });
  });
});

describe('grants', () => {
  let role: iam.Role;
  beforeEach(() => {
    role = new iam.Role(stack, 'Operator', { assumedBy: new iam.AccountRootPrincipal() });
  });
  const granted = () => Object.values(Template.fromStack(stack).findResources('AWS::IAM::Policy'))
    .flatMap((policy) => policy.Properties.PolicyDocument.Statement)
    .map(({ Action, Resource }) => ({ Action, Resource }));

  test('redrive moves messages from the dead-letter queue to the queue', () => {
    const consumer = consumerOf();
    consumer.grants.redrive(role);
    expect(granted()).toEqual([
      {
        Action: [
          'sqs:StartMessageMoveTask', 'sqs:CancelMessageMoveTask', 'sqs:ListMessageMoveTasks',
          'sqs:ReceiveMessage', 'sqs:DeleteMessage', 'sqs:GetQueueAttributes',
        ],
        Resource: stack.resolve(consumer.deadLetterQueue.queueArn),
      },
      { Action: 'sqs:SendMessage', Resource: stack.resolve(consumer.queue.queueArn) },
    ]);
  });

  test('inspectDeadLetters reads and puts back', () => {
    const consumer = consumerOf();
    consumer.grants.inspectDeadLetters(role);
    expect(granted()).toEqual([{
      Action: ['sqs:ReceiveMessage', 'sqs:ChangeMessageVisibility', 'sqs:GetQueueAttributes'],
      Resource: stack.resolve(consumer.deadLetterQueue.queueArn),
    }]);
  });

  test('with a customer managed key give what they need of it, and have no findings', () => {
    const key = new kms.Key(stack, 'Key', { enableKeyRotation: true });
    consumerOf({ encryptionKey: key }).grants.redrive(role);
    expect(granted()).toContainEqual({ Action: ['kms:Decrypt', 'kms:GenerateDataKey'], Resource: stack.resolve(key.keyArn) });
    expect(unacknowledgedFindings(stack)).toEqual([]);
  });
});

describe('metrics', () => {
  const rendered = (metric: any) => stack.resolve(metric.toMetricConfig().metricStat);

  test.each([
    ['metricBacklog', 'ApproximateNumberOfMessagesVisible', 'queue'],
    ['metricOldestMessageAge', 'ApproximateAgeOfOldestMessage', 'queue'],
    ['metricDeadLetters', 'ApproximateNumberOfMessagesVisible', 'deadLetterQueue'],
  ] as const)('%s', (method, metricName, queue) => {
    const consumer = consumerOf();
    expect(rendered(consumer[method]({ period: Duration.minutes(1) }))).toMatchObject({
      namespace: 'AWS/SQS',
      metricName,
      dimensions: [{ name: 'QueueName', value: stack.resolve(consumer[queue].queueName) }],
      statistic: 'Maximum',
    });
  });

  test('metricFailedDeliveries names bus and rule of a custom bus', () => {
    const consumer = consumerOf();
    expect(rendered(consumer.metricFailedDeliveries())).toMatchObject({
      namespace: 'AWS/Events',
      metricName: 'FailedInvocations',
      statistic: 'Sum',
      dimensions: [
        { name: 'EventBusName', value: stack.resolve(eventBus.eventBusName) },
        { name: 'RuleName', value: { 'Fn::Select': [1, { 'Fn::Split': ['|', stack.resolve(consumer.rules[0]!.ruleName)] }] } },
      ],
    });
  });

  test('metricFailedDeliveries names the rule of the default bus', () => {
    const consumer = consumerOf({ eventBus: events.EventBus.fromEventBusName(stack, 'Default', 'default') });
    expect(rendered(consumer.metricFailedDeliveries()).dimensions).toEqual([{ name: 'RuleName', value: stack.resolve(consumer.rules[0]!.ruleName) }]);
  });
});
