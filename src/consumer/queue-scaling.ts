import type * as sqs from 'aws-cdk-lib/aws-sqs';
import type { Construct } from 'constructs';
import { Autoscaling, CpuAutoscalingOptions } from '../workload';

/**
 * What the scaling of a consumer is bound to.
 */
export interface QueueScalingBindOptions {
  /** The queue that is consumed. */
  readonly queue: sqs.IQueue;
}

/**
 * How many replicas of a Kubernetes workload consume a queue.
 */
export abstract class QueueScaling {
  /**
   * Replicas by CPU, with a HorizontalPodAutoscaler. It can't see the queue, so it suits consumers that are busy while
   * messages wait. The cluster needs the `metrics-server` add-on.
   */
  public static horizontalPodAutoscaler(options: CpuAutoscalingOptions = {}): QueueScaling {
    return new WorkloadScaling(Autoscaling.cpu(options));
  }

  /**
   * Always the same number of replicas.
   *
   * @param replicas the number, at least 0
   */
  public static fixed(replicas: number): QueueScaling {
    return new WorkloadScaling(Autoscaling.fixed(replicas));
  }

  /**
   * Called by the consumer that is scaled.
   *
   * @param scope where resources are made
   */
  public abstract bind(scope: Construct, options: QueueScalingBindOptions): Autoscaling;
}

class WorkloadScaling extends QueueScaling {
  constructor(private readonly autoscaling: Autoscaling) {
    super();
  }

  public bind(_scope: Construct, _options: QueueScalingBindOptions): Autoscaling {
    return this.autoscaling;
  }
}
