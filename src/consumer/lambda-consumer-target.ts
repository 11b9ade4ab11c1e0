import { Annotations, Duration, Names, Stack, Token } from 'aws-cdk-lib';
import type * as iam from 'aws-cdk-lib/aws-iam';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import type * as sqs from 'aws-cdk-lib/aws-sqs';
import type { Construct } from 'constructs';
import type { ConsumerTargetBindOptions, ConsumerTargetConfig, IConsumerTarget } from './consumer-target';
import { attachConsumePolicy, consumeStatements, statementsText } from '../private/permissions';
import { refersTo } from '../private/references';
import { differ, invalid, refuseBoth, requireDuration, requireInteger, requireSeconds } from '../private/validation';

/**
 * Options of a consumer on Lambda.
 */
export interface LambdaConsumerOptions {
  /**
   * The most messages that one invocation gets: 1 to 10, or to 10,000 with `maxBatchingWindow`. From a FIFO queue it is 10 at most.
   *
   * @see https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html
   * @default 10
   */
  readonly batchSize?: number;

  /**
   * The time for which Lambda collects messages for a batch: up to 5 minutes. It doesn't collect messages of a FIFO queue.
   *
   * @default - Lambda does not wait: a batch has the messages that are there
   */
  readonly maxBatchingWindow?: Duration;

  /**
   * Filters for the messages of the function, up to 10: at least one has to match. Lambda deletes the other messages from the queue.
   *
   * Each is a pattern, such as `{ body: { detail: { total: [{ numeric: ['>', 100] }] } } }`, or the result of
   * `lambda.FilterCriteria.filter()`.
   *
   * Prefer an event pattern where it can express the condition: events that a rule doesn't match cost nothing.
   *
   * @see https://docs.aws.amazon.com/lambda/latest/dg/with-sqs-filtering.html
   * @default - all
   */
  readonly filters?: { [key: string]: any }[];

  /**
   * The greatest number of concurrent invocations for the queue: 2 to 1,000. It protects a database from a backlog.
   * It can't be given together with `minPollers` and `maxPollers`.
   *
   * @see https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html
   * @default - only the account's and the function's own limits
   */
  readonly maxConcurrency?: number;

  /**
   * The number of event pollers that are always ready (provisioned mode): 2 to 200. Each reads 1 MB per second and makes up to 10
   * concurrent invocations. They also cost something while no messages come.
   *
   * @see https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html
   * @default - 2 if `maxPollers` is given, otherwise none: Lambda decides
   */
  readonly minPollers?: number;

  /**
   * The greatest number of event pollers (provisioned mode): 2 to 2,000. Each makes up to 10 concurrent invocations.
   *
   * @default - 200 if `minPollers` is given, otherwise none: Lambda decides
   */
  readonly maxPollers?: number;

  /**
   * The longest time that the processing of one batch may take, not less than the timeout of the function. An imported function needs
   * it, as its timeout is unknown.
   *
   * @default - the timeout of the function
   */
  readonly processingTime?: Duration;
}

/** The timeout of a function without an explicit one. */
const DEFAULT_TIMEOUT = Duration.seconds(3);

/**
 * @internal
 */
export class LambdaConsumerTarget implements IConsumerTarget {
  public readonly processingTime?: Duration;
  public readonly maxBatchingWindow?: Duration;

  /** The function that is made in this app, behind an alias or a version too; undefined if it is imported. */
  private readonly definition?: lambda.Function;

  /** The function behind an alias or a version, which have no connections of their own. */
  private readonly underlying: lambda.IFunction;

  /** The timeout of the function, if it is known. */
  private readonly timeout?: Duration;

  constructor(private readonly fn: lambda.IFunction, private readonly options: LambdaConsumerOptions) {
    this.underlying = fn instanceof lambda.Alias || fn instanceof lambda.Version ? fn.lambda : fn;
    this.definition = this.underlying instanceof lambda.Function ? this.underlying : undefined;
    this.maxBatchingWindow = options.maxBatchingWindow;

    this.timeout = this.definition && (this.definition.timeout ?? DEFAULT_TIMEOUT);
    this.processingTime = options.processingTime ?? this.timeout;
  }

