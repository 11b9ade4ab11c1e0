import { Annotations, Duration, Fn, Stack, Token } from 'aws-cdk-lib';
import * as cloudwatch from 'aws-cdk-lib/aws-cloudwatch';
import * as events from 'aws-cdk-lib/aws-events';
import * as iam from 'aws-cdk-lib/aws-iam';
import type * as kms from 'aws-cdk-lib/aws-kms';
import * as sqs from 'aws-cdk-lib/aws-sqs';
import { Construct } from 'constructs';
import { BufferedEventConsumerGrants } from './buffered-event-consumer-grants';
import { ConsumerAlarms, ConsumerAlarmsOptions } from './consumer-alarms';
import type { ConsumerTargetConfig, IConsumerTarget } from './consumer-target';
import { watchResources } from '../private/resource-limit';
import { invalid, refuseWith, requireDuration, requireInteger } from '../private/validation';

/**
 * Options of a consumer that don't say which bus it listens to.
 */
export interface BufferedEventConsumerOptions {
  /** Which events are consumed. At least one field is needed. */
  readonly eventPattern: events.EventPattern;

  /** What consumes them: see `ConsumerTarget`, or implement `IConsumerTarget`. */
  readonly target: IConsumerTarget;

  /**
   * The standard queue to use instead of a new one.
   *
   * EventBridge can't deliver into a queue that is encrypted with the AWS managed key `alias/aws/sqs`, so such a queue is an error.
   * `maxReceiveCount`, `retentionPeriod`, `visibilityTimeout` and `encryptionKey` can't be given together with it.
   * The policy of an imported queue can't be changed: a warning then says which statement it needs.
   *
   * @default - a new queue, encrypted, for encrypted connections only
   */
  readonly queue?: sqs.IQueue;

  /**
   * The standard queue for what can't be delivered by EventBridge or fails `maxReceiveCount` times.
   *
   * @default - the dead-letter queue of `queue`, or a new one which keeps messages for 14 days
   */
  readonly deadLetterQueue?: sqs.IQueue;

  /**
   * The customer managed key that encrypts the new queues. Its policy gets the statement that EventBridge needs.
   *
   * @see https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html
   * @default - keys of Amazon SQS (SSE-SQS)
   */
  readonly encryptionKey?: kms.IKey;

  /**
   * How many times a message is received before it is a dead letter, 1 to 1,000.
   *
   * @see https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-dead-letter-queues.html
   * @default 5
   */
  readonly maxReceiveCount?: number;

  /**
   * How long the new queue keeps a message, 1 minute to 14 days. A dead letter is as old as the message was, so leave
   * enough of the 14 days of the dead-letter queue.
   *
   * @default Duration.days(4)
   */
  readonly retentionPeriod?: Duration;

  /**
   * How long a received message is hidden from other receivers. It can't be less than the processing time of the target.
   *
   * @see https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
   * @default - six times the processing time of the target plus its batching window, which is what AWS advises; at most 12 hours
   */
  readonly visibilityTimeout?: Duration;

  /**
   * What of an event is sent to the queue.
   *
   * @default - the whole event
   */
  readonly ruleInput?: events.RuleTargetInput;

  /**
   * Environment variables for the target, beside `QUEUE_URL`.
   *
   * @default - none
   */
  readonly environment?: { [name: string]: string };

  /**
   * TCP ports that the target has to reach beside AWS services, such as the database's.
   *
   * @default - none
   */
  readonly egressPorts?: number[];
}

/**
 * Properties of a `BufferedEventConsumer`.
 */
export interface BufferedEventConsumerProps extends BufferedEventConsumerOptions {
  /**
   * The bus whose events are consumed.
   *
   * @default - the default event bus of the account
   */
  readonly eventBus?: events.IEventBus;
}

/** The longest visibility timeout of Amazon SQS. */
const MAX_VISIBILITY = Duration.hours(12);

/**
 * Consumes events of a bus through a queue: rule, queue, one dead-letter queue for both, and what processes the messages.
 *
 * The queue keeps events while the target is slow or down. A message that fails `maxReceiveCount` times, and an event that
 * EventBridge can't deliver, go to the dead-letter queue, from where they can be moved back.
 *
 * EventBridge and SQS deliver at least once and in any order; the target has to bear both.
 *
 * @example
 * declare const eventBus: events.IEventBus;
 * declare const fn: lambda.Function;
 * declare const operator: iam.IRole;
 *
 * const consumer = new BufferedEventConsumer(this, 'Stock', {
 *   eventBus,
 *   eventPattern: { source: ['com.example.orders'], detailType: ['OrderCreated'] },
 *   target: ConsumerTarget.lambdaFunction(fn),
 * });
 * consumer.grants.redrive(operator);
 * consumer.metricDeadLetters().createAlarm(this, 'DeadLetters', { threshold: 1, evaluationPeriods: 1 });
 */
