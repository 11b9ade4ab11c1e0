import { Stack, Token } from 'aws-cdk-lib';
import * as appscaling from 'aws-cdk-lib/aws-applicationautoscaling';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as rds from 'aws-cdk-lib/aws-rds';
import type { Construct } from 'constructs';
import { maxConnectionsOfCapacity, maxConnectionsOfClass } from './max-connections';
import { invalid, refuseWithout, requireInteger } from '../../private/validation';
import type { ProvisionedInstancesOptions, ServerlessInstancesOptions } from '../cqrs-instances';

/** The greatest number of readers of a cluster (https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/Aurora.Replication.html). */
const MAX_READERS = 15;

/** The greatest capacity of an instance in Aurora capacity units. */
const MAX_CAPACITY = 256;

/** Options of all instances of a cluster. */
export type InstanceOptions = Pick<rds.ClusterInstanceOptions, 'caCertificate' | 'autoMinorVersionUpgrade' | 'preferredMaintenanceWindow'
  | 'enablePerformanceInsights' | 'performanceInsightRetention' | 'performanceInsightEncryptionKey'>;

/** The instances of a cluster. */
export interface ClusterInstances {
  readonly writer: rds.IClusterInstance;
  readonly readers: rds.IClusterInstance[];
  /** The range of capacity, which only serverless instances have. */
  readonly capacity?: { readonly min: number; readonly max: number };
  /** The greatest number of connections of an instance, if it is known. */
  readonly maxConnections?: number;
}

/** The scalable target and the policy for the number of readers. */
export interface ReaderScaling {
  readonly target: appscaling.ScalableTarget;
  readonly policy: appscaling.TargetTrackingScalingPolicy;
}

/** The number and the kind of the instances. */
export interface InstancePlan {
  bind(scope: Construct, options: InstanceOptions): ClusterInstances;
  scale?(scope: Construct, cluster: rds.IDatabaseCluster): ReaderScaling | undefined;
}

export class ServerlessInstances implements InstancePlan {
  constructor(private readonly options: ServerlessInstancesOptions) {
  }

  public bind(scope: Construct, options: InstanceOptions): ClusterInstances {
    const { readers = 1, independentReaders = false } = this.options;
    requireCount(scope, 'readers', readers, 0);
    const capacity = this.capacityOf(scope);
    return {
      writer: rds.ClusterInstance.serverlessV2('Writer', { ...options, publiclyAccessible: false }),
      readers: readersOf(readers, (id) =>
        rds.ClusterInstance.serverlessV2(id, { ...options, publiclyAccessible: false, scaleWithWriter: !independentReaders })),
      capacity,
      maxConnections: maxConnectionsOfCapacity(capacity),
    };
  }

  private capacityOf(scope: Construct): { min: number; max: number } {
    const { minCapacity: min = 0.5, maxCapacity: max = 16 } = this.options;
    const allowed = (value: number, least: number) => Token.isUnresolved(value)
      || (value >= least && value <= MAX_CAPACITY && Number.isInteger(value * 2));
    if (!allowed(min, 0)) { throw invalid(scope, `minCapacity must be between 0 and ${MAX_CAPACITY} in steps of 0.5, got ${min}`); }
    if (!allowed(max, 1)) { throw invalid(scope, `maxCapacity must be between 1 and ${MAX_CAPACITY} in steps of 0.5, got ${max}`); }
    if (!Token.isUnresolved(min) && !Token.isUnresolved(max) && min > max) {
      throw invalid(scope, `minCapacity (${min}) must not be greater than maxCapacity (${max})`);
    }
    return { min, max };
  }
}

export class ProvisionedInstances implements InstancePlan {
  constructor(private readonly options: ProvisionedInstancesOptions) {
  }

  public bind(scope: Construct, options: InstanceOptions): ClusterInstances {
    const { instanceType, readers = 1, maxReaders, targetReaderCpuPercent } = this.options;
    requireCount(scope, 'readers', readers, maxReaders === undefined ? 0 : 1);
    requireInteger(scope, 'maxReaders', maxReaders, readers, MAX_READERS);
    requireInteger(scope, 'targetReaderCpuPercent', targetReaderCpuPercent, 1, 100);
    if (maxReaders === undefined) { refuseWithout(scope, 'maxReaders', { targetReaderCpuPercent }); }
    const instance = { ...options, instanceType, publiclyAccessible: false };
    return {
      writer: rds.ClusterInstance.provisioned('Writer', { ...instance, promotionTier: 0 }),
      // These come before the readers that Aurora adds, which are in tier 15.
      readers: readersOf(readers, (id) => rds.ClusterInstance.provisioned(id, { ...instance, promotionTier: 1 })),
      maxConnections: maxConnectionsOfClass(instanceType),
    };
  }

  public scale(scope: Construct, cluster: rds.IDatabaseCluster): ReaderScaling | undefined {
    const { readers = 1, maxReaders, targetReaderCpuPercent = 60 } = this.options;
    if (maxReaders === undefined) { return undefined; }
    const target = new appscaling.ScalableTarget(scope, 'ReaderScaling', {
      serviceNamespace: appscaling.ServiceNamespace.RDS,
      scalableDimension: 'rds:cluster:ReadReplicaCount',
      resourceId: `cluster:${cluster.clusterIdentifier}`,
      minCapacity: readers,
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
        targetValue: targetReaderCpuPercent,
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
