import { Annotations, Aws, Duration, Fn, Lazy, Names, RemovalPolicy, Stack } from 'aws-cdk-lib';
import type * as cloudwatch from 'aws-cdk-lib/aws-cloudwatch';
import type * as ec2 from 'aws-cdk-lib/aws-ec2';
import type * as events from 'aws-cdk-lib/aws-events';
import * as iam from 'aws-cdk-lib/aws-iam';
import type * as kms from 'aws-cdk-lib/aws-kms';
import * as sqs from 'aws-cdk-lib/aws-sqs';
import { propertyInjectable } from 'aws-cdk-lib/core/lib/prop-injectable';
import { Construct, Dependable, IDependable } from 'constructs';
import { ConsumerAlarms, ConsumerAlarmsOptions } from './consumer-alarms';
import type { ConsumerTargetConfig, IConsumerTarget } from './consumer-target';
import type { IEventSubscription, ISubscriptionAlarms, ISubscriptionGrants } from './event-subscription';
import { BufferedEventConsumerGrants } from './private/buffered-event-consumer-grants';
import { adviseVisibilityTimeout, validateConsumer, validateMadeQueue } from './private/consumer-validation';
import { EventDelivery } from './private/event-delivery';
import { UnknownTarget } from './private/unknown-target';
import { QueueType } from './queue-type';
import type { DatabaseAccess } from '../cqrs';
import { acknowledge } from '../private/acknowledge';
import { consumeStatements } from '../private/permissions';
import { watchResources } from './private/resource-limit';
import { invalid, refuseSecondCall } from '../private/validation';

/**
 * Options of a consumer, without the bus whose events it consumes.
 */
export interface BufferedEventConsumerOptions {
  /**
   * The pattern of the events that are consumed: source, type and content. At least one field is required.
   *
   * @see https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-create-pattern-operators.html
   * @default - `eventPatterns`, or none: something else sends to `queue`
   */
  readonly eventPattern?: events.EventPattern;

  /**
   * Several patterns: an event is consumed if it matches any of them. An event that matches two patterns is delivered twice.
   *
   * Each pattern is a rule. Add new patterns at the end: a rule is identified by its place in the list, so removing a pattern from the
   * middle changes the rules after it.
   *
   * @default - `eventPattern`
   */
  readonly eventPatterns?: events.EventPattern[];

  /** The target that consumes the events: see `ConsumerTarget`, or implement `IConsumerTarget`. */
  readonly target: IConsumerTarget;

  /**
   * The queue to use instead of a new one. Without an event pattern no rule is made: the queue is only consumed.
   *
   * EventBridge can't deliver into a queue that is encrypted with the AWS managed key `alias/aws/sqs`, so such a queue is an error.
   * `maxReceiveCount`, `retentionPeriod`, `visibilityTimeout` and `encryptionKey` can't be given together with it, nor `removalPolicy` if
   * its dead-letter queue is not made here either.
   * The policy of an imported queue can't be changed: a warning has the statement that it needs. Import the queue with `keyArn` if it is
   * encrypted with a key.
   *
   * @default - a new queue, which is encrypted and accepts only encrypted connections
   */
  readonly queue?: sqs.IQueue;

  /**
   * The queue for messages that fail `maxReceiveCount` times and, unless it is FIFO, for events that EventBridge can't deliver.
   *
   * @default - the dead-letter queue of `queue`, or a new one which keeps messages for 14 days and which no other queue may use
   */
  readonly deadLetterQueue?: sqs.IQueue;

  /**
   * The standard queue for events that EventBridge can't deliver.
   *
   * @see https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html
   * @default - `deadLetterQueue`; if that is FIFO, which EventBridge doesn't accept, a new queue which keeps messages for 14 days
   */
  readonly ruleDeadLetterQueue?: sqs.IQueue;

  /**
   * The type of the queue: standard, fair or FIFO.
   *
   * @default - the type of `queue`, or standard
   */
  readonly queueType?: QueueType;

  /**
   * The customer managed key that encrypts the new queues. Its policy gets the statement that EventBridge needs. An existing dead-letter
   * queue keeps its own key, which gets the same statement.
   *
   * @see https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html
   * @default - keys of Amazon SQS (SSE-SQS)
   */
  readonly encryptionKey?: kms.IKey;

  /**
   * The number of receives before a message becomes a dead letter: 1 to 1,000.
   *
   * @see https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-dead-letter-queues.html
   * @default 5
   */
  readonly maxReceiveCount?: number;