export class BufferedEventConsumer extends Construct {
  /** The queue that the target consumes. */
  public readonly queue: sqs.IQueue;

  /** The queue of undeliverable events and failed messages. */
  public readonly deadLetterQueue: sqs.IQueue;

  /** The rule that sends events to the queue. */
  public readonly rule: events.Rule;

  /** What the target made. */
  public readonly targetConfig: ConsumerTargetConfig;

  /** The environment variables of the target: `QUEUE_URL`, and what was given. An external target is configured by them. */
  public readonly environment: { [name: string]: string };

  /** Permissions for operators. */
  public readonly grants: BufferedEventConsumerGrants;

  /** The statement by which the queue's policy lets the rule send. Add it yourself to an imported queue. */
  public readonly queuePolicyStatement: iam.PolicyStatement;

  /** The statement by which the dead-letter queue's policy lets the rule send. Add it yourself to an imported queue. */
  public readonly deadLetterQueuePolicyStatement: iam.PolicyStatement;

  /** The statement by which the policy of a customer managed key lets EventBridge send. Add it yourself to an imported key. */
  public readonly keyPolicyStatement: iam.PolicyStatement;

  private readonly eventBus?: events.IEventBus;

  constructor(scope: Construct, id: string, props: BufferedEventConsumerProps) {
    super(scope, id);
    this.eventBus = props.eventBus;
    const processingTime = props.target.processingTime ?? Duration.seconds(30);
    this.validate(props, processingTime);

    this.deadLetterQueue = props.deadLetterQueue ?? deadLetterQueueOf(props.queue) ?? this.addDeadLetterQueue(props);
    this.queue = props.queue ?? this.addQueue(props, processingTime);
    this.rule = new events.Rule(this, 'Rule', {
      eventBus: props.eventBus,
      eventPattern: props.eventPattern,
      targets: [{
        // Not the target of aws-events-targets: its permissions are wider, and it leaves out the dead-letter queue's key.
        bind: () => ({
          arn: this.queue.queueArn,
          deadLetterConfig: { arn: this.deadLetterQueue.queueArn },
          input: props.ruleInput,
        }),
      }],
    });

    this.queuePolicyStatement = this.allowRule(this.queue);
    this.deadLetterQueuePolicyStatement = this.allowRule(this.deadLetterQueue);
    this.keyPolicyStatement = this.allowEventBridgeToUseKey();
    this.applyPolicies();

    this.environment = { QUEUE_URL: this.queue.queueUrl, ...props.environment };
    this.targetConfig = props.target.bind(this, {
      queue: this.queue,
      deadLetterQueue: this.deadLetterQueue,
      environment: this.environment,
      egressPorts: props.egressPorts,
    });
    this.grants = BufferedEventConsumerGrants.fromConsumer(this);
    watchResources(this);
  }

  /**
   * How many messages wait in the queue; the maximum over five minutes by default.
   *
   * @see https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html
   */
  public metricBacklog(options?: cloudwatch.MetricOptions): cloudwatch.Metric {
    return this.queue.metricApproximateNumberOfMessagesVisible({ statistic: 'Maximum', ...options });
  }

  /**
   * How many messages are in work: received, and neither deleted nor visible again; the maximum over five minutes by default.
   *
   * Amazon SQS allows about 120,000, and then gives out no more.
   *
   * @see https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html
   */
  public metricInFlight(options?: cloudwatch.MetricOptions): cloudwatch.Metric {
    return this.queue.metricApproximateNumberOfMessagesNotVisible({ statistic: 'Maximum', ...options });
  }

  /**
   * How many messages were sent to the queue; the sum over five minutes by default.
   */
  public metricSent(options?: cloudwatch.MetricOptions): cloudwatch.Metric {
    return this.queue.metricNumberOfMessagesSent({ statistic: 'Sum', ...options });
  }

  /**
   * How old the oldest message of the queue is, in seconds; the maximum over five minutes by default. In a
   * standard queue, messages that were received three times and are still there don't count.
   */
  public metricOldestMessageAge(options?: cloudwatch.MetricOptions): cloudwatch.Metric {
    return this.queue.metricApproximateAgeOfOldestMessage({ statistic: 'Maximum', ...options });
  }

