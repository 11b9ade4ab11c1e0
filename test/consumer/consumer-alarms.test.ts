import { App, CfnParameter, Duration, Stack, Token } from 'aws-cdk-lib';
import { Annotations, Match, Template } from 'aws-cdk-lib/assertions';
import * as cloudwatch from 'aws-cdk-lib/aws-cloudwatch';
import * as cloudwatch_actions from 'aws-cdk-lib/aws-cloudwatch-actions';
import * as events from 'aws-cdk-lib/aws-events';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as sns from 'aws-cdk-lib/aws-sns';
import * as sqs from 'aws-cdk-lib/aws-sqs';
import { BufferedEventConsumer, BufferedEventConsumerProps, ConsumerAlarmsOptions, ConsumerTarget, QueueType } from '../../src';

let stack: Stack;
beforeEach(() => {
  stack = new Stack(new App(), 'Shop', { env: { account: '111122223333', region: 'eu-west-1' } });
});

function consumerOf(props: Partial<BufferedEventConsumerProps> = {}): BufferedEventConsumer {
  const role = new iam.Role(stack, 'Role', { assumedBy: new iam.ServicePrincipal('ec2.amazonaws.com') });
  return new BufferedEventConsumer(stack, 'Stock', {
    eventPattern: { detailType: ['OrderCreated'] },
    target: ConsumerTarget.external(role, { processingTime: Duration.seconds(10) }),
    ...props,
  });
}

interface Alarm {
  readonly MetricName: string;
  readonly AlarmDescription: unknown;
  readonly [property: string]: unknown;
}

function alarms(): Alarm[] {
  return Object.values(Template.fromStack(stack).findResources('AWS::CloudWatch::Alarm')).map((alarm) => alarm.Properties);
}

function alarmOf(metricName: string): Alarm {
  return alarms().find(({ MetricName }) => MetricName === metricName)!;
}

const options = (more: Partial<ConsumerAlarmsOptions> = {}): ConsumerAlarmsOptions => ({ actions: [], ...more });

test('every consumer gets three alarms, which take no data for no trouble', () => {
  const consumer = consumerOf();
  consumer.addAlarms(options());
  const queueName = stack.resolve(consumer.queue.queueName);
  const deadLetterQueueName = stack.resolve(consumer.deadLetterQueue.queueName);
  expect(alarms()).toEqual([
    expect.objectContaining({
      Namespace: 'AWS/SQS',
      MetricName: 'ApproximateAgeOfOldestMessage',
      Dimensions: [{ Name: 'QueueName', Value: queueName }],
      Statistic: 'Maximum',
      Period: 60,
      EvaluationPeriods: 3,
      Threshold: 300,
      ComparisonOperator: 'GreaterThanThreshold',
      TreatMissingData: 'notBreaching',
    }),
    expect.objectContaining({
      Namespace: 'AWS/SQS',
      MetricName: 'ApproximateNumberOfMessagesVisible',
      Dimensions: [{ Name: 'QueueName', Value: deadLetterQueueName }],
      Statistic: 'Maximum',
      Period: 60,
      EvaluationPeriods: 1,
      Threshold: 1,
      ComparisonOperator: 'GreaterThanOrEqualToThreshold',
      TreatMissingData: 'notBreaching',
    }),
    expect.objectContaining({
      Namespace: 'AWS/Events',
      MetricName: 'FailedInvocations',
      Dimensions: [{ Name: 'RuleName', Value: stack.resolve(consumer.rules[0]!.ruleName) }],
      Statistic: 'Sum',
      Period: 60,
      EvaluationPeriods: 1,
      Threshold: 1,
      ComparisonOperator: 'GreaterThanOrEqualToThreshold',
      TreatMissingData: 'notBreaching',
    }),
  ]);
});

test('the alarms are properties, for dashboards and composite alarms', () => {
  const made = consumerOf().addAlarms(options());
  expect([made.oldestMessageAge, made.deadLetters, made.failedDeliveries].map((alarm) => alarm?.node.path)).toEqual([
    'Shop/Stock/Alarms/OldestMessageAge', 'Shop/Stock/Alarms/DeadLetters', 'Shop/Stock/Alarms/FailedDeliveries',
  ]);
});

test('the failures are those of the consumer\'s rule on its bus', () => {
  consumerOf({ eventBus: events.EventBus.fromEventBusName(stack, 'Bus', 'shop') }).addAlarms(options());
  expect(alarmOf('FailedInvocations').Dimensions).toEqual([
    { Name: 'EventBusName', Value: 'shop' }, { Name: 'RuleName', Value: expect.anything() },
  ]);
});

