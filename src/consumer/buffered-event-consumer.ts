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
import { invalid } from '../private/validation';

/**
 * Options of a consumer that don't say which bus it listens to.
 */
export interface BufferedEventConsumerOptions {
  /**
   * Which events are consumed, by source, type and content. At least one field is needed.
   *
   * @see https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-create-pattern-operators.html
   * @default - `eventPatterns`, or none: others send to `queue`
   */
  readonly eventPattern?: events.EventPattern;

  /**
   * Which events are consumed, if one pattern can't say it: those that match any of them. An event that matches two comes twice.
   *
   * Each is a rule. Add new ones at the end: the rules keep their place in the list, and taking one out of the middle moves the others.
   *
   * @default - `eventPattern`
   */
  readonly eventPatterns?: events.EventPattern[];

  /** What consumes them: see `ConsumerTarget`, or implement `IConsumerTarget`. */
  readonly target: IConsumerTarget;

  /**
   * The queue to use instead of a new one. Without an event pattern it is only consumed.
   *
   * EventBridge can't deliver into a queue that is encrypted with the AWS managed key `alias/aws/sqs`, so such a queue is an error.
   * `maxReceiveCount`, `retentionPeriod`, `visibilityTimeout` and `encryptionKey` can't be given together with it, nor `removalPolicy` if
   * its dead-letter queue is not made here either.
   * The policy of an imported queue can't be changed: a warning then says which statement it needs. Import it with `keyArn` if it is
   * encrypted with a key.
   *
   * @default - a new queue, encrypted, for encrypted connections only
   */
  readonly queue?: sqs.IQueue;

  /**
   * The queue for what fails `maxReceiveCount` times and, unless it is FIFO, for what can't be delivered by EventBridge.
   *
   * @default - the dead-letter queue of `queue`, or a new one which keeps messages for 14 days and which no other queue may use
   */
  readonly deadLetterQueue?: sqs.IQueue;

  /**
   * The standard queue for what can't be delivered by EventBridge.
   *
   * @see https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html
   * @default - `deadLetterQueue`; if that is FIFO, which EventBridge doesn't take, a new one which keeps messages for 14 days
   */
  readonly ruleDeadLetterQueue?: sqs.IQueue;

  /**
   * Standard, fair or FIFO.
   *
   * @default - the type of `queue`, or standard
   */
  readonly queueType?: QueueType;

  /**
   * The customer managed key that encrypts the new queues. Its policy gets the statement that EventBridge needs. A dead-letter queue that
   * is brought keeps its own key, which gets the same statement.
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
   * What of an event is sent to the queue, for all patterns.
   *
   * @see https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-transform-target-input.html
   * @default - the whole event
   */
  readonly ruleInput?: events.RuleTargetInput;

  /**
   * Environment variables for the target, beside `QUEUE_URL`, which is the consumer's own.
   *
   * @default - none
   */
  readonly environment?: { [name: string]: string };

  /**
   * TCP ports that the target has to reach beside AWS services and the database of `databaseAccess`.
   *
   * @default - none
   */
  readonly egressPorts?: number[];

  /**
   * The database that the target works with, and as which role. The target gets its environment variables, its credentials and the network
   * path to it, and starts after it.
   *
   * @default - none: no credentials and no network path
   */
  readonly databaseAccess?: DatabaseAccess;

  /**
   * Constructs that have to be deployed before the target starts, such as the migration of its database. Of a target that is written
   * elsewhere, the objects wait that it returns as `dependable`.
   *
   * @default - only the database of `databaseAccess`
   */
  readonly dependencies?: IDependable[];

  /**
   * The fate of the new queues, and of the messages in them, when the consumer is removed from the app or its stack is deleted.
   *
   * @default RemovalPolicy.DESTROY - what waits, and every dead letter, is lost
   */
  readonly removalPolicy?: RemovalPolicy;
}

/**
 * Properties of a `BufferedEventConsumer`.
 */
export interface BufferedEventConsumerProps extends BufferedEventConsumerOptions {
  /**
   * The bus whose events are consumed. From a bus of another account they come through a bus that is made here; a warning says which
   * statement the policy of the other bus needs. The `env` of the stack has to say its account then.
   *
   * @default - the default event bus of the account
   */
  readonly eventBus?: events.IEventBusRef;
}

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
@propertyInjectable
export class BufferedEventConsumer extends Construct implements IEventSubscription {
  /** Uniquely identifies this class for property injectors. */
  public static readonly PROPERTY_INJECTION_ID: string = 'cdk-order-pipeline.BufferedEventConsumer';

  /** The queue that the target consumes. */
  public readonly queue: sqs.IQueue;