  /**
   * How many messages are in the dead-letter queue; the maximum over five minutes by default. Anything but 0 needs somebody.
   */
  public metricDeadLetters(options?: cloudwatch.MetricOptions): cloudwatch.Metric {
    return this.deadLetterQueue.metricApproximateNumberOfMessagesVisible({ statistic: 'Maximum', ...options });
  }

  /**
   * How many events EventBridge finally could not deliver to the queue; the sum over five minutes by default.
   *
   * @see https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-monitoring.html
   */
  public metricFailedDeliveries(options?: cloudwatch.MetricOptions): cloudwatch.Metric {
    const onDefaultBus = !this.eventBus || this.eventBus.eventBusName === 'default';
    return new cloudwatch.Metric({
      namespace: 'AWS/Events',
      metricName: 'FailedInvocations',
      dimensionsMap: onDefaultBus ? { RuleName: this.rule.ruleName } : {
        EventBusName: this.eventBus.eventBusName,
        // CloudFormation's reference to a rule of a custom bus is `bus|rule`.
        RuleName: Fn.select(1, Fn.split('|', this.rule.ruleName)),
      },
      statistic: 'Sum',
      ...options,
    }).attachTo(this);
  }

  /**
   * The alarms that every consumer should have: messages wait too long, there are dead letters, EventBridge couldn't deliver.
   */
  public addAlarms(options: ConsumerAlarmsOptions): ConsumerAlarms {
    return new ConsumerAlarms(this, 'Alarms', { consumer: this, ...options });
  }

  private addDeadLetterQueue(props: BufferedEventConsumerProps): sqs.Queue {
    return new sqs.Queue(this, 'DeadLetterQueue', {
      ...encryption(props.encryptionKey ?? props.queue?.encryptionMasterKey),
      enforceSSL: true,
      retentionPeriod: Duration.days(14),
    });
  }

  private addQueue(props: BufferedEventConsumerProps, processingTime: Duration): sqs.Queue {
    return new sqs.Queue(this, 'Queue', {
      ...encryption(props.encryptionKey),
      enforceSSL: true,
      retentionPeriod: props.retentionPeriod ?? Duration.days(4),
      visibilityTimeout: props.visibilityTimeout ?? this.adviseVisibilityTimeout(processingTime, props.target.maxBatchingWindow),
      deadLetterQueue: { queue: this.deadLetterQueue, maxReceiveCount: props.maxReceiveCount ?? 5 },
    });
  }

  private adviseVisibilityTimeout(processingTime: Duration, maxBatchingWindow: Duration = Duration.seconds(0)): Duration {
    if (processingTime.isUnresolved() || maxBatchingWindow.isUnresolved()) {
      throw invalid(this, 'visibilityTimeout must be given, as the processing time or the batching window of target is a token');
    }
    const advised = Math.ceil((6 * processingTime.toMilliseconds() + maxBatchingWindow.toMilliseconds()) / 1000);
    return Duration.seconds(Math.min(advised, MAX_VISIBILITY.toSeconds()));
  }

  private allowRule(queue: sqs.IQueue): iam.PolicyStatement {
    return new iam.PolicyStatement({
      principals: [new iam.ServicePrincipal('events.amazonaws.com')],
      actions: ['sqs:SendMessage'],
      resources: [queue.queueArn],
      conditions: { ArnEquals: { 'aws:SourceArn': this.rule.ruleArn } },
    });
  }

  private allowEventBridgeToUseKey(): iam.PolicyStatement {
    return new iam.PolicyStatement({
      principals: [new iam.ServicePrincipal('events.amazonaws.com')],
      actions: ['kms:Decrypt', 'kms:GenerateDataKey*'],
      resources: ['*'],
      // Not the rule's ARN: the rule needs the queue, the queue needs the key.
      conditions: { StringEquals: { 'aws:SourceAccount': Stack.of(this).account } },
    });
  }

  /** Adds the statements where that is possible, and says what is missing where it is not. */
  private applyPolicies(): void {
    const add = (prop: string, property: string, statement: iam.PolicyStatement, result: iam.AddToResourcePolicyResult) => {
      if (!result.statementAdded) {
        Annotations.of(this).addWarningV2(`cdk-order-pipeline:${prop}PolicyNotUpdated`,
          `${prop} is imported, so its policy stays as it is and EventBridge can't deliver unless it has this statement (${property}): ` +
          JSON.stringify(Stack.of(this).resolve(statement.toStatementJson())));
      }
    };
    add('queue', 'queuePolicyStatement', this.queuePolicyStatement, this.queue.addToResourcePolicy(this.queuePolicyStatement));
    add('deadLetterQueue', 'deadLetterQueuePolicyStatement', this.deadLetterQueuePolicyStatement,
      this.deadLetterQueue.addToResourcePolicy(this.deadLetterQueuePolicyStatement));
    for (const key of new Set([this.queue.encryptionMasterKey, this.deadLetterQueue.encryptionMasterKey])) {
      if (key) { add('encryptionKey', 'keyPolicyStatement', this.keyPolicyStatement, key.addToResourcePolicy(this.keyPolicyStatement, true)); }
    }
  }