test('the failures of several rules are one alarm', () => {
  const consumer = consumerOf({ eventPattern: undefined, eventPatterns: [{ source: ['shop'] }, { source: ['store'] }] });
  consumer.addAlarms(options());
  const [expression, ...rules] = alarms()[2].Metrics as { MetricStat?: { Metric: unknown; Period: number }; Expression?: string }[];
  expect(expression).toMatchObject({ Expression: expect.stringContaining('SUM') });
  expect(rules.map(({ MetricStat }) => MetricStat)).toEqual(consumer.rules.map((rule) => expect.objectContaining({
    Metric: expect.objectContaining({ MetricName: 'FailedInvocations', Dimensions: [{ Name: 'RuleName', Value: stack.resolve(rule.ruleName) }] }),
    Period: 60,
  })));
});

test('nothing is delivered to a queue without a rule, so nothing fails', () => {
  const queue = new sqs.Queue(stack, 'Own', { deadLetterQueue: { queue: new sqs.Queue(stack, 'Dead'), maxReceiveCount: 3 } });
  const made = consumerOf({ eventPattern: undefined, queue }).addAlarms(options());
  expect(made.failedDeliveries).toBeUndefined();
  expect(alarms().map(({ MetricName }) => MetricName)).toEqual(['ApproximateAgeOfOldestMessage', 'ApproximateNumberOfMessagesVisible']);
});

test('actions are called by all alarms', () => {
  const [topic, closed] = ['Topic', 'Closed'].map((id) => new sns.Topic(stack, id));
  consumerOf().addAlarms(options({
    actions: [new cloudwatch_actions.SnsAction(topic)], okActions: [new cloudwatch_actions.SnsAction(closed)],
  }));
  expect(alarms().map(({ AlarmActions }) => AlarmActions)).toEqual(Array(3).fill([stack.resolve(topic.topicArn)]));
  expect(alarms().map(({ OKActions }) => OKActions)).toEqual(Array(3).fill([stack.resolve(closed.topicArn)]));
});

test('nobody gets a message about the end of an alarm by default', () => {
  consumerOf().addAlarms(options({ actions: [new cloudwatch_actions.SnsAction(new sns.Topic(stack, 'Topic'))] }));
  expect(alarms().filter(({ OKActions }) => OKActions)).toEqual([]);
});

describe('the acceptable latency', () => {
  test('is the threshold of the age', () => {
    consumerOf().addAlarms(options({ acceptableLatency: Duration.minutes(2) }));
    expect(alarmOf('ApproximateAgeOfOldestMessage')).toMatchObject({
      Threshold: 120, AlarmDescription: expect.stringContaining('Shop/Stock wait longer than 2 minutes'),
    });
  });

  test('may be known at deployment only', () => {
    const parameter = new CfnParameter(stack, 'Latency', { type: 'Number' });
    consumerOf().addAlarms(options({ acceptableLatency: Duration.seconds(parameter.valueAsNumber) }));
    expect(alarmOf('ApproximateAgeOfOldestMessage').Threshold).toEqual({ Ref: 'Latency' });
    expect(alarmOf('ApproximateAgeOfOldestMessage').AlarmDescription).toContain('longer than the acceptable latency');
  });

  test('is refused if messages are lost before it is over', () => {
    const consumer = consumerOf({ retentionPeriod: Duration.days(1) });
    expect(() => consumer.addAlarms(options({ acceptableLatency: Duration.days(1) }))).toThrow(
      'acceptableLatency (1 day) is not less than the retentionPeriod of the queue (1 day), so messages would be lost before the alarm goes off');
  });

  test('is compared with the retention of an own queue too', () => {
    const own = (id: string, queueProps: sqs.QueueProps) => new sqs.Queue(stack, id, {
      deadLetterQueue: { queue: new sqs.Queue(stack, `${id}Dead`), maxReceiveCount: 3 }, visibilityTimeout: Duration.minutes(1), ...queueProps,
    });
    const role = new iam.Role(stack, 'OwnRole', { assumedBy: new iam.ServicePrincipal('ec2.amazonaws.com') });
    const consume = (id: string, queueProps: sqs.QueueProps) => new BufferedEventConsumer(stack, id, {
      eventPattern: { source: ['shop'] },
      queue: own(`${id}Queue`, queueProps),
      target: ConsumerTarget.external(role, { processingTime: Duration.seconds(10) }),
    });
    // What Amazon SQS takes if nothing is said.
    expect(() => consume('Default', {}).addAlarms(options({ acceptableLatency: Duration.days(5) }))).toThrow('retentionPeriod of the queue (4 days)');
    expect(() => consume('Token', { retentionPeriod: Duration.seconds(Token.asNumber({ Ref: 'Kept' })) })
      .addAlarms(options({ acceptableLatency: Duration.days(5) }))).not.toThrow();
  });

  test('is at least a second', () => {
    const consumer = consumerOf();
    expect(() => consumer.addAlarms(options({ acceptableLatency: Duration.millis(10) }))).toThrow('acceptableLatency must be between 1 second and 14 days');
  });
});