  /** The queue of undeliverable events and failed messages. */
  public readonly deadLetterQueue: sqs.IQueue;

  /** The queue of events that EventBridge couldn't deliver: `deadLetterQueue`, unless that is FIFO. Undefined without an event pattern. */
  public readonly ruleDeadLetterQueue?: sqs.IQueue;

  /** The rules that send events to the queue, one for each event pattern. */
  public readonly rules: events.Rule[];

  /** The bus of this account that brings the events of another account's bus; undefined if `eventBus` is of this account. */
  public readonly relayBus?: events.EventBus;

  /** The role by which the rules on another account's bus send to `relayBus`; undefined if `eventBus` is of this account. */
  public readonly relayRole?: iam.Role;

  /** The rules on another account's bus, in the order of `rules`; none if `eventBus` is of this account. */
  public readonly relayRules: events.CfnRule[];

  /** What the target made: its identity, its workload or event source mapping, its policies. */
  public readonly targetConfig: ConsumerTargetConfig;

  /**
   * The principal of the target: `bucket.grantRead(consumer)`. A grant to a target that does not say who it is has no effect: a warning
   * says which statement its role needs.
   */
  public readonly grantPrincipal: iam.IPrincipal;

  /**
   * The environment variables of the target: `QUEUE_URL`, those of the database, and those that were given. An external target is
   * configured by them.
   */
  public readonly environment: { [name: string]: string };

  /** Permissions for operators. */
  public readonly grants: ISubscriptionGrants;

  /** The statement by which the queue's policy lets the rules send. Add it yourself to an imported queue. Undefined without rules. */
  public readonly queuePolicyStatement?: iam.PolicyStatement;

  /**
   * The statement by which the policy of `ruleDeadLetterQueue` lets the rules send. Add it yourself to an imported queue. Undefined
   * without rules.
   */
  public readonly deadLetterQueuePolicyStatement?: iam.PolicyStatement;

  /**
   * The statement by which the policy of a customer managed key lets EventBridge send. Add it yourself to an imported key. Undefined
   * without rules.
   */
  public readonly keyPolicyStatement?: iam.PolicyStatement;

  /** The statement by which the bus of another account lets this one make its rules. Add it yourself to an imported bus. */
  public readonly eventBusPolicyStatement?: iam.PolicyStatement;

  /** The statements that let the target consume the queue. Add them yourself to a role that can't be changed here. */
  public readonly consumePolicyStatements: iam.PolicyStatement[];

  /** The redrive policy that the queue has to have, as JSON. Set it yourself on an imported queue. */
  public readonly redrivePolicy: string;

  private readonly delivery?: EventDelivery;

