import { Annotations, Aws, Duration, Fn, Names, Stack, Validations } from 'aws-cdk-lib';
import * as cloudwatch from 'aws-cdk-lib/aws-cloudwatch';
import * as events from 'aws-cdk-lib/aws-events';
import * as iam from 'aws-cdk-lib/aws-iam';
import type * as kms from 'aws-cdk-lib/aws-kms';
import * as sqs from 'aws-cdk-lib/aws-sqs';
import { Construct } from 'constructs';
import { BufferedEventConsumerGrants } from './buffered-event-consumer-grants';
import { ConsumerAlarms, ConsumerAlarmsOptions } from './consumer-alarms';
import type { ConsumerTargetConfig, IConsumerTarget } from './consumer-target';
import { QueueType } from './queue-type';
import { adviseVisibilityTimeout, differ, validateConsumer } from '../private/consumer-validation';
import { EventBusRelay } from '../private/event-bus-relay';
import { consumeStatements, statementsText } from '../private/permissions';
import { watchResources } from '../private/resource-limit';
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
   * `maxReceiveCount`, `retentionPeriod`, `visibilityTimeout` and `encryptionKey` can't be given together with it.
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
   * The bus whose events are consumed. From a bus of another account they come through a bus that is made here; a warning says which
   * statement the policy of the other bus needs.
   *
   * @default - the default event bus of the account
   */
  readonly eventBus?: events.IEventBus;
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
export class BufferedEventConsumer extends Construct {
  /** The queue that the target consumes. */
  public readonly queue: sqs.IQueue;

  /** The queue of undeliverable events and failed messages. */
  public readonly deadLetterQueue: sqs.IQueue;

  /** The queue of events that EventBridge couldn't deliver: `deadLetterQueue`, unless that is FIFO. Undefined without an event pattern. */
  public readonly ruleDeadLetterQueue?: sqs.IQueue;

  /** The rules that send events to the queue, one for each event pattern. */
  public readonly rules: events.Rule[];

  /** What the target made. */
  public readonly targetConfig: ConsumerTargetConfig;

  /** The environment variables of the target: `QUEUE_URL`, and what was given. An external target is configured by them. */
  public readonly environment: { [name: string]: string };

  /** Permissions for operators. */
  public readonly grants: BufferedEventConsumerGrants;

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

  /** The bus that the rules are on: of this account. */
  private readonly eventBus?: events.IEventBus;

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

    const relay = this.isForeign(props.eventBus) ? new EventBusRelay(this, 'Relay', props.eventBus) : undefined;
    this.eventBus = relay?.eventBus ?? props.eventBus;
    this.ruleDeadLetterQueue = patterns.length > 0 ? this.ruleDeadLetterQueueOf(props) : undefined;
    this.rules = patterns.map((pattern, index) => this.addRule(index === 0 ? 'Rule' : `Rule${index + 1}`, pattern, props));
    const relayed = this.rules.map((rule) => relay?.addRule(rule.node.id, rule, this.ruleDeadLetterQueue!.queueArn).attrArn ?? []).flat();
    if (this.ruleDeadLetterQueue) {
      const ruleArns = this.rules.map((rule) => rule.ruleArn);
      this.queuePolicyStatement = this.allowRules(this.queue, ruleArns);
      this.deadLetterQueuePolicyStatement = this.allowRules(this.ruleDeadLetterQueue, [...ruleArns, ...relayed]);
      this.keyPolicyStatement = this.allowEventBridgeToUseKey(relay && props.eventBus);
      this.eventBusPolicyStatement = relay?.policyStatement;
      this.applyPolicies(props.eventBus);
    }

    this.consumePolicyStatements = consumeStatements(this.queue);
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
   * How many events EventBridge finally could not deliver to the queue, by any of the rules; the sum over five minutes by default.
   *
   * @see https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-monitoring.html
   */
  public metricFailedDeliveries(options?: cloudwatch.MetricOptions): cloudwatch.IMetric {
    const [first, ...others] = this.rules.map((rule) => this.metricFailedInvocations(rule, options));
    if (!first) { throw invalid(this, 'metricFailedDeliveries() needs an eventPattern: without one nothing is delivered by EventBridge'); }
    if (others.length === 0) { return first; }
    return new cloudwatch.MathExpression({
      // EventBridge reports nothing for a rule without failures, and a sum with nothing is nothing.
      expression: 'SUM(FILL(METRICS(), 0))',
      usingMetrics: Object.fromEntries([first, ...others].map((metric, index) => [`rule${index + 1}`, metric])),
      label: options?.label ?? 'FailedInvocations',
      color: options?.color,
      period: options?.period,
    });
  }

