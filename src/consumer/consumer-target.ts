import type { Duration } from 'aws-cdk-lib';
import type * as ec2 from 'aws-cdk-lib/aws-ec2';
import type * as iam from 'aws-cdk-lib/aws-iam';
import type * as lambda from 'aws-cdk-lib/aws-lambda';
import type * as sqs from 'aws-cdk-lib/aws-sqs';
import type { Construct, IDependable } from 'constructs';
import { ExternalConsumerOptions, ExternalConsumerTarget } from './external-consumer-target';
import { KubernetesConsumerOptions, KubernetesConsumerTarget } from './kubernetes-consumer-target';
import { LambdaConsumerOptions, LambdaConsumerTarget } from './lambda-consumer-target';
import type { EgressRule, KubernetesAccess, KubernetesWorkload } from '../workload';

/**
 * The options with which a consumer target is bound.
 */
export interface ConsumerTargetBindOptions {
  /** The queue to consume from. */
  readonly queue: sqs.IQueue;

  /** The queue that messages go to after `maxReceiveCount` failed receives. */
  readonly deadLetterQueue: sqs.IQueue;

  /** Environment variables for the process that consumes: `QUEUE_URL`, and those that the caller adds. */
  readonly environment: { [name: string]: string };

  /**
   * TCP ports that the process connects to, in addition to those of AWS services, such as the database's.
   *
   * @default - none
   */
  readonly egressPorts?: number[];

  /**
   * The addresses of some of the `egressPorts`, where they are known; a port without a rule is one at any address. A target that can't
   * limit addresses ignores the rules.
   *
   * @default - none
   */
  readonly egressRules?: EgressRule[];
}

/**
 * The result of binding a consumer target.
 */
export interface ConsumerTargetConfig {
  /**
   * The identity that processes the messages, for further permissions.
   *
   * @default - unknown: further permissions have to be given elsewhere
   */
  readonly grantee?: iam.IGrantable;

  /**
   * The connections of the process, for opening a database to it.
   *
   * @default - not in a VPC, or unknown
   */
  readonly connections?: ec2.IConnectable;

  /**
   * The constructs that start the processing, such as a service or an event source mapping. They are deployed after the database and
   * its migration.
   *
   * @default - nothing waits
   */
  readonly dependable?: IDependable;

  /**
   * The Kubernetes workload that consumes the queue.
   *
   * @default - none: the target is another host
   */
  readonly workload?: KubernetesWorkload;

  /**
   * The mapping with which AWS Lambda consumes the queue.
   *
   * @default - none: the target is another host
   */
  readonly eventSourceMapping?: lambda.EventSourceMapping;

  /**
   * The policy that lets the process consume the queue, if it is a separate policy.
   *
   * @default - none: the permission is in the default policy of the role of the process, or it could not be granted
   */
  readonly policy?: iam.Policy;

  /**
   * The policy that lets the scaler read the length of the queue.
   *
   * @default - none: no scaler reads it
   */
  readonly scalerPolicy?: iam.Policy;
}

/**
 * A target that consumes the messages of a queue. Implement it for a host that `ConsumerTarget` doesn't have.
 *
 * @subclassable
 */
export interface IConsumerTarget {
  /**
   * The longest time that the processing of one batch may take.
   * The visibility timeout of the queue is computed from it.
   *
   * @default Duration.seconds(30)
   */
  readonly processingTime?: Duration;

  /**
   * The time for which the target collects messages before it processes them. It is added to the visibility timeout.
   *
   * @default - the target does not wait
   */
  readonly maxBatchingWindow?: Duration;

  /**
   * The name of the target in logs and traces.
   *
   * @default - unknown: the target has a name that follows from the id of the consumer, or none
   */
  readonly serviceName?: string;

  /**
   * Makes everything that consumes the queue, including the permission for it.
   *
   * @param scope the consumer construct, which is the scope of the resources
   * @param options the queue and its dead-letter queue, environment variables and ports
   */
  bind(scope: Construct, options: ConsumerTargetBindOptions): ConsumerTargetConfig;
}

/**
 * The hosts that can consume a queue.
 *
 * @example
 * declare const fn: lambda.Function;
 * declare const role: iam.IRole;
 * declare const kubernetes: KubernetesAccess;
 *
 * ConsumerTarget.lambdaFunction(fn, { maxConcurrency: 20 });
 * ConsumerTarget.kubernetes(kubernetes, {
 *   image: WorkloadImage.fromDirectory('services'),
 *   command: ['node', 'inventory-service.js'],
 * });
 * ConsumerTarget.external(role, { processingTime: Duration.minutes(1) });
 */
export abstract class ConsumerTarget {
  /**
   * A Lambda function with an event source mapping that reports failed messages one by one (`ReportBatchItemFailures`).
   * The function must answer `{ batchItemFailures: [{ itemIdentifier }] }`.
   *
   * Its timeout is the processing time. Environment variables of the consumer are added to it, except `QUEUE_URL`, which it
   * doesn't need.
   *
   * @see https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
   * @param fn the function, an alias or a version of it
   */
  public static lambdaFunction(fn: lambda.IFunction, options: LambdaConsumerOptions = {}): IConsumerTarget {
    return new LambdaConsumerTarget(fn, options);
  }

  /**
   * A Kubernetes workload that polls the queue given in `QUEUE_URL`.
   *
   * @param kubernetes the cluster
   */
  public static kubernetes(kubernetes: KubernetesAccess, options: KubernetesConsumerOptions): IConsumerTarget {
    return new KubernetesConsumerTarget(kubernetes, options);
  }

  /**
   * A process that runs elsewhere and is not made here. It gets permission to consume the queue. The values that
   * it needs are in the consumer's `environment`. If it is in another account, queue and key allow it, and its own policy must
   * allow it, too.
   *
   * @param grantee the identity of the process
   */
  public static external(grantee: iam.IGrantable, options: ExternalConsumerOptions): IConsumerTarget {
    return new ExternalConsumerTarget(grantee, options);
  }
}