describe('a description says what to do', () => {
  const text = (metricName: string) => {
    const description = alarmOf(metricName).AlarmDescription;
    return typeof description === 'string' ? description
      : (description as { 'Fn::Join': [string, unknown[]] })['Fn::Join'][1].map((part) => typeof part === 'string' ? part : JSON.stringify(part)).join('');
  };

  test.each(['ApproximateNumberOfMessagesVisible', 'FailedInvocations'])('%s: with the command that moves messages back', (metricName) => {
    const consumer = consumerOf();
    consumer.addAlarms(options());
    expect(text(metricName)).toContain('Shop/Stock');
    expect(text(metricName)).toContain(`aws sqs start-message-move-task --source-arn ${JSON.stringify(stack.resolve(consumer.deadLetterQueue.queueArn))} `
      + `--destination-arn ${JSON.stringify(stack.resolve(consumer.queue.queueArn))}`);
  });

  test('a FIFO queue gets nothing back from a standard one', () => {
    const consumer = consumerOf({ queueType: QueueType.fifo() });
    consumer.addAlarms(options());
    expect(text('FailedInvocations')).toContain(`publish the events again that are in ${JSON.stringify(stack.resolve(consumer.ruleDeadLetterQueue!.queueArn))}`);
    expect(text('FailedInvocations')).not.toContain('start-message-move-task');
    expect(text('ApproximateNumberOfMessagesVisible')).toContain('start-message-move-task');
  });

  test('and is not longer than Amazon CloudWatch takes', () => {
    // Names at their limit: 80 characters of a queue, a path of 255.
    const long = new Stack(new App(), 'S'.repeat(128), { env: { account: '111122223333', region: 'ap-southeast-1' } });
    const queue = (name: string) => sqs.Queue.fromQueueArn(long, name, `arn:aws-cn:sqs:ap-southeast-1:111122223333:${name}`);
    const role = new iam.Role(long, 'Role', { assumedBy: new iam.ServicePrincipal('ec2.amazonaws.com') });
    new BufferedEventConsumer(long, 'C'.repeat(120), {
      eventPattern: { source: ['shop'] },
      queue: queue('q'.repeat(80)),
      deadLetterQueue: queue('d'.repeat(80)),
      target: ConsumerTarget.external(role, { processingTime: Duration.seconds(10) }),
    }).addAlarms(options());
    const lengths = Object.values(Template.fromStack(long).findResources('AWS::CloudWatch::Alarm'))
      .map((alarm) => (alarm.Properties.AlarmDescription as string).length);
    expect(Math.max(...lengths)).toBeLessThanOrEqual(1024);
  });
});

test('what is in work and what was sent can be watched too', () => {
  const consumer = consumerOf();
  const queueName = stack.resolve(consumer.queue.queueName);
  expect(stack.resolve(consumer.metricInFlight().toMetricConfig().metricStat)).toMatchObject({
    namespace: 'AWS/SQS', metricName: 'ApproximateNumberOfMessagesNotVisible', statistic: 'Maximum', dimensions: [{ name: 'QueueName', value: queueName }],
  });
  expect(stack.resolve(consumer.metricSent({ period: Duration.minutes(1) }).toMetricConfig().metricStat)).toMatchObject({
    namespace: 'AWS/SQS', metricName: 'NumberOfMessagesSent', statistic: 'Sum', dimensions: [{ name: 'QueueName', value: queueName }],
  });
  expect(consumer.metricSent({ period: Duration.minutes(1) }).period.toSeconds()).toBe(60);
});

describe('alarms without actions', () => {
  const warnings = () => Annotations.fromStack(stack).findWarning('*', Match.stringLikeRegexp('without actions')).map(({ id, entry }) => [id, entry.data]);

  test('are one warning for the consumer', () => {
    consumerOf().addAlarms();
    const [[path, text], ...others] = warnings();
    expect(others).toEqual([]);
    expect(path).toBe('/Shop/Stock/Alarms');
    expect(text).toMatch(/^OldestMessageAge, DeadLetters, FailedDeliveries: .* \[ack: cdk-order-pipeline:alarmsWithoutActions\]$/);
  });

  test('are those that have none at synthesis', () => {
    const action = new cloudwatch_actions.SnsAction(new sns.Topic(stack, 'Topic'));
    const made = consumerOf().addAlarms({ okActions: [action] });
    made.deadLetters.addAlarmAction(action);
    expect(warnings().map(([, text]) => String(text).split(':')[0])).toEqual(['OldestMessageAge, FailedDeliveries']);
  });

  test('are those whose actions are switched off', () => {
    const { deadLetters } = consumerOf().addAlarms({ actions: [new cloudwatch_actions.SnsAction(new sns.Topic(stack, 'Topic'))] });
    (deadLetters.node.defaultChild as cloudwatch.CfnAlarm).actionsEnabled = false;
    expect(warnings().map(([, text]) => String(text).split(':')[0])).toEqual(['DeadLetters']);
  });

  test('are no warning when all have an action', () => {
    consumerOf().addAlarms({ actions: [new cloudwatch_actions.SnsAction(new sns.Topic(stack, 'Topic'))] });
    expect(warnings()).toEqual([]);
  });
});
