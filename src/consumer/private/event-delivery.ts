import { Annotations, Fn, Names, Stack, Stage, Token } from 'aws-cdk-lib';
import * as cloudwatch from 'aws-cdk-lib/aws-cloudwatch';
import * as events from 'aws-cdk-lib/aws-events';
import * as iam from 'aws-cdk-lib/aws-iam';
import type * as kms from 'aws-cdk-lib/aws-kms';
import * as sqs from 'aws-cdk-lib/aws-sqs';
import type { Construct, IDependable } from 'constructs';
import { EventBusRelay } from './event-bus-relay';
import { statementsText } from '../../private/permissions';
import { differ } from '../../private/validation';
import type { QueueType } from '../queue-type';

/**
 * The events that are delivered, and their destination.
 */
export interface EventDeliveryOptions {
  readonly eventBus?: events.IEventBusRef;
  readonly patterns: events.EventPattern[];
  readonly ruleInput?: events.RuleTargetInput;
  readonly queue: sqs.IQueue;
  readonly queueType: QueueType;
  /** The standard queue for events that can't be delivered. */
  readonly deadLetterQueue: sqs.IQueue;
  /** The name of the prop in the consumer. */
  readonly deadLetterQueueName: string;
}

/** The rules of a consumer, and the permissions that let them send. */
export class EventDelivery {
  public readonly rules: events.Rule[];
  public readonly queueStatement: iam.PolicyStatement;
  public readonly deadLetterQueueStatement: iam.PolicyStatement;
  public readonly keyStatement: iam.PolicyStatement;
  public readonly eventBusStatement?: iam.PolicyStatement;

  /** The relay for the events of another account's bus. */
  public readonly relay?: EventBusRelay;

  /** The rules on another account's bus. */
  public readonly relayRules: events.CfnRule[];

  /** The bus that the rules are on. It is in this account. */
  private readonly eventBus?: events.IEventBusRef;
  /** The construct whose rules send. */
  private readonly accounts: string[];

  constructor(private readonly scope: Construct, private readonly options: EventDeliveryOptions) {
    const { eventBus, queue, deadLetterQueue } = options;
    const { account } = Stack.of(scope);
    const foreign = eventBus && differ(eventBus.env.account, account) ? eventBus : undefined;
    const relay = foreign && new EventBusRelay(scope, 'Relay', foreign);
    this.accounts = foreign ? [account, foreign.env.account] : [account];
    this.relay = relay;
    this.eventBus = relay?.eventBus ?? eventBus;

    this.rules = options.patterns.map((pattern, index) => this.addRule(index === 0 ? 'Rule' : `Rule${index + 1}`, pattern));
    this.relayRules = relay ? this.rules.map((rule) => relay.addRule(rule.node.id, rule, deadLetterQueue.queueArn)) : [];
    const ruleArns = this.rules.map((rule) => rule.ruleArn);
    const relayArns = this.relayRules.map((rule) => rule.attrArn);
    this.queueStatement = this.allowRules(queue, ruleArns, [account]);
    this.deadLetterQueueStatement = this.allowRules(deadLetterQueue, [...ruleArns, ...relayArns], this.accounts);
    this.keyStatement = this.allowEventBridgeToUseKey();
    this.eventBusStatement = relay?.policyStatement;
    // Events that arrive before the delivery to the queue is possible would be lost.
    const policies = this.applyPolicies();
    this.relayRules.forEach((rule) => rule.node.addDependency(...policies));
    this.warnOfEqualMessages();
    this.warnOfUnknownAccount();
  }

  public metricFailures(options?: cloudwatch.MetricOptions): cloudwatch.IMetric {
    const metrics = this.rules.map((rule) => this.metricFailuresOf(rule, options));
    return metrics.length === 1 ? metrics[0]! : new cloudwatch.MathExpression({
      // EventBridge reports no data for a rule without failures, and a sum with missing data is missing.
      expression: 'SUM(FILL(METRICS(), 0))',
      usingMetrics: Object.fromEntries(metrics.map((metric, index) => [`rule${index + 1}`, metric])),
      label: options?.label ?? 'FailedInvocations',
      color: options?.color,
      period: options?.period,
    });
  }

  private metricFailuresOf(rule: events.Rule, options?: cloudwatch.MetricOptions): cloudwatch.Metric {
    const onDefaultBus = !this.eventBus || this.eventBus.eventBusRef.eventBusName === 'default';
    return new cloudwatch.Metric({
      namespace: 'AWS/Events',
      metricName: 'FailedInvocations',
      dimensionsMap: onDefaultBus ? { RuleName: rule.ruleName } : {
        EventBusName: this.eventBus.eventBusRef.eventBusName,
        // CloudFormation's reference to a rule of a custom bus is `bus|rule`.
        RuleName: Fn.select(1, Fn.split('|', rule.ruleName)),
      },
      statistic: 'Sum',
      ...options,
    }).attachTo(this.scope);
  }

  private addRule(id: string, eventPattern: events.EventPattern): events.Rule {
    const { queue, queueType, deadLetterQueue, ruleInput } = this.options;
    const messageGroupId = queueType._groupOf(this.scope, id);
    return new events.Rule(this.scope, id, {
      eventBus: this.eventBus,
      eventPattern,
      targets: [{
        // The target of aws-events-targets is not used: its permissions are wider, and it omits the key of the dead-letter queue.
        bind: () => ({
          arn: queue.queueArn,
          deadLetterConfig: { arn: deadLetterQueue.queueArn },
          input: ruleInput,
          sqsParameters: messageGroupId === undefined ? undefined : { messageGroupId },
        }),
      }],
    });
  }

