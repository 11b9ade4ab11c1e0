import { Duration, Token } from 'aws-cdk-lib';
import * as cloudwatch from 'aws-cdk-lib/aws-cloudwatch';
import * as sqs from 'aws-cdk-lib/aws-sqs';
import { propertyInjectable } from 'aws-cdk-lib/core/lib/prop-injectable';
import { Construct } from 'constructs';
import type { BufferedEventConsumer } from './buffered-event-consumer';
import type { ISubscriptionAlarms } from './event-subscription';
import { alarmsWith, type MakeAlarm } from '../private/alarm-actions';
import { invalid, requireDuration } from '../private/validation';

/**
 * Options of the alarms of a consumer.
 */
export interface ConsumerAlarmsOptions {
  /**
   * The actions when an alarm goes off, such as an `SnsAction`.
   *
   * @default - none: the alarms are only visible in CloudWatch, which is the warning `alarmsWithoutActions`
   */
  readonly actions?: cloudwatch.IAlarmAction[];

  /**
   * The actions when an alarm is over. Tools that open an incident use them to close it.
   *
   * @default - nothing
   */
  readonly okActions?: cloudwatch.IAlarmAction[];

  /**
   * The greatest allowed age of the oldest message. If `QueueScaling` aims at a latency, set more than that, such as twice as much:
   * under load, messages wait about as long as the scaling aims at, and longer until a new replica runs.
   *
   * @default Duration.minutes(5)
   */
  readonly acceptableLatency?: Duration;
}

/**
 * Properties of the alarms of a consumer.
 */
export interface ConsumerAlarmsProps extends ConsumerAlarmsOptions {
  /** The consumer that is watched. */
  readonly consumer: BufferedEventConsumer;
}

/** The number of minutes in a row after which the alarm goes off: one late message is not enough. */
const LATE_MINUTES = 3;

/**
 * The alarms that every consumer should have, each with a description of what to do: messages wait too long, there are dead letters,
 * EventBridge couldn't deliver.
 *
 * Missing data is treated as good: Amazon SQS reports none for a queue that was empty and unused for six hours, and EventBridge
 * reports no failures if there are none.
 *
 * @see https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html
 *
 * @example
 * declare const consumer: BufferedEventConsumer;
 * declare const topic: sns.Topic;
 *
 * consumer.addAlarms({ actions: [new cloudwatch_actions.SnsAction(topic)], acceptableLatency: Duration.minutes(2) });
 */
@propertyInjectable
export class ConsumerAlarms extends Construct implements ISubscriptionAlarms {
  /** Uniquely identifies this class for property injectors. */
  public static readonly PROPERTY_INJECTION_ID: string = 'cdk-order-pipeline.ConsumerAlarms';

  /** The oldest message is older than `acceptableLatency` for three minutes. */
  public readonly oldestMessageAge: cloudwatch.Alarm;

  /** The dead-letter queue isn't empty. */
  public readonly deadLetters: cloudwatch.Alarm;

  /** EventBridge gave up delivering an event to the queue. It is undefined if the consumer has no rule. */
  public readonly failedDeliveries?: cloudwatch.Alarm;

  private readonly makeAlarm: MakeAlarm;

  constructor(scope: Construct, id: string, props: ConsumerAlarmsProps) {
    super(scope, id);
    const { consumer, acceptableLatency = Duration.minutes(5) } = props;
    this.makeAlarm = alarmsWith(this, props);
    this.validate(consumer, acceptableLatency);

    const name = consumer.node.path;
    const period = Duration.minutes(1);
    // The first sentence has no ARNs, since it is the part that a pager shows.
    const redrive = `aws sqs start-message-move-task --source-arn ${consumer.deadLetterQueue.queueArn} `
      + `--destination-arn ${consumer.queue.queueArn}`;

    this.oldestMessageAge = this.makeAlarm('OldestMessageAge', {
      metric: consumer.metricOldestMessageAge({ period }),
      threshold: acceptableLatency.toSeconds({ integral: false }),
      comparisonOperator: cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
      evaluationPeriods: LATE_MINUTES,
      alarmDescription: `Messages of ${name} wait longer than ${latencyText(acceptableLatency)}. `
        + 'Check whether the target runs, whether it fails (its log, dead letters), and whether it is at its limit of replicas or concurrency. '
        + 'Raise the limit only if the database behind it can handle that. Messages are lost when the retention period of the queue ends.',
    });
    this.deadLetters = this.makeAlarm('DeadLetters', {
      metric: consumer.metricDeadLetters({ period }),
      threshold: 1,
      evaluationPeriods: 1,
      alarmDescription: `${name} has dead letters: messages that failed too often, or events that EventBridge could not deliver. `
        + 'Receive some without deleting them, and find the cause in the log of the target. After the repair, move them back: '
        + `${redrive} - they are lost when the retention period of the dead-letter queue ends, which began when they were first sent `
        + '(in a FIFO queue, when they became dead letters).',
    });
    if (consumer.rules.length > 0) { this.failedDeliveries = this.addFailedDeliveries(consumer, period, redrive); }
  }

  private addFailedDeliveries(consumer: BufferedEventConsumer, period: Duration, redrive: string): cloudwatch.Alarm {
    const undelivered = consumer.ruleDeadLetterQueue === consumer.deadLetterQueue
      ? `Then move the dead letters back: ${redrive}`
      // Amazon SQS moves messages between queues of one type only.
      : `Then publish the events again that are in ${consumer.ruleDeadLetterQueue?.queueArn}`;
    return this.makeAlarm('FailedDeliveries', {
      metric: consumer.metricFailedDeliveries({ period }),
      threshold: 1,
      evaluationPeriods: 1,
      alarmDescription: `EventBridge gave up delivering events to ${consumer.node.path}. `
        + 'Check that the queue still exists and that its policy and its key let the rule send, and repair them. '
        + `${undelivered} - if it is empty, the policy or key of that queue refuses, too, and the events have to be replayed from `
        + 'an archive of the bus.',
    });
  }

  private validate(consumer: BufferedEventConsumer, acceptableLatency: Duration): void {
    requireDuration(this, 'acceptableLatency', acceptableLatency, Duration.seconds(1), Duration.days(14));
    const retention = consumer.queue instanceof sqs.Queue
      ? (consumer.queue.node.defaultChild as sqs.CfnQueue).messageRetentionPeriod ?? Duration.days(4).toSeconds()
      : undefined;
    if (retention === undefined || Token.isUnresolved(retention) || acceptableLatency.isUnresolved()) { return; }
    if (acceptableLatency.toMilliseconds() >= retention * 1000) {
      throw invalid(this, `acceptableLatency (${acceptableLatency.toHumanString()}) is not less than the retentionPeriod of the queue `
        + `(${Duration.seconds(retention).toHumanString()}), so messages would be lost before the alarm goes off: lower acceptableLatency`);
    }
  }
}

function latencyText(latency: Duration): string {
  return latency.isUnresolved() ? 'the acceptable latency' : latency.toHumanString();
}