  private validate(props: BufferedEventConsumerProps, processingTime: Duration): void {
    if (Object.values(props.eventPattern).every((field) => field === undefined)) {
      throw invalid(this, 'eventPattern is empty: name at least one field, such as detailType');
    }
    requireInteger(this, 'maxReceiveCount', props.maxReceiveCount, 1, 1000);
    requireDuration(this, 'retentionPeriod', props.retentionPeriod, Duration.minutes(1), Duration.days(14));
    requireDuration(this, 'target.processingTime', processingTime, Duration.millis(1), MAX_VISIBILITY);
    requireDuration(this, 'visibilityTimeout', props.visibilityTimeout, Duration.seconds(0), MAX_VISIBILITY);
    this.validateVisibility('visibilityTimeout', props.visibilityTimeout, processingTime);
    this.validateQueue('deadLetterQueue', props.deadLetterQueue);
    this.validateQueue('queue', props.queue);
    if (props.queue) {
      const { maxReceiveCount, retentionPeriod, visibilityTimeout, encryptionKey } = props;
      refuseWith(this, 'queue', { maxReceiveCount, retentionPeriod, visibilityTimeout, encryptionKey });
      this.validateOwnQueue(props.queue, processingTime, props.deadLetterQueue);
    }
  }

  private validateVisibility(name: string, visibilityTimeout: Duration | undefined, processingTime: Duration): void {
    if (!visibilityTimeout || visibilityTimeout.isUnresolved() || processingTime.isUnresolved()) { return; }
    if (visibilityTimeout.toMilliseconds() < processingTime.toMilliseconds()) {
      throw invalid(this, `${name} (${visibilityTimeout.toHumanString()}) is less than the processing time of target ` +
        `(${processingTime.toHumanString()}), so a message would be processed twice at a time: make it six times as long`);
    }
  }

  private validateQueue(name: string, queue?: sqs.IQueue): void {
    if (!queue) { return; }
    if (queue.encryptionType === sqs.QueueEncryption.KMS_MANAGED) {
      throw invalid(this, `${name} is encrypted with the key alias/aws/sqs, which EventBridge can't use: ` +
        'encrypt it with QueueEncryption.SQS_MANAGED or with a customer managed key');
    }
    if (queue.fifo) {
      throw invalid(this, `${name} is a FIFO queue, which would put all events of the rule into one group: bring a standard queue`);
    }
    const [region, own] = [queue.env.region, Stack.of(this).region];
    if (!Token.isUnresolved(region) && !Token.isUnresolved(own) && region !== own) {
      throw invalid(this, `${name} is in ${region}, but EventBridge delivers to queues of its own region only, which is ${own}`);
    }
  }

  /** What is known of a queue that is brought, but made in this app. */
  private validateOwnQueue(queue: sqs.IQueue, processingTime: Duration, deadLetterQueue?: sqs.IQueue): void {
    if (!(queue instanceof sqs.Queue)) { return; }
    const { visibilityTimeout } = queue.node.defaultChild as sqs.CfnQueue;
    if (!Token.isUnresolved(visibilityTimeout)) {
      this.validateVisibility('the visibilityTimeout of queue', Duration.seconds(visibilityTimeout ?? 30), processingTime);
    }
    const own = queue.deadLetterQueue?.queue;
    if (!own) {
      Annotations.of(this).addWarningV2('cdk-order-pipeline:queueWithoutDeadLetterQueue',
        `queue '${queue.node.path}' has no deadLetterQueue: a message that always fails is received again until it expires`);
    } else if (deadLetterQueue && deadLetterQueue !== own) {
      throw invalid(this, 'deadLetterQueue is not the one of queue: leave it out, or give queue the same one');
    }
  }
}

function deadLetterQueueOf(queue?: sqs.IQueue): sqs.IQueue | undefined {
  return queue instanceof sqs.Queue ? queue.deadLetterQueue?.queue : undefined;
}

function encryption(key?: kms.IKey): sqs.QueueProps {
  return key ? { encryption: sqs.QueueEncryption.KMS, encryptionMasterKey: key } : { encryption: sqs.QueueEncryption.SQS_MANAGED };
}
