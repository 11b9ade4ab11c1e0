import { Stack, Token } from 'aws-cdk-lib';
import * as appscaling from 'aws-cdk-lib/aws-applicationautoscaling';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as rds from 'aws-cdk-lib/aws-rds';
import type { Construct } from 'constructs';
import { invalid, requireInteger } from '../../private/validation';
import type { AutoscaledReadersOptions } from '../cqrs-readers';

/** The greatest number of readers of a cluster (https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/Aurora.Replication.html). */
const MAX_READERS = 15;

/** The instances of a cluster. */
export interface ClusterInstances {
  readonly writer: rds.IClusterInstance;
  readonly readers: rds.IClusterInstance[];
  /** True if the instances are serverless, so that they have a range of capacity. */
  readonly serverless: boolean;
}

/** The scalable target and the policy for the number of readers. */
export interface ReaderScaling {
  readonly target: appscaling.ScalableTarget;
  readonly policy: appscaling.TargetTrackingScalingPolicy;
}

/** The number and the kind of the readers. */
export interface ReaderPlan {
  bind(scope: Construct): ClusterInstances;
  scale?(scope: Construct, cluster: rds.IDatabaseCluster): ReaderScaling;
}

export class ServerlessReaders implements ReaderPlan {
  constructor(private readonly count: number, private readonly scaleWithWriter: boolean) {
  }

  public bind(scope: Construct): ClusterInstances {
    requireCount(scope, 'readers', this.count, 0);
    return {
      writer: rds.ClusterInstance.serverlessV2('Writer', { publiclyAccessible: false }),
      readers: readersOf(this.count, (id) =>
        rds.ClusterInstance.serverlessV2(id, { publiclyAccessible: false, scaleWithWriter: this.scaleWithWriter })),
      serverless: true,
    };
  }
}

export class AutoscaledReaders implements ReaderPlan {
  constructor(private readonly options: AutoscaledReadersOptions) {
  }

  public bind(scope: Construct): ClusterInstances {
    const { instanceType, minReaders, maxReaders, targetCpuUtilizationPercent } = this.options;
    requireCount(scope, 'minReaders', minReaders, 1);
    requireInteger(scope, 'maxReaders', maxReaders, minReaders, MAX_READERS);
    requireInteger(scope, 'targetCpuUtilizationPercent', targetCpuUtilizationPercent, 1, 100);
    const instance = { instanceType, publiclyAccessible: false };
    return {
      writer: rds.ClusterInstance.provisioned('Writer', { ...instance, promotionTier: 0 }),
      // These come before the readers that Aurora adds, which are in tier 15.
      readers: readersOf(minReaders, (id) => rds.ClusterInstance.provisioned(id, { ...instance, promotionTier: 1 })),
      serverless: false,
    };
  }

  public scale(scope: Construct, cluster: rds.IDatabaseCluster): ReaderScaling {
    const { minReaders, maxReaders, targetCpuUtilizationPercent } = this.options;
    const target = new appscaling.ScalableTarget(scope, 'ReaderScaling', {
      serviceNamespace: appscaling.ServiceNamespace.RDS,
      scalableDimension: 'rds:cluster:ReadReplicaCount',
      resourceId: `cluster:${cluster.clusterIdentifier}`,
      minCapacity: minReaders,
      maxCapacity: maxReaders,
      // The service-linked role. Otherwise the scalable target would make a role that is never used.
      role: iam.Role.fromRoleArn(scope, 'ReaderScalingRole', Stack.of(scope).formatArn({
        service: 'iam',
        region: '',
        resource: 'role/aws-service-role/rds.application-autoscaling.amazonaws.com',
        resourceName: 'AWSServiceRoleForApplicationAutoScaling_RDSCluster',
      })),
    });
    // It is made after the instances, or Aurora would add the missing readers itself.
    target.node.addDependency(cluster);
    return {
      target,
      policy: target.scaleToTrackMetric('Cpu', {
        predefinedMetric: appscaling.PredefinedMetric.RDS_READER_AVERAGE_CPU_UTILIZATION,
        targetValue: targetCpuUtilizationPercent ?? 60,
      }),
    };
  }
}

function readersOf(count: number, make: (id: string) => rds.IClusterInstance): rds.IClusterInstance[] {
  return Array.from({ length: count }, (_, index) => make(`Reader${index + 1}`));
}

function requireCount(scope: Construct, name: string, count: number, min: number): void {
  if (Token.isUnresolved(count)) {
    throw invalid(scope, `${name} must be known when the template is made, as each reader is a resource: give a number, not a token`);
  }
  requireInteger(scope, name, count, min, MAX_READERS);
}