  constructor(scope: Construct, id: string, props: BufferedEventConsumerProps) {
    super(scope, id);
    const patterns = props.eventPatterns ?? (props.eventPattern ? [props.eventPattern] : []);
    const processingTime = props.target.processingTime ?? Duration.seconds(30);
    validateConsumer(this, props, patterns, processingTime);

    const brought = props.deadLetterQueue ?? deadLetterQueueOf(props.queue);
    this.deadLetterQueue = brought ?? this.addDeadLetterQueue('DeadLetterQueue', props, props.queue?.fifo ?? props.queueType?._fifo);
    this.queue = props.queue ?? this.addQueue(props, processingTime);
    this.redrivePolicy = Stack.of(this).toJsonString(this.redriveFields(props.maxReceiveCount));
    if (!brought) { this.reserveDeadLetterQueue(props); }

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
    });
    const principal = this.targetConfig.grantee?.grantPrincipal;
    this.grantPrincipal = principal && !(principal instanceof iam.UnknownPrincipal) ? principal : new UnknownTarget(this);
    if (databaseAccess) { this.connectTo(databaseAccess); }
    this.startAfter([...databaseAccess ? [databaseAccess.database] : [], ...props.dependencies ?? []]);
    this.grants = BufferedEventConsumerGrants.fromConsumer(this);
    watchResources(this);
  }

  /** Where the connections of the target come from: `database.connections.allowDefaultPortFrom(consumer)`. */
  public get connections(): ec2.Connections {
    const { connections } = this.targetConfig;
    if (!connections) {
      throw invalid(this, 'connections: the target does not say where it connects from. Put its function into a VPC, or let your own target return '
        + '`connections`');
    }
    return connections.connections;
  }

  /**
   * How many messages wait in the queue. The maximum over five minutes by default.
   *
   * @see https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html
   */
  public metricBacklog(options?: cloudwatch.MetricOptions): cloudwatch.Metric {
    return this.queue.metricApproximateNumberOfMessagesVisible({ statistic: 'Maximum', ...options });
  }

  /**
   * How many messages are in work: received, and neither deleted nor visible again. The maximum over five minutes by default.
   *
   * Amazon SQS allows about 120,000, and then gives out no more.
   *
   * @see https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html
   */
  public metricInFlight(options?: cloudwatch.MetricOptions): cloudwatch.Metric {
    return this.queue.metricApproximateNumberOfMessagesNotVisible({ statistic: 'Maximum', ...options });
  }

  /**
   * How many messages were sent to the queue. The sum over five minutes by default.
   */
  public metricSent(options?: cloudwatch.MetricOptions): cloudwatch.Metric {
    return this.queue.metricNumberOfMessagesSent({ statistic: 'Sum', ...options });
  }

  /**
   * How old the oldest message of the queue is, in seconds. The maximum over five minutes by default. In a
   * standard queue, messages that were received three times and are still there don't count.
   */
  public metricOldestMessageAge(options?: cloudwatch.MetricOptions): cloudwatch.Metric {
    return this.queue.metricApproximateAgeOfOldestMessage({ statistic: 'Maximum', ...options });
  }

  /**
   * How many messages are in the dead-letter queue. The maximum over five minutes by default. Anything but 0 needs somebody.
   */
  public metricDeadLetters(options?: cloudwatch.MetricOptions): cloudwatch.Metric {
    return this.deadLetterQueue.metricApproximateNumberOfMessagesVisible({ statistic: 'Maximum', ...options });
  }

  /**
   * How many events EventBridge finally could not deliver to the queue, by any of the rules. The sum over five minutes by default.
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
   * The alarms that every consumer should have: messages wait too long, there are dead letters, EventBridge couldn't deliver.
   */
  public addAlarms(options: ConsumerAlarmsOptions): ISubscriptionAlarms {
    return new ConsumerAlarms(this, 'Alarms', { consumer: this, ...options });
  }

  private connectTo(databaseAccess: DatabaseAccess): void {
    const { grantee, connections } = this.targetConfig;
    databaseAccess.connect(grantee, connections);
    if (!grantee || !connections) {
      Annotations.of(this).addWarningV2('cdk-order-pipeline:consumerWithoutDatabaseAccess',
        `the target does not say ${grantee ? 'from where it connects' : 'who it is'}, so it has no way to the database: `
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

  /** Encrypted in any case, and with a key that EventBridge can use, also if a property injector of the organisation says which. */
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
  private reserveDeadLetterQueue({ queue: brought }: BufferedEventConsumerProps): void {
    const resource = this.deadLetterQueue.node.defaultChild as sqs.CfnQueue;
    const queueArn = brought ? brought.queueArn : this.nameQueue(this.queue.node.defaultChild as sqs.CfnQueue);
    resource.redriveAllowPolicy = { redrivePermission: sqs.RedrivePermission.BY_QUEUE, sourceQueueArns: [queueArn] };
    if (!brought) { return; }
    acknowledgeLastQueue(this.deadLetterQueue);
    if (!(brought instanceof sqs.Queue)) {
      Annotations.of(this).addWarningV2('cdk-order-pipeline:queueRedrivePolicyNotUpdated',
        `queue '${brought.node.path}' is imported, so its redrive policy stays as it is: bring its deadLetterQueue, or give it this one `
        + `(redrivePolicy): ${JSON.stringify(Stack.of(this).resolve(this.redriveFields()))}`);
    }
  }

  /**
   * Gives the queue a name that is known before it is made, and returns its ARN. The queue refers to the dead-letter queue, which has to
   * name the queue: references both ways would be a cycle. The stack's id makes the name unique, as CloudFormation's own names are.
   */
  private nameQueue(queue: sqs.CfnQueue): string {
    const readable = Names.uniqueResourceName(this.queue, { maxLength: 38 });
    const name = `${readable}-${Fn.select(2, Fn.split('/', Aws.STACK_ID))}${this.queue.fifo ? '.fifo' : ''}`;
    queue.queueName = name;
    // Also if somebody names it otherwise.
    return Stack.of(this).formatArn({ service: 'sqs', resource: Lazy.string({ produce: () => queue.queueName }) });
  }

  /** EventBridge doesn't take a FIFO queue for what it can't deliver. */
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
  // Without a key nothing is said, so that an organisation's property injector can bring one.
  return key ? { encryption: sqs.QueueEncryption.KMS, encryptionMasterKey: key } : {};
}

/** A dead-letter queue that no queue of this stack names looks to cdk-nag as if it needed one itself. */
function acknowledgeLastQueue(queue: sqs.IQueue): void {
  acknowledge(queue, 'AwsSolutions::AwsSolutions-SQS3', 'This is a dead-letter queue: of EventBridge, or of a queue that is defined elsewhere.');
}
