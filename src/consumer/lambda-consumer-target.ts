import { Annotations, Duration, Names, Stack, Token } from 'aws-cdk-lib';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import type * as sqs from 'aws-cdk-lib/aws-sqs';
import type { Construct } from 'constructs';
import type { ConsumerTargetBindOptions, ConsumerTargetConfig, IConsumerTarget } from './consumer-target';
import { grantConsume } from '../private/permissions';
import { invalid, requireDuration, requireInteger } from '../private/validation';

/**
 * Options of a consumer on Lambda.
 */
export interface LambdaConsumerOptions {
  /**
   * The most messages that one invocation gets: 1 to 10, or to 10,000 with `maxBatchingWindow`.
   *
   * @see https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html
   * @default 10
   */
  readonly batchSize?: number;

  /**
   * How long messages are gathered for a batch, up to 5 minutes.
   *
   * @default - no time: a batch is what is there
   */
  readonly maxBatchingWindow?: Duration;

  /**
   * The most invocations that the queue has at a time, 2 to 1,000. It is what protects a database from a backlog.
   *
   * @see https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html
   * @default - only the account's and the function's own limits
   */
  readonly maxConcurrency?: number;

  /**
   * The longest time that the processing of one batch may take. An imported function needs it, as its timeout is unknown.
   *
   * @default - the timeout of the function
   */
  readonly processingTime?: Duration;
}

/** The timeout of a function that states none. */
const DEFAULT_TIMEOUT = Duration.seconds(3);

/**
 * @internal
 */
export class LambdaConsumerTarget implements IConsumerTarget {
  public readonly processingTime: Duration;
  public readonly maxBatchingWindow?: Duration;

  /** The function that is made in this app, behind an alias or a version too; undefined if it is imported. */
  private readonly definition?: lambda.Function;

  constructor(private readonly fn: lambda.IFunction, private readonly options: LambdaConsumerOptions) {
    const underlying = fn instanceof lambda.Alias || fn instanceof lambda.Version ? fn.lambda : fn;
    this.definition = underlying instanceof lambda.Function ? underlying : undefined;
    this.maxBatchingWindow = options.maxBatchingWindow;

    const processingTime = options.processingTime ?? (this.definition && (this.definition.timeout ?? DEFAULT_TIMEOUT));
    if (!processingTime) {
      throw invalid(fn, 'processingTime must be given to ConsumerTarget.lambdaFunction for an imported function, as its timeout is unknown');
    }
    this.processingTime = processingTime;
    this.validate();
  }

  public bind(scope: Construct, options: ConsumerTargetBindOptions): ConsumerTargetConfig {
    const { QUEUE_URL: _, ...environment } = options.environment;
    const owner = this.owner(scope, environment);
    const id = (name: string) => owner === scope ? name : `${name}-${Names.nodeUniqueId(scope.node)}`;

    this.addEnvironment(scope, environment);
    const mapping = new lambda.EventSourceMapping(owner, id('EventSourceMapping'), {
      target: this.fn,
      eventSourceArn: options.queue.queueArn,
      batchSize: this.options.batchSize,
      maxBatchingWindow: this.options.maxBatchingWindow,
      maxConcurrency: this.options.maxConcurrency,
      reportBatchItemFailures: true,
    });
    // Lambda refuses a mapping to a queue that the function can't read.
    mapping.node.addDependency(...this.allow(scope, owner, id('Policy'), options.queue));
    return { grantee: this.fn, connections: this.fn.isBoundToVpc ? this.fn : undefined };
  }

  /**
   * Mapping and policy belong to the consumer, so that its stack may use the function's. Once the function has to know something of
   * the consumer's stack, the function's stack uses that one, and has to own them, or the two stacks would need each other.
   */
  private owner(scope: Construct, environment: { [name: string]: string }): Construct {
    const definition = this.definition;
    const other = definition && Stack.of(definition) !== Stack.of(scope) && Object.keys(environment).length > 0;
    return other ? definition : scope;
  }

  private addEnvironment(scope: Construct, environment: { [name: string]: string }): void {
    if (this.definition) {
      for (const [name, value] of Object.entries(environment)) {
        this.definition.addEnvironment(name, value);
      }
    } else if (Object.keys(environment).length > 0) {
      Annotations.of(scope).addWarningV2('cdk-order-pipeline:functionEnvironmentNotSet',
        `the function '${this.fn.node.path}' is imported, so its environment stays as it is: it has to have ${Object.keys(environment).join(', ')}`);
    }
  }

  private allow(scope: Construct, owner: Construct, id: string, queue: sqs.IQueue): iam.Policy[] {
    if (!this.fn.role) {
      Annotations.of(scope).addWarningV2('cdk-order-pipeline:functionRoleUnknown',
        `the function '${this.fn.node.path}' was imported without its role, so it was not allowed to consume '${queue.node.path}': ` +
        'allow its role sqs:ReceiveMessage, sqs:DeleteMessage and sqs:GetQueueAttributes on the queue');
      return [];
    }
    const policy = new iam.Policy(owner, id, { roles: [this.fn.role] });
    grantConsume(queue, policy);
    return [policy];
  }

  private validate(): void {
    const { batchSize, maxBatchingWindow, maxConcurrency } = this.options;
    requireDuration(this.fn, 'maxBatchingWindow', maxBatchingWindow, Duration.seconds(0), Duration.minutes(5));
    requireInteger(this.fn, 'maxConcurrency', maxConcurrency, 2, 1000);
    requireInteger(this.fn, 'batchSize', batchSize, 1, 10_000);
    if (batchSize !== undefined && !Token.isUnresolved(batchSize) && batchSize > 10 && !maxBatchingWindow) {
      throw invalid(this.fn, `batchSize of more than 10 needs maxBatchingWindow, got ${batchSize}`);
    }
  }
}
