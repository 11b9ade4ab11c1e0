import type * as ec2 from 'aws-cdk-lib/aws-ec2';
import type * as rds from 'aws-cdk-lib/aws-rds';
import type { Construct } from 'constructs';
import { ClusterInstances, InstanceOptions, InstancePlan, ProvisionedInstances, ReaderScaling, ServerlessInstances } from './private/instance-plans';

/**
 * Options of serverless instances.
 */
export interface ServerlessInstancesOptions {
  /**
   * The number of readers, 0 to 15. Without a reader, queries go to the writer, and when it fails, Aurora has to make a new instance,
   * which takes minutes instead of seconds.
   *
   * @see https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/Concepts.AuroraHighAvailability.html
   * @default 1
   */
  readonly readers?: number;

  /**
   * True if each reader grows and shrinks with its own queries. False if all grow and shrink with the writer, so that each can take over
   * from it within seconds and keep up with its changes.
   *
   * When the writer fails, an independent reader takes over and may be too small at first. The CDK warns of that. If you accept it, add
   * `Annotations.of(database.cluster).acknowledgeWarning('@aws-cdk/aws-rds:noFailoverServerlessReaders')`.
   *
   * @see https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/aurora-serverless-v2.how-it-works.html
   * @default false
   */
  readonly independentReaders?: boolean;

  /**
   * The least capacity of each instance in Aurora capacity units of about 2 GiB memory, in steps of 0.5.
   * With 0, the cluster pauses when no client is connected; an outbox relay that polls prevents that, and so does a proxy.
   *
   * @see https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/aurora-serverless-v2.setting-capacity.html
   * @default 0.5
   */
  readonly minCapacity?: number;

  /**
   * The most capacity of each instance in Aurora capacity units, 1 to 256 in steps of 0.5. It limits the cost, and the number of
   * connections follows from it.
   *
   * @see https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/aurora-serverless-v2.setting-capacity.html
   * @default 16
   */
  readonly maxCapacity?: number;
}

/**
 * Options of instances with a fixed size.
 */
export interface ProvisionedInstancesOptions {
  /**
   * The instance type of the writer and of all readers, such as `r8g.large`. Each can take over from the writer, as all have the same size.
   */
  readonly instanceType: ec2.InstanceType;

  /**
   * The number of readers, 0 to 15. With `maxReaders` it is the least number, and at least 1, since Aurora adds none to a cluster without
   * any.
   *
   * @see https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/Aurora.Integrating.AutoScaling.html
   * @default 1
   */
  readonly readers?: number;

  /**
   * The greatest number of readers, with those that Aurora adds by the CPU use of the readers: `readers` to 15.
   *
   * Readers that Aurora added are not resources of the stack. Delete them before the stack, or RDS refuses to delete the cluster.
   *
   * @default - the number of readers is fixed
   */
  readonly maxReaders?: number;

  /**
   * The target for the average CPU use of all readers, in whole percent: 1 to 100. A new reader takes minutes, so leave room.
   * It is an error without `maxReaders`.
   *
   * @default 60
   */
  readonly targetReaderCpuPercent?: number;
}

/**
 * The instances of a `CqrsAuroraCluster`: their size, and the number of readers.
 *
 * A number of readers must be known at synthesis, as each reader is a resource: a token is an error.
 */
export class CqrsInstances {
  /**
   * Instances whose size follows their load.
   *
   * Aurora doesn't add readers to serverless instances, as their CPU use is no measure of their load. AWS recommends to make enough readers
   * in advance, which are small while they have nothing to do: see `independentReaders`.
   *
   * @see https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/aurora-serverless-v2.requirements.html
   */
  public static serverless(options: ServerlessInstancesOptions = {}): CqrsInstances {
    return new CqrsInstances(new ServerlessInstances(options));
  }

  /**
   * Instances with a fixed size, for a load that is steady: the same capacity costs less than a serverless one that is always used.
   */
  public static provisioned(options: ProvisionedInstancesOptions): CqrsInstances {
    return new CqrsInstances(new ProvisionedInstances(options));
  }

  private constructor(private readonly plan: InstancePlan) {
  }

  /**
   * The instances of a cluster.
   *
   * @internal
   */
  public _bind(scope: Construct, options: InstanceOptions): ClusterInstances {
    return this.plan.bind(scope, options);
  }

  /**
   * Scales the number of readers, if it isn't fixed.
   *
   * @internal
   */
  public _scale(scope: Construct, cluster: rds.IDatabaseCluster): ReaderScaling | undefined {
    return this.plan.scale?.(scope, cluster);
  }
}