  /**
   * The retention period of the new queue: 1 minute to 14 days. A dead letter is as old as the message was, so leave
   * enough of the 14 days of the dead-letter queue.
   *
   * @default Duration.days(4)
   */
  readonly retentionPeriod?: Duration;

  /**
   * The time for which a received message is hidden from other receivers. It can't be less than the processing time of the target.
   *
   * @see https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
   * @default - six times the processing time of the target plus its batching window, as AWS advises; at most 12 hours
   */
  readonly visibilityTimeout?: Duration;

  /**
   * The part of an event that is sent to the queue, for all patterns.
   *
   * @see https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-transform-target-input.html
   * @default - the whole event
   */
  readonly ruleInput?: events.RuleTargetInput;

  /**
   * Environment variables for the target, in addition to `QUEUE_URL`, which the consumer sets.
   *
   * @default - none
   */
  readonly environment?: { [name: string]: string };

  /**
   * TCP ports that the target connects to, in addition to those of AWS services and of the database of `databaseAccess`.
   *
   * @default - none
   */
  readonly egressPorts?: number[];

  /**
   * The database that the target uses, and the role for it. The target gets the environment variables, the credentials and the network
   * path of the database, and starts after it.
   *
   * @default - none: no credentials and no network path
   */
  readonly databaseAccess?: DatabaseAccess;

  /**
   * Constructs that have to be deployed before the target starts, such as the migration of its database. If you implement the target
   * yourself, the constructs that it returns as `dependable` wait.
   *
   * @default - only the database of `databaseAccess`
   */
  readonly dependencies?: IDependable[];

  /**
   * The removal policy of the new queues and their messages, for when the consumer is removed from the app or its stack is deleted.
   *
   * @default RemovalPolicy.DESTROY - all messages and dead letters are lost
   */
  readonly removalPolicy?: RemovalPolicy;
}

/**
 * Properties of a `BufferedEventConsumer`.
 */
export interface BufferedEventConsumerProps extends BufferedEventConsumerOptions {
  /**
   * The bus whose events are consumed. Events from a bus of another account come through a bus that is made here. A warning then has the
   * statement that the policy of the other bus needs, and the `env` of the stack must have an account.
   *
   * @default - the default event bus of the account
   */
  readonly eventBus?: events.IEventBusRef;
}

