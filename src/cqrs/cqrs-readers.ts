import type * as ec2 from 'aws-cdk-lib/aws-ec2';
import type * as rds from 'aws-cdk-lib/aws-rds';
import type { Construct } from 'constructs';
import { AutoscaledReaders, ClusterInstances, ReaderPlan, ReaderScaling, ServerlessReaders } from './private/reader-plans';

/**
 * Options of readers that are added and removed by the load.
 */
export interface AutoscaledReadersOptions {
  /**
   * The instance class of the writer and of all readers: Aurora gives the class of the writer to readers that it adds.
   *
   * @see https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/Aurora.Integrating.AutoScaling.html
   */
  readonly instanceType: ec2.InstanceType;

  /**
   * The least number of readers: 1 to 15. They are resources of the stack, are never removed by Aurora, and are the first to
   * take over from a writer that fails. Without any reader Aurora has no load to measure and adds none.
   *
   * @see https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/Aurora.Integrating.AutoScaling.html
   */
  readonly minReaders: number;

  /** The greatest number of readers, with those that Aurora added: `minReaders` to 15. */
  readonly maxReaders: number;

  /**
   * The target for the average CPU use of all readers, in whole percent: 1 to 100. A new reader takes minutes, so leave room.
   *
   * @default 60
   */
  readonly targetCpuUtilizationPercent?: number;
}

/**
 * The number of readers of a `CqrsAuroraCluster`, and how they are scaled.
 *
 * A count must be known at synthesis, as each reader is a resource: a token is an error.
 */
export class CqrsReaders {
  /**
   * No readers: queries go to the writer. When it fails, Aurora has to make a new instance, which takes minutes instead of seconds.
   *
   * @see https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/Concepts.AuroraHighAvailability.html
   */
  public static none(): CqrsReaders {
    return new CqrsReaders(new ServerlessReaders(0, true));
  }

  /**
   * Serverless readers that grow and shrink with the writer, so that each can take over from it within seconds and keep up with its
   * changes. Each costs about as much as the writer.
   *
   * @see https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/aurora-serverless-v2.how-it-works.html
   * @param count the number of readers, 0 to 15
   */
  public static withWriter(count: number): CqrsReaders {
    return new CqrsReaders(new ServerlessReaders(count, true));
  }

  /**
   * Serverless readers, each of which grows and shrinks with its own queries, from `minCapacity` to `maxCapacity`.
   *
   * When the writer fails, one of them takes over and may be too small at first. The CDK warns of that. If you accept it, add
   * `Annotations.of(database.cluster).acknowledgeWarning('@aws-cdk/aws-rds:noFailoverServerlessReaders')`.
   *
   * @see https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/aurora-serverless-v2.how-it-works.html
   * @param count the number of readers, 0 to 15
   */
  public static independent(count: number): CqrsReaders {
    return new CqrsReaders(new ServerlessReaders(count, false));
  }

  /**
   * Readers of a fixed size, whose number follows their CPU use. The writer gets the same fixed size: Aurora doesn't add readers to
   * serverless instances, as their CPU use is no measure of their load. For these AWS recommends to make enough readers in advance, which
   * are small while they have nothing to do: see `independent`.
   *
   * Readers that Aurora added are not resources of the stack. Delete them before the stack, or RDS refuses to delete the cluster.
   *
   * @see https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/aurora-serverless-v2.requirements.html
   */
  public static autoscaled(options: AutoscaledReadersOptions): CqrsReaders {
    return new CqrsReaders(new AutoscaledReaders(options));
  }

  private constructor(private readonly plan: ReaderPlan) {
  }

  /**
   * The instances of a cluster.
   *
   * @internal
   */
  public _bind(scope: Construct): ClusterInstances {
    return this.plan.bind(scope);
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