  private allowRules(queue: sqs.IQueue, ruleArns: string[], accounts: string[]): iam.PolicyStatement {
    // The rule needs the queue, so the stack of a queue in another stack can't need the stack of the rule.
    const elsewhere = queue instanceof sqs.Queue && Stack.of(queue) !== Stack.of(this.scope);
    return new iam.PolicyStatement({
      principals: [new iam.ServicePrincipal('events.amazonaws.com')],
      actions: ['sqs:SendMessage'],
      resources: [queue.queueArn],
      conditions: elsewhere
        ? { StringEquals: { 'aws:SourceAccount': oneOrAll(accounts) } }
        : { ArnEquals: { 'aws:SourceArn': oneOrAll(ruleArns) } },
    });
  }

  private allowEventBridgeToUseKey(): iam.PolicyStatement {
    return new iam.PolicyStatement({
      principals: [new iam.ServicePrincipal('events.amazonaws.com')],
      actions: ['kms:Decrypt', 'kms:GenerateDataKey*'],
      resources: ['*'],
      // The ARN of the rule would be a cycle: the rule needs the queue, and the queue needs the key.
      conditions: { StringEquals: { 'aws:SourceAccount': oneOrAll(this.accounts) } },
    });
  }

  /**
   * Adds the statements where that is possible, and warns with the statement where it is not. Returns the policies that a rule of another
   * bus needs before it, without that of the dead-letter queue, which needs the rule.
   */
  private applyPolicies(): IDependable[] {
    const { eventBus, queue, deadLetterQueue, deadLetterQueueName } = this.options;
    const needed = [this.apply('queue', 'queue', 'queuePolicyStatement', this.queueStatement, queue.addToResourcePolicy(this.queueStatement))];
    this.apply(deadLetterQueueName, 'deadLetterQueue', 'deadLetterQueuePolicyStatement', this.deadLetterQueueStatement,
      deadLetterQueue.addToResourcePolicy(this.deadLetterQueueStatement));
    for (const { key, queues } of keysOf({ queue, [deadLetterQueueName]: deadLetterQueue })) {
      this.apply(`the encryption key of ${queues.join(' and ')}`, 'encryptionKey', 'keyPolicyStatement', this.keyStatement,
        key.addToResourcePolicy(this.keyStatement, true));
    }
    if (eventBus && this.eventBusStatement) {
      const policy = this.apply(
        'eventBus', 'eventBus', 'eventBusPolicyStatement', this.eventBusStatement, this.addToBus(eventBus, this.eventBusStatement));
      // Stages are deployed separately.
      if (Stage.of(eventBus) === Stage.of(this.scope)) { needed.push(policy); }
    }
    return needed.filter((policy) => policy !== undefined);
  }

  private apply(
    what: string, id: string, property: string, statement: iam.PolicyStatement, added: iam.AddToResourcePolicyResult,
  ): IDependable | undefined {
    if (added.statementAdded) { return added.policyDependable; }
    Annotations.of(this.scope).addWarningV2(`cdk-order-pipeline:${id}PolicyNotUpdated`,
      `${what} is imported, so its policy stays as it is and ${id === 'eventBus' ? 'no rule can be made on it' : 'EventBridge can\'t deliver'} `
      + `unless it has this statement (${property}): `
      + statementsText(this.scope, [statement]));
    return undefined;
  }

  private addToBus(eventBus: events.IEventBusRef, statement: iam.PolicyStatement): iam.AddToResourcePolicyResult {
    if (!(eventBus instanceof events.EventBus)) { return { statementAdded: false }; }
    statement.sid = Names.uniqueResourceName(this.scope, { maxLength: 64 });
    return eventBus.addToResourcePolicy(statement);
  }

  private warnOfUnknownAccount(): void {
    const { eventBus } = this.options;
    if (!eventBus || Token.isUnresolved(eventBus.env.account) || !Token.isUnresolved(Stack.of(this.scope).account)) { return; }
    Annotations.of(this.scope).addWarningV2('cdk-order-pipeline:eventBusAccountNotCompared',
      `eventBus is of account ${eventBus.env.account}, but the account of the stack is unknown, so the rule is made on a bus of that `
      + 'name in the account of the stack: give the stack an env with an account, or import the bus by its name if it is of the same account');
  }

  private warnOfEqualMessages(): void {
    const { queue, ruleInput } = this.options;
    if (!queue.fifo || !ruleInput) { return; }
    const { inputPath, inputPathsMap = {} } = ruleInput.bind(this.rules[0]!);
    if ([inputPath, ...Object.values(inputPathsMap)].some((path) => path === '$' || path === '$.id')) { return; }
    Annotations.of(this.scope).addWarningV2('cdk-order-pipeline:fifoDropsEqualMessages',
      'ruleInput leaves out the id of the event, so a FIFO queue treats two events of equal content within five minutes as one and drops the '
      + 'second: add EventField.eventId to it, or leave ruleInput out');
  }
}

function oneOrAll(values: string[]): string | string[] {
  return values.length === 1 ? values[0]! : values;
}

/** Returns the keys of the queues, each once, with the queues that it encrypts. */
function keysOf(queues: { [name: string]: sqs.IQueue }): { key: kms.IKey; queues: string[] }[] {
  const found: { key: kms.IKey; queues: string[] }[] = [];
  for (const [name, { encryptionMasterKey: key }] of Object.entries(queues)) {
    if (!key) { continue; }
    const same = found.find((other) => other.key.keyArn === key.keyArn);
    if (same) { same.queues.push(name); } else { found.push({ key, queues: [name] }); }
  }
  return found;
}