/**
 * Consumes events of a bus through a queue: a rule, a queue, a dead-letter queue for both, and the target that processes the messages.
 *
 * The queue keeps events while the target is slow or down. A message that fails `maxReceiveCount` times, and an event that
 * EventBridge can't deliver, go to the dead-letter queue, from where they can be moved back.
 *
 * EventBridge and SQS deliver at least once and in any order; the target must handle both.
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
@propertyInjectable
export class BufferedEventConsumer extends Construct implements IEventSubscription {
  /** Uniquely identifies this class for property injectors. */
  public static readonly PROPERTY_INJECTION_ID: string = 'cdk-order-pipeline.BufferedEventConsumer';

  /** The queue that the target consumes. */
  public readonly queue: sqs.IQueue;

  /** The queue of undeliverable events and failed messages. */
  public readonly deadLetterQueue: sqs.IQueue;

  /**
   * The queue of events that EventBridge couldn't deliver: `deadLetterQueue`, unless that is FIFO. It is undefined without an event
   * pattern.
   */
  public readonly ruleDeadLetterQueue?: sqs.IQueue;

  /** The rules that send events to the queue, one for each event pattern. */
  public readonly rules: events.Rule[];

  /** The bus of this account that receives the events of another account's bus; undefined if `eventBus` is in this account. */
  public readonly relayBus?: events.EventBus;

  /** The role with which the rules on another account's bus send to `relayBus`; undefined if `eventBus` is in this account. */
  public readonly relayRole?: iam.Role;

  /** The rules on another account's bus, in the order of `rules`; none if `eventBus` is in this account. */
  public readonly relayRules: events.CfnRule[];

  /** The parts of the target: its identity, its workload or event source mapping, its policies. */
  public readonly targetConfig: ConsumerTargetConfig;

  /**
   * The principal of the target: `bucket.grantRead(consumer)`. A grant to a target without a known identity has no effect: a warning
   * has the statement that its role needs.
   */
  public readonly grantPrincipal: iam.IPrincipal;

  /**
   * The environment variables of the target: `QUEUE_URL`, those of the database, and the given ones. Use them to configure an external
   * target.
   */
  public readonly environment: { [name: string]: string };

  /** Permissions for operators. */
  public readonly grants: ISubscriptionGrants;

  /** The statement in the queue's policy that lets the rules send. Add it yourself to an imported queue. It is undefined without rules. */
  public readonly queuePolicyStatement?: iam.PolicyStatement;

  /**
   * The statement in the policy of `ruleDeadLetterQueue` that lets the rules send. Add it yourself to an imported queue. It is undefined
   * without rules.
   */
  public readonly deadLetterQueuePolicyStatement?: iam.PolicyStatement;

  /**
   * The statement in the policy of a customer managed key that lets EventBridge send. Add it yourself to an imported key. It is undefined
   * without rules.
   */
  public readonly keyPolicyStatement?: iam.PolicyStatement;

  /** The statement that lets this account make rules on the bus of another account. Add it yourself to the policy of that bus. */
  public readonly eventBusPolicyStatement?: iam.PolicyStatement;

  /** The statements that let the target consume the queue. Add them yourself to a role that can't be changed here. */
  public readonly consumePolicyStatements: iam.PolicyStatement[];

  /** The redrive policy that the queue needs, as JSON. Set it yourself on an imported queue. */
  public readonly redrivePolicy: string;

  private readonly delivery?: EventDelivery;

  constructor(scope: Construct, id: string, props: BufferedEventConsumerProps) {
    super(scope, id);
    const patterns = props.eventPatterns ?? (props.eventPattern ? [props.eventPattern] : []);
    const processingTime = props.target.processingTime ?? Duration.seconds(30);
    validateConsumer(this, props, patterns, processingTime);

    const existing = props.deadLetterQueue ?? deadLetterQueueOf(props.queue);
    this.deadLetterQueue = existing ?? this.addDeadLetterQueue('DeadLetterQueue', props, props.queue?.fifo ?? props.queueType?._fifo);
    this.queue = props.queue ?? this.addQueue(props, processingTime);
    this.redrivePolicy = Stack.of(this).toJsonString(this.redriveFields(props.maxReceiveCount));
    if (!existing) { this.reserveDeadLetterQueue(props); }

    if (patterns.length > 0) {
      this.ruleDeadLetterQueue = this.ruleDeadLetterQueueOf(props);
      this.delivery = new EventDelivery(this, {
        eventBus: props.eventBus,
        patterns,
        ruleInput: props.ruleInput,
        queue: this.queue,
        queueType: props.queueType ?? (this.queue.fifo ? QueueType.fifo() : QueueType.standard()),
        deadLetterQueue: this.ruleDeadLetterQueue,
        deadLetterQueueName: this.ruleDeadLetterQueue === this.deadLetterQueue ? 'deadLetterQueue' : 'ruleDeadLetterQueue',
      });
    }
    this.rules = this.delivery?.rules ?? [];
    this.relayBus = this.delivery?.relay?.eventBus;
    this.relayRole = this.delivery?.relay?.role;
    this.relayRules = this.delivery?.relayRules ?? [];
    this.queuePolicyStatement = this.delivery?.queueStatement;
    this.deadLetterQueuePolicyStatement = this.delivery?.deadLetterQueueStatement;
    this.keyPolicyStatement = this.delivery?.keyStatement;
    this.eventBusPolicyStatement = this.delivery?.eventBusStatement;

    this.consumePolicyStatements = consumeStatements(this.queue);
    const { databaseAccess } = props;
    this.environment = { QUEUE_URL: this.queue.queueUrl, ...databaseAccess?.environment, ...props.environment };
    this.targetConfig = props.target.bind(this, {
      queue: this.queue,
      deadLetterQueue: this.deadLetterQueue,
      environment: this.environment,
      egressPorts: [...databaseAccess?.egressPorts ?? [], ...props.egressPorts ?? []],
      egressRules: databaseAccess?.egressRules,
    });
    const principal = this.targetConfig.grantee?.grantPrincipal;
    this.grantPrincipal = principal && !(principal instanceof iam.UnknownPrincipal) ? principal : new UnknownTarget(this);
    if (databaseAccess) { this.connectTo(databaseAccess); }
    this.startAfter([...databaseAccess ? [databaseAccess.database] : [], ...props.dependencies ?? []]);
    this.grants = BufferedEventConsumerGrants.fromConsumer(this);
    watchResources(this);
  }

  /** The connections of the target: `database.connections.allowDefaultPortFrom(consumer)`. */
  public get connections(): ec2.Connections {
    const { connections } = this.targetConfig;
    if (!connections) {
      throw invalid(this, 'the connections of the target are unknown: put its function into a VPC, or let your own target return '
        + '`connections`');
    }
    return connections.connections;
  }

  /**
   * The number of messages that wait in the queue. The maximum over five minutes by default.
   *
   * @see https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html
   */
  public metricBacklog(options?: cloudwatch.MetricOptions): cloudwatch.Metric {
    return this.queue.metricApproximateNumberOfMessagesVisible({ statistic: 'Maximum', ...options });
  }

  /**
   * The number of messages in flight: received, and neither deleted nor visible again. The maximum over five minutes by default.
   *
   * Amazon SQS allows about 120,000. Beyond that it delivers no more.
   *
   * @see https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html
   */
  public metricInFlight(options?: cloudwatch.MetricOptions): cloudwatch.Metric {
    return this.queue.metricApproximateNumberOfMessagesNotVisible({ statistic: 'Maximum', ...options });
  }

  /**
   * The number of messages that were sent to the queue. The sum over five minutes by default.
   */
  public metricSent(options?: cloudwatch.MetricOptions): cloudwatch.Metric {
    return this.queue.metricNumberOfMessagesSent({ statistic: 'Sum', ...options });
  }

  /**
   * The age of the oldest message in the queue, in seconds. The maximum over five minutes by default. In a
   * standard queue, messages that were received three times and are still there don't count.
   */
  public metricOldestMessageAge(options?: cloudwatch.MetricOptions): cloudwatch.Metric {
    return this.queue.metricApproximateAgeOfOldestMessage({ statistic: 'Maximum', ...options });
  }

  /**
   * The number of messages in the dead-letter queue. The maximum over five minutes by default. Any value except 0 needs attention.
   */
  public metricDeadLetters(options?: cloudwatch.MetricOptions): cloudwatch.Metric {
    return this.deadLetterQueue.metricApproximateNumberOfMessagesVisible({ statistic: 'Maximum', ...options });
  }

  /**
   * The number of events of all rules that EventBridge could not deliver to the queue. The sum over five minutes by default.
   *
   * @see https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-monitoring.html
   */
  public metricFailedDeliveries(options?: cloudwatch.MetricOptions): cloudwatch.IMetric {
    if (!this.delivery) {
      throw invalid(this, 'metricFailedDeliveries() needs an eventPattern: without one nothing is delivered by EventBridge');
    }
    return this.delivery.metricFailures(options);
  }

  /**
   * Adds the alarms that every consumer should have: messages wait too long, there are dead letters, EventBridge couldn't deliver.
   */
  public addAlarms(options: ConsumerAlarmsOptions = {}): ISubscriptionAlarms {
    refuseSecondCall(this, 'Alarms', 'addAlarms', ', and a consumer that is added after addAlarms() of its pipeline has its alarms already: for other '
      + 'limits, add the consumer and its own alarms before those of the pipeline');
    return new ConsumerAlarms(this, 'Alarms', { consumer: this, ...options });
  }

  private connectTo(databaseAccess: DatabaseAccess): void {
    const { grantee, connections } = this.targetConfig;
    databaseAccess.connect(grantee, connections);
    if (!grantee || !connections) {
      Annotations.of(this).addWarningV2('cdk-order-pipeline:consumerWithoutDatabaseAccess',
        `the ${grantee ? 'connections' : 'identity'} of the target ${grantee ? 'are' : 'is'} unknown, so it has no access to the database: `
        + 'put its function in the VPC, or open database.connections and grant the credentials yourself');
    }
  }

  private startAfter(dependencies: IDependable[]): void {
    const { dependable } = this.targetConfig;
    for (const root of dependable ? Dependable.of(dependable).dependencyRoots : []) { root.node.addDependency(...dependencies); }
  }

  private addDeadLetterQueue(id: string, props: BufferedEventConsumerProps, fifo?: boolean): sqs.Queue {
    return this.madeQueue(props, new sqs.Queue(this, id, {
      ...encryption(props.encryptionKey ?? props.queue?.encryptionMasterKey),
      fifo: fifo ? true : undefined,
      enforceSSL: true,
      retentionPeriod: Duration.days(14),
      removalPolicy: props.removalPolicy,
    }));
  }

  /** The queue is always encrypted, and with a key that EventBridge can use, even if a property injector of the organisation sets it. */
  private madeQueue(props: BufferedEventConsumerProps, queue: sqs.Queue): sqs.Queue {
    const resource = queue.node.defaultChild as sqs.CfnQueue;
    if (resource.kmsMasterKeyId === undefined && resource.sqsManagedSseEnabled === undefined) { resource.sqsManagedSseEnabled = true; }
    if (props.eventPattern ?? props.eventPatterns) { validateMadeQueue(this, queue); }
    return queue;
  }

  private addQueue(props: BufferedEventConsumerProps, processingTime: Duration): sqs.Queue {
    const { queueType = QueueType.standard(), maxReceiveCount = 5 } = props;
    return this.madeQueue(props, new sqs.Queue(this, 'Queue', {
      ...encryption(props.encryptionKey),
      // The id of an event makes it unique.
      ...queueType._fifo && { fifo: true, contentBasedDeduplication: true },
      enforceSSL: true,
      retentionPeriod: props.retentionPeriod ?? Duration.days(4),
      visibilityTimeout: props.visibilityTimeout ?? adviseVisibilityTimeout(this, processingTime, props.target.maxBatchingWindow),
      deadLetterQueue: { queue: this.deadLetterQueue, maxReceiveCount },
      removalPolicy: props.removalPolicy,
    }));
  }

  private redriveFields(maxReceiveCount: number = 5): object {
    return { deadLetterTargetArn: this.deadLetterQueue.queueArn, maxReceiveCount };
  }

  /** Lets only the queue use the new dead-letter queue. */
  private reserveDeadLetterQueue({ queue: existing }: BufferedEventConsumerProps): void {
    const resource = this.deadLetterQueue.node.defaultChild as sqs.CfnQueue;
    const queueArn = existing ? existing.queueArn : this.nameQueue(this.queue.node.defaultChild as sqs.CfnQueue);
    resource.redriveAllowPolicy = { redrivePermission: sqs.RedrivePermission.BY_QUEUE, sourceQueueArns: [queueArn] };
    if (!existing) { return; }
    acknowledgeLastQueue(this.deadLetterQueue);
    if (!(existing instanceof sqs.Queue)) {
      Annotations.of(this).addWarningV2('cdk-order-pipeline:queueRedrivePolicyNotUpdated',
        `queue '${existing.node.path}' is imported, so its redrive policy stays as it is: give its deadLetterQueue, or set this one on it `
        + `(redrivePolicy): ${JSON.stringify(Stack.of(this).resolve(this.redriveFields()))}`);
    }
  }

  /**
   * Gives the queue a name that is known before the queue is made, and returns its ARN. The queue refers to the dead-letter queue, which
   * must name the queue: references in both directions would be a cycle. The id of the stack makes the name unique.
   */
  private nameQueue(queue: sqs.CfnQueue): string {
    const readable = Names.uniqueResourceName(this.queue, { maxLength: 38 });
    const name = `${readable}-${Fn.select(2, Fn.split('/', Aws.STACK_ID))}${this.queue.fifo ? '.fifo' : ''}`;
    queue.queueName = name;
    // The ARN is also right if somebody changes the name later.
    return Stack.of(this).formatArn({ service: 'sqs', resource: Lazy.string({ produce: () => queue.queueName }) });
  }

  /** EventBridge doesn't accept a FIFO queue as a dead-letter queue. */
  private ruleDeadLetterQueueOf(props: BufferedEventConsumerProps): sqs.IQueue {
    if (props.ruleDeadLetterQueue) { return props.ruleDeadLetterQueue; }
    if (!this.deadLetterQueue.fifo) { return this.deadLetterQueue; }
    const queue = this.addDeadLetterQueue('RuleDeadLetterQueue', props);
    (queue.node.defaultChild as sqs.CfnQueue).redriveAllowPolicy = { redrivePermission: sqs.RedrivePermission.DENY_ALL };
    acknowledgeLastQueue(queue);
    return queue;
  }
}

function deadLetterQueueOf(queue?: sqs.IQueue): sqs.IQueue | undefined {
  return queue instanceof sqs.Queue ? queue.deadLetterQueue?.queue : undefined;
}

function encryption(key?: kms.IKey): sqs.QueueProps {
  // Without a key nothing is set, so that a property injector of an organisation can set one.
  return key ? { encryption: sqs.QueueEncryption.KMS, encryptionMasterKey: key } : {};
}

/** cdk-nag asks for a dead-letter queue of every queue that no queue of this stack uses as its own dead-letter queue. */
function acknowledgeLastQueue(queue: sqs.IQueue): void {
  acknowledge(queue, 'AwsSolutions::AwsSolutions-SQS3', 'This is a dead-letter queue: of EventBridge, or of a queue that is defined elsewhere.');
}
