import { Duration } from 'aws-cdk-lib';
import type { Construct } from 'constructs';
import type { ConsumerTargetBindOptions, ConsumerTargetConfig, IConsumerTarget } from './consumer-target';
import { QueueScaling } from './queue-scaling';
import { grantConsume } from '../private/permissions';
import { KubernetesAccess, KubernetesWorkload, KubernetesWorkloadOptions, WorkloadImage } from '../workload';

/**
 * Options of a consumer on Kubernetes.
 */
export interface KubernetesConsumerOptions extends KubernetesWorkloadOptions {
  /** The container image. */
  readonly image: WorkloadImage;

  /**
   * The longest time that the processing of one batch may take. Pods get this long to finish when they are stopped.
   *
   * @default Duration.seconds(30)
   */
  readonly processingTime?: Duration;

  /**
   * How many replicas consume the queue.
   *
   * @default - `QueueScaling.horizontalPodAutoscaler()`: 2 to 10 replicas at 70 % CPU
   */
  readonly scaling?: QueueScaling;
}

/**
 * @internal
 */
export class KubernetesConsumerTarget implements IConsumerTarget {
  public readonly processingTime: Duration;

  constructor(private readonly kubernetes: KubernetesAccess, private readonly options: KubernetesConsumerOptions) {
    this.processingTime = options.processingTime ?? Duration.seconds(30);
  }

  public bind(scope: Construct, options: ConsumerTargetBindOptions): ConsumerTargetConfig {
    const scaling = this.options.scaling ?? QueueScaling.horizontalPodAutoscaler();
    const workload = new KubernetesWorkload(scope, 'Workload', {
      ...this.options,
      kubernetes: this.kubernetes,
      environment: { ...options.environment, ...this.options.environment },
      egressPorts: [...options.egressPorts ?? [], ...this.options.egressPorts ?? []],
      terminationGracePeriod: this.options.terminationGracePeriod ?? this.timeToFinish(),
      scaling: scaling.bind(scope, { queue: options.queue }),
    });
    grantConsume(options.queue, workload);
    return { grantee: workload, connections: workload };
  }

  /** The batch in hand, and some time to give the rest back. */
  private timeToFinish(): Duration | undefined {
    return this.processingTime.isUnresolved() ? undefined : Duration.seconds(Math.ceil(this.processingTime.toMilliseconds() / 1000) + 15);
  }
}