  /**
   * The alarms that every consumer should have: messages wait too long, there are dead letters, EventBridge couldn't deliver.
   */
  public addAlarms(options: ConsumerAlarmsOptions): ConsumerAlarms {
    return new ConsumerAlarms(this, 'Alarms', { consumer: this, ...options });
  }

  private metricFailedInvocations(rule: events.Rule, options?: cloudwatch.MetricOptions): cloudwatch.Metric {
    const onDefaultBus = !this.eventBus || this.eventBus.eventBusName === 'default';
    return new cloudwatch.Metric({
      namespace: 'AWS/Events',
      metricName: 'FailedInvocations',
      dimensionsMap: onDefaultBus ? { RuleName: rule.ruleName } : {
        EventBusName: this.eventBus.eventBusName,
        // CloudFormation's reference to a rule of a custom bus is `bus|rule`.
        RuleName: Fn.select(1, Fn.split('|', rule.ruleName)),
      },
      statistic: 'Sum',
      ...options,
    }).attachTo(this);
  }

  private addDeadLetterQueue(id: string, props: BufferedEventConsumerProps, fifo?: boolean): sqs.Queue {
    return new sqs.Queue(this, id, {
      ...encryption(props.encryptionKey ?? props.queue?.encryptionMasterKey),
      fifo: fifo || undefined,
      enforceSSL: true,
      retentionPeriod: Duration.days(14),
    });
  }

