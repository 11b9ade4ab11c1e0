import type * as ec2 from 'aws-cdk-lib/aws-ec2';
import type * as rds from 'aws-cdk-lib/aws-rds';
import type { Construct } from 'constructs';
import { AutoscaledReaders, ClusterInstances, ReaderPlan, ReaderScaling, ServerlessReaders } from './private/reader-plans';

/**
 * Readers that are added and removed by the load.
 */
export interface AutoscaledReadersOptions {
  /**
   * The instance class of the writer and of all readers. Aurora gives the readers that it adds the class of the writer, and
   * doesn't add any to a serverless one.
   *
   * @see https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/aurora-serverless-v2.requirements.html#aurora-serverless-v2.limitations
   */
  readonly instanceType: ec2.InstanceType;

  /**
   * How many readers there are at least, 1 to 15. They are resources of the stack, are never removed, and take over from a writer
   * that fails. Without a reader Aurora adds none, as there is no load to measure.
   *
   * @see https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/Aurora.Integrating.AutoScaling.html
   */
  readonly minReaders: number;

  /** How many readers there are at most, with those that Aurora added: `minReaders` to 15. */
  readonly maxReaders: number;

  /**
   * The average CPU use of all readers that is aimed at, in percent: 1 to 100. A new reader takes minutes, so leave room.
   *
   * @default 60
   */
  readonly targetCpuUtilizationPercent?: number;
}

/**
 * How many readers a `CqrsAuroraCluster` has, and how they are scaled.
 *
 * A count must be known when the template is made, as each reader is a resource: a token is an error.
 */
export class CqrsReaders {
  /**
   * No readers: queries go to the writer, which is slower to replace when it fails. Aurora then makes a new instance, which takes
   * minutes.
   *
   * @see https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/Concepts.AuroraHighAvailability.html
   */
  public static none(): CqrsReaders {
    return new CqrsReaders(new ServerlessReaders(0, true));
  }

  /**
   * Serverless readers that are always as large as the writer, so that each can take over from it within seconds and keep up with
   * its changes. They cost as much as the writer does.
   *
   * @see https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/aurora-serverless-v2.how-it-works.html
   * @param count how many, 0 to 15
   */
  public static withWriter(count: number): CqrsReaders {
    return new CqrsReaders(new ServerlessReaders(count, true));
  }

  /**
   * Serverless readers that are as large as the queries need, each for itself, from `minCapacity` to `maxCapacity`.
   *
   * When the writer fails, one of them takes over and may be too small for a moment, so the CDK warns
   * (`@aws-cdk/aws-rds:noFailoverServerlessReaders`). If that is fine, acknowledge the warning on `cluster`.
   *
   * @see https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/aurora-serverless-v2.how-it-works.html
   * @param count how many, 0 to 15
   */
  public static independent(count: number): CqrsReaders {
    return new CqrsReaders(new ServerlessReaders(count, false));
  }

  /**
   * Readers of a fixed size, whose number follows their CPU use: Aurora adds and removes them. The writer has the same fixed size,
   * as Aurora doesn't do this for serverless clusters. AWS recommends there what `independent` makes: readers that exist
   * in advance and are small while nobody asks them.
   *
   * What Aurora added is no resource of the stack: the cluster can only be deleted after these readers are.
   *
   * @see https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/Aurora.Integrating.AutoScaling.html
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