  public bind(scope: Construct, options: ConsumerTargetBindOptions): ConsumerTargetConfig {
    this.validate(scope);
    this.validateFor(scope, options.queue);
    this.validatePlace(scope);
    const { QUEUE_URL: _, ...environment } = options.environment;
    const owner = this.owner(scope, environment);
    const id = (name: string) => owner === scope ? name : `${name}-${Names.nodeUniqueId(scope.node)}`;
    const { batchSize, maxBatchingWindow, maxConcurrency, filters, minPollers, maxPollers } = this.options;

    this.addEnvironment(scope, environment);
    const mapping = new lambda.EventSourceMapping(owner, id('EventSourceMapping'), {
      target: this.fn,
      eventSourceArn: options.queue.queueArn,
      batchSize,
      maxBatchingWindow,
      maxConcurrency,
      filters: filters?.map((filter, index) => filterOf(scope, `filters[${index}]`, filter)),
      provisionedPollerConfig: minPollers === undefined && maxPollers === undefined ? undefined : {
        // The validation of the mapping is that of Kafka. For SQS, 2 is the minimum and the default.
        minimumPollers: minPollers ?? 2,
        maximumPollers: maxPollers,
      },
      reportBatchItemFailures: true,
    });
    // Lambda refuses a mapping to a queue that the function can't read.
    const policy = this.allow(scope, owner, id('Policy'), options.queue);
    if (policy) { mapping.node.addDependency(policy); }
    this.warnOfReserved(scope);
    return {
      grantee: this.fn,
      connections: this.underlying.isBoundToVpc ? this.underlying : undefined,
      dependable: mapping,
      eventSourceMapping: mapping,
      policy,
    };
  }

  /**
   * Mapping and policy belong to the consumer, so that its stack may use the function's. When the function needs a value of
   * the consumer's stack, the function's stack uses that one, and has to own them, or the two stacks would need each other.
   */
  private owner(scope: Construct, environment: { [name: string]: string }): Construct {
    const definition = this.definition;
    if (!definition || Stack.of(definition) === Stack.of(scope)) { return scope; }
    // Variables that the function has already, or from another consumer, count too.
    const present = (definition.node.defaultChild as lambda.CfnFunction).environment;
    return refersTo([environment, present], scope) ? definition : scope;
  }

  private addEnvironment(scope: Construct, environment: { [name: string]: string }): void {
    if (this.definition) {
      const present = environmentOf(this.definition);
      for (const [name, value] of Object.entries(environment)) {
        this.refuseOther(scope, name, present[name], value);
        this.definition.addEnvironment(name, value);
      }
    } else if (Object.keys(environment).length > 0) {
      Annotations.of(scope).addWarningV2('cdk-order-pipeline:functionEnvironmentNotSet',
        `the function '${this.fn.node.path}' is imported, so its environment stays as it is: it has to have ${Object.keys(environment).join(', ')}`);
    }
  }

  /** Without this check, the second consumer of a function would silently replace the database of the first one. */
  private refuseOther(scope: Construct, name: string, present: unknown, value: string): void {
    const stack = Stack.of(this.definition!);
    if (present === undefined || JSON.stringify(stack.resolve(present)) === JSON.stringify(stack.resolve(value))) { return; }
    throw invalid(scope, `the function '${this.fn.node.path}' has another ${name} already, of its own or of another consumer: give each consumer its `
      + 'own function, or remove the variable from one of them');
  }

  private allow(scope: Construct, owner: Construct, id: string, queue: sqs.IQueue): iam.Policy | undefined {
    const policy = this.fn.role && attachConsumePolicy(owner, id, this.fn.role, queue);
    if (!policy) {
      const why = this.fn.role ? "has a role that can't be changed here" : 'was imported without its role';
      Annotations.of(scope).addWarningV2('cdk-order-pipeline:functionRoleUnknown',
        `the function '${this.fn.node.path}' ${why}, so it can't consume '${queue.node.path}' unless its role has these statements `
        + `(consumePolicyStatements): ${statementsText(scope, consumeStatements(queue))}`);
    }
    return policy;
  }

  private warnOfReserved(scope: Construct): void {
    const reserved = (this.definition?.node.defaultChild as lambda.CfnFunction | undefined)?.reservedConcurrentExecutions;
    const { maxConcurrency } = this.options;
    if (known(reserved) && known(maxConcurrency) && maxConcurrency > reserved) {
      Annotations.of(scope).addWarningV2('cdk-order-pipeline:maxConcurrencyAboveReserved',
        `maxConcurrency (${maxConcurrency}) is more than the reserved concurrency of the function (${reserved}), so batches are throttled and `
        + 'may become dead letters without having been tried: reserve at least as much');
    }
  }