  private addQueue(props: BufferedEventConsumerProps, processingTime: Duration): sqs.Queue {
    const { queueType = QueueType.standard(), maxReceiveCount = 5 } = props;
    return new sqs.Queue(this, 'Queue', {
      ...encryption(props.encryptionKey),
      // The id of an event makes it unique.
      ...queueType._fifo && { fifo: true, contentBasedDeduplication: true },
      enforceSSL: true,
      retentionPeriod: props.retentionPeriod ?? Duration.days(4),
      visibilityTimeout: props.visibilityTimeout ?? adviseVisibilityTimeout(this, processingTime, props.target.maxBatchingWindow),
      deadLetterQueue: { queue: this.deadLetterQueue, maxReceiveCount },
    });
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
    return Stack.of(this).formatArn({ service: 'sqs', resource: name });
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

  private addRule(id: string, eventPattern: events.EventPattern, { ruleInput, queueType }: BufferedEventConsumerProps): events.Rule {
    const messageGroupId = (queueType ?? (this.queue.fifo ? QueueType.fifo() : QueueType.standard()))._groupOf(this, id);
    const rule = new events.Rule(this, id, {
      eventBus: this.eventBus,
      eventPattern,
      targets: [{
        // Not the target of aws-events-targets: its permissions are wider, and it leaves out the dead-letter queue's key.
        bind: () => ({
          arn: this.queue.queueArn,
          deadLetterConfig: { arn: this.ruleDeadLetterQueue!.queueArn },
          input: ruleInput,
          sqsParameters: messageGroupId === undefined ? undefined : { messageGroupId },
        }),
      }],
    });
    if (id === 'Rule' && this.queue.fifo && ruleInput) { this.warnOfEqualMessages(rule, ruleInput); }
    return rule;
  }

  private warnOfEqualMessages(rule: events.Rule, ruleInput: events.RuleTargetInput): void {
    const { inputPath, inputPathsMap = {} } = ruleInput.bind(rule);
    if ([inputPath, ...Object.values(inputPathsMap)].some((path) => path === '$' || path === '$.id')) { return; }
    Annotations.of(this).addWarningV2('cdk-order-pipeline:fifoDropsEqualMessages',
      'ruleInput leaves out the id of the event, so a FIFO queue takes two events of equal content within five minutes for one and drops the '
      + 'second: put EventField.eventId into it, or leave ruleInput out');
  }

  private isForeign(eventBus?: events.IEventBus): eventBus is events.IEventBus {
    return eventBus !== undefined && differ(eventBus.env.account, Stack.of(this).account);
  }

  private allowRules(queue: sqs.IQueue, ruleArns: string[]): iam.PolicyStatement {
    // The rule needs the queue, so the stack of a queue elsewhere can't need the rule's.
    const elsewhere = queue instanceof sqs.Queue && Stack.of(queue) !== Stack.of(this);
    return new iam.PolicyStatement({
      principals: [new iam.ServicePrincipal('events.amazonaws.com')],
      actions: ['sqs:SendMessage'],
      resources: [queue.queueArn],
      conditions: elsewhere
        ? { StringEquals: { 'aws:SourceAccount': Stack.of(this).account } }
        : { ArnEquals: { 'aws:SourceArn': ruleArns.length === 1 ? ruleArns[0] : ruleArns } },
    });
  }

  private allowEventBridgeToUseKey(foreign?: events.IEventBus): iam.PolicyStatement {
    const { account } = Stack.of(this);
    return new iam.PolicyStatement({
      principals: [new iam.ServicePrincipal('events.amazonaws.com')],
      actions: ['kms:Decrypt', 'kms:GenerateDataKey*'],
      resources: ['*'],
      // Not the rule's ARN: the rule needs the queue, the queue needs the key.
      conditions: { StringEquals: { 'aws:SourceAccount': foreign ? [account, foreign.env.account] : account } },
    });
  }

  /** Adds the statements where that is possible, and says what is missing where it is not. */
  private applyPolicies(eventBus?: events.IEventBus): void {
    const add = (prop: string, id: string, property: string, statement: iam.PolicyStatement, result: iam.AddToResourcePolicyResult) => {
      if (!result.statementAdded) {
        Annotations.of(this).addWarningV2(`cdk-order-pipeline:${id}PolicyNotUpdated`,
          `${prop} is imported, so its policy stays as it is and EventBridge can't deliver unless it has this statement (${property}): ` +
          statementsText(this, [statement]));
      }
    };
    const dead = this.ruleDeadLetterQueue!;
    const deadName = dead === this.deadLetterQueue ? 'deadLetterQueue' : 'ruleDeadLetterQueue';
    add('queue', 'queue', 'queuePolicyStatement', this.queuePolicyStatement!, this.queue.addToResourcePolicy(this.queuePolicyStatement!));
    add(deadName, 'deadLetterQueue', 'deadLetterQueuePolicyStatement',
      this.deadLetterQueuePolicyStatement!, dead.addToResourcePolicy(this.deadLetterQueuePolicyStatement!));
    for (const { key, queues } of keysOf({ queue: this.queue, [deadName]: dead })) {
      add(`the encryption key of ${queues.join(' and ')}`, 'encryptionKey', 'keyPolicyStatement', this.keyPolicyStatement!,
        key.addToResourcePolicy(this.keyPolicyStatement!, true));
    }
    if (this.eventBusPolicyStatement) {
      add('eventBus', 'eventBus', 'eventBusPolicyStatement', this.eventBusPolicyStatement, addToBus(eventBus!, this.eventBusPolicyStatement, this));
    }
  }
}

function deadLetterQueueOf(queue?: sqs.IQueue): sqs.IQueue | undefined {
  return queue instanceof sqs.Queue ? queue.deadLetterQueue?.queue : undefined;
}

function encryption(key?: kms.IKey): sqs.QueueProps {
  return key ? { encryption: sqs.QueueEncryption.KMS, encryptionMasterKey: key } : { encryption: sqs.QueueEncryption.SQS_MANAGED };
}

/** The keys of queues, each once, and which queues it encrypts. */
function keysOf(queues: { [name: string]: sqs.IQueue }): { key: kms.IKey; queues: string[] }[] {
  const found: { key: kms.IKey; queues: string[] }[] = [];
  for (const [name, { encryptionMasterKey: key }] of Object.entries(queues)) {
    if (!key) { continue; }
    const same = found.find((other) => other.key.keyArn === key.keyArn);
    if (same) { same.queues.push(name); } else { found.push({ key, queues: [name] }); }
  }
  return found;
}

function addToBus(bus: events.IEventBus, statement: iam.PolicyStatement, scope: Construct): iam.AddToResourcePolicyResult {
  if (!(bus instanceof events.EventBus)) { return { statementAdded: false }; }
  statement.sid = Names.uniqueResourceName(scope, { maxLength: 64 });
  return bus.addToResourcePolicy(statement);
}

/** A dead-letter queue that no queue of this stack names looks to cdk-nag as if it needed one itself. */
function acknowledgeLastQueue(queue: sqs.IQueue): void {
  Validations.of(queue).acknowledge({
    id: 'AwsSolutions::AwsSolutions-SQS3',
    reason: 'This is a dead-letter queue: of EventBridge, or of a queue that is defined elsewhere.',
  });
}
