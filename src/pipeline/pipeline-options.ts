import { BufferedEventConsumerOptions } from '../consumer';
import { DatabaseSide } from '../cqrs';
import { Autoscaling, KubernetesContainerOptions, KubernetesWorkloadOptions, ServiceExposure, WorkloadImage } from '../workload';

/**
 * A service of the pipeline.
 */
export interface PipelineServiceOptions extends KubernetesWorkloadOptions {
  /**
   * The container image.
   *
   * @default - the pipeline's `image`
   */
  readonly image?: WorkloadImage;

  /**
   * How many replicas run.
   *
   * @default - 2 to 10 replicas at 70 % CPU; the outbox relay, of which one works while the others stand by, 2 to 3
   */
  readonly scaling?: Autoscaling;

  /**
   * Who can reach the service.
   *
   * @default - the APIs by an internal Network Load Balancer, the outbox relay by nobody
   */
  readonly exposure?: ServiceExposure;
}

/**
 * The job that brings the database schema up to date.
 */
export interface PipelineMigrationOptions extends KubernetesContainerOptions {
  /**
   * The container image.
   *
   * @default - the pipeline's `image`
   */
  readonly image?: WorkloadImage;
}

/**
 * A consumer of the pipeline's events.
 */
export interface PipelineConsumerOptions extends BufferedEventConsumerOptions {
  /**
   * Which side of the database the consumer works with. It gets that side's environment, credentials and network path.
   *
   * @default DatabaseSide.COMMAND
   */
  readonly database?: DatabaseSide;
}