  private validate(scope: Construct): void {
    if (!this.processingTime) {
      throw invalid(scope, `processingTime must be given to ConsumerTarget.lambdaFunction for the function '${this.fn.node.path}', which is imported, `
        + 'so that its timeout is unknown');
    }
    const { batchSize, maxBatchingWindow, maxConcurrency, filters, minPollers, maxPollers } = this.options;
    requireDuration(scope, 'maxBatchingWindow', maxBatchingWindow, Duration.seconds(0), Duration.minutes(5));
    requireSeconds(scope, { maxBatchingWindow });
    requireInteger(scope, 'maxConcurrency', maxConcurrency, 2, 1000);
    requireInteger(scope, 'batchSize', batchSize, 1, 10_000);
    requireInteger(scope, 'minPollers', minPollers, 2, 200);
    requireInteger(scope, 'maxPollers', maxPollers, 2, 2000);
    refuseBoth(scope, { maxConcurrency, minPollers });
    refuseBoth(scope, { maxConcurrency, maxPollers });
    if (known(minPollers) && known(maxPollers) && maxPollers < minPollers) {
      throw invalid(scope, `maxPollers (${maxPollers}) must not be less than minPollers (${minPollers})`);
    }
    const gathers = maxBatchingWindow && (maxBatchingWindow.isUnresolved() || maxBatchingWindow.toMilliseconds() > 0);
    if (known(batchSize) && batchSize > 10 && !gathers) {
      throw invalid(scope, `batchSize of more than 10 needs maxBatchingWindow of at least 1 second, got ${batchSize}`);
    }
    if (filters && (filters.length === 0 || filters.length > 10)) {
      throw invalid(scope, `filters must be 1 to 10, got ${filters.length}`);
    }
    const { timeout } = this;
    const resolved = timeout && !timeout.isUnresolved() && !this.processingTime.isUnresolved();
    if (resolved && this.processingTime.toMilliseconds() < timeout.toMilliseconds()) {
      throw invalid(scope, `processingTime (${this.processingTime.toHumanString()}) is less than the timeout of the function `
        + `(${timeout.toHumanString()}), which is the limit in Lambda: leave processingTime out, or lower the timeout`);
    }
  }

  private validatePlace(scope: Construct): void {
    const { account, region } = Stack.of(scope);
    for (const [what, own, other] of [['region', region, this.fn.env.region], ['account', account, this.fn.env.account]]) {
      if (differ(own!, other!)) {
        throw invalid(scope, `the function '${this.fn.node.path}' is in ${what} ${other}, but its event source mapping would be in ${own}: `
          + `make the consumer in a stack of ${what} ${other}`);
      }
    }
  }

  private validateFor(scope: Construct, queue: sqs.IQueue): void {
    if (!queue.fifo) { return; }
    const { batchSize, maxBatchingWindow } = this.options;
    if (maxBatchingWindow) {
      throw invalid(scope, "maxBatchingWindow can't be given for a FIFO queue: Lambda gathers messages of standard queues only");
    }
    requireInteger(scope, 'batchSize for a FIFO queue', batchSize, 1, 10);
  }
}

/** The environment variables that the function has so far. */
function environmentOf(definition: lambda.Function): { [name: string]: unknown } {
  const { environment } = definition.node.defaultChild as lambda.CfnFunction;
  const resolved: { variables?: { [name: string]: unknown } } | undefined = Stack.of(definition).resolve(environment);
  return resolved?.variables ?? {};
}

/** A pattern, or the result of `FilterCriteria.filter()`, as the mapping accepts it: it silently drops everything except `pattern`. */
function filterOf(scope: Construct, name: string, filter: { [key: string]: any }): { [key: string]: any } {
  const criteria = Object.keys(filter).length === 1 && typeof filter.pattern === 'string' ? filter : lambda.FilterCriteria.filter(filter);
  if (criteria.pattern === '{}') {
    throw invalid(scope, `${name} is empty, so it would let every message through: name at least one field, such as body, or leave filters out`);
  }
  return criteria;
}

function known(value: number | undefined): value is number {
  return value !== undefined && !Token.isUnresolved(value);
}
