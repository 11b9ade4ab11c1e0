import { Duration } from 'aws-cdk-lib';
import type { Construct } from 'constructs';
import type { ConsumerTargetBindOptions, ConsumerTargetConfig, IConsumerTarget } from './consumer-target';
import { attachedPolicy } from './private/attached-policy';
import { ownQueueUrl } from './private/consumer-validation';
import { QueueScaling } from './queue-scaling';
import { limitedEgress } from '../private/egress';
import { grantConsume } from '../private/permissions';
import { invalid } from '../private/validation';
import { KubernetesAccess, KubernetesWorkload, KubernetesWorkloadOptions, WorkloadImage } from '../workload';

/**
 * Options of a consumer on Kubernetes, without its image.
 */
export interface KubernetesConsumerSettings extends KubernetesWorkloadOptions {
  /**
   * The longest time that the processing of one batch may take. Pods get this long to finish when they are stopped.
   *
   * @default Duration.seconds(30)
   */
  readonly processingTime?: Duration;

  /**
   * The number of replicas that consume the queue.
   *
   * @default - `QueueScaling.keda()` if the `KubernetesPrerequisites` of the cluster have KEDA: 1 to 10 replicas, for messages that wait a
   * minute and take a tenth of `processingTime` each. Without KEDA it is required
   */
  readonly scaling?: QueueScaling;
}

/**
 * Options of a consumer on Kubernetes.
 */
export interface KubernetesConsumerOptions extends KubernetesConsumerSettings {
  /** The container image. */
  readonly image: WorkloadImage;
}

/**
 * @internal
 */
export class KubernetesConsumerTarget implements IConsumerTarget {
  public readonly processingTime: Duration;
  public readonly serviceName?: string;

  constructor(private readonly kubernetes: KubernetesAccess, private readonly options: KubernetesConsumerOptions) {
    this.processingTime = options.processingTime ?? Duration.seconds(30);
    this.serviceName = options.serviceName;
  }

  public bind(scope: Construct, options: ConsumerTargetBindOptions): ConsumerTargetConfig {
    if (this.options.environment?.QUEUE_URL !== undefined) { throw ownQueueUrl(scope); }
    const { kubernetes } = this;
    const scaling = this.options.scaling ?? this.defaultScaling(scope);
    const workload = new KubernetesWorkload(scope, 'Workload', {
      ...this.options,
      ...limitedEgress(options, this.options),
      kubernetes,
      environment: { ...options.environment, ...this.options.environment },
      terminationGracePeriod: this.options.terminationGracePeriod ?? this.timeToFinish(),
      scaling: scaling.bind(scope, { queue: options.queue, kubernetes }),
    });
    grantConsume(options.queue, workload);
    return {
      grantee: workload,
      connections: workload,
      dependable: workload.manifest,
      workload,
      scalerPolicy: attachedPolicy(scope, 'ScalerPolicy'),
    };
  }

  /** The queue decides, never the CPU: a consumer that waits for its database uses little CPU, however long its queue is. */
  private defaultScaling(scope: Construct): QueueScaling {
    if (!this.kubernetes.kedaOperatorRole) {
      throw invalid(scope, 'scaling must be given, as KEDA is not known on the cluster: make `KubernetesPrerequisites` for it before, or choose '
        + 'QueueScaling.keda({ operatorRole, … }), .externalMetric(…), .fixed(n), or .cpu(…) for a consumer that is busy while messages wait');
    }
    const milliseconds = this.processingTime.isUnresolved() ? 3000 : Math.ceil(this.processingTime.toMilliseconds() / 10);
    const messageProcessingTime = Duration.millis(milliseconds);
    return QueueScaling.keda({ acceptableLatency: Duration.millis(Math.max(60_000, milliseconds)), messageProcessingTime });
  }

  /** Time for the current batch, and some time to give the rest back. */
  private timeToFinish(): Duration | undefined {
    return this.processingTime.isUnresolved() ? undefined : Duration.seconds(Math.ceil(this.processingTime.toMilliseconds() / 1000) + 15);
  }
}
