import type { Construct } from 'constructs';
import { horizontalPodAutoscaler } from './private/horizontal-pod-autoscaler';
import { Replicas, replicasOf, requireAtLeast } from './private/replicas';

/**
 * Options of the scaling by CPU.
 */
export interface CpuAutoscalingOptions {
  /**
   * The least number of replicas, even without load.
   *
   * @default 2
   */
  readonly minReplicas?: number;

  /**
   * The greatest number of replicas.
   *
   * @default - 10, or `minReplicas` if that is more
   */
  readonly maxReplicas?: number;

  /**
   * The average CPU use that the autoscaler aims at, in percent of the CPU request of a pod.
   *
   * @default 70
   */
  readonly targetCpuUtilizationPercent?: number;
}

/**
 * The Deployment that is scaled.
 */
export interface AutoscalingBindOptions {
  /** The name of the Deployment. */
  readonly deploymentName: string;
  /** The namespace of the Deployment. */
  readonly namespace: string;
}

/**
 * The scaling of a Deployment.
 */
export interface AutoscalingConfig {
  /**
   * The objects that set the number of replicas, such as a HorizontalPodAutoscaler. They are applied after the Deployment.
   *
   * The Deployment itself has no number: it would reset the replicas in every deployment. Objects of one API group and name are applied
   * together; a scaling with objects of another group replaces them, and the new ones are made before the old ones are deleted.
   *
   * @default - none: there is one replica
   */
  readonly manifests?: { [key: string]: unknown }[];

  /**
   * True if nothing runs. The workload then has no Deployment, so that no autoscaler that is still there can start a pod.
   *
   * @default false
   */
  readonly stopped?: boolean;
}

/**
 * The number of replicas of a workload.
 *
 * @subclassable
 */
export abstract class Autoscaling {
  /**
   * Scales by CPU, with a HorizontalPodAutoscaler. The cluster needs the `metrics-server` add-on.
   */
  public static cpu(options: CpuAutoscalingOptions = {}): Autoscaling {
    return new CpuAutoscaling(options);
  }

  /**
   * Runs a fixed number of replicas, by a HorizontalPodAutoscaler with this minimum and maximum. It doesn't need the metrics server.
   *
   * @param replicas the number; with 0 the workload has no Deployment, until the scaling is changed
   */
  public static fixed(replicas: number): Autoscaling {
    return new FixedReplicas(replicas);
  }

  /**
   * Makes the scaling. The workload calls it.
   *
   * @param scope the workload, which is the scope of resources
   */
  public abstract bind(scope: Construct, options: AutoscalingBindOptions): AutoscalingConfig;
}

class CpuAutoscaling extends Autoscaling {
  private readonly replicas: Replicas;
  private readonly targetCpuUtilizationPercent: number;

  constructor(options: CpuAutoscalingOptions) {
    super();
    this.replicas = replicasOf(options, 2, 1);
    this.targetCpuUtilizationPercent = options.targetCpuUtilizationPercent ?? 70;
    requireAtLeast('targetCpuUtilizationPercent', this.targetCpuUtilizationPercent, 1);
  }

  public bind(_scope: Construct, options: AutoscalingBindOptions): AutoscalingConfig {
    return {
      manifests: [horizontalPodAutoscaler(options, this.replicas, {
        type: 'Resource',
        resource: { name: 'cpu', target: { type: 'Utilization', averageUtilization: this.targetCpuUtilizationPercent } },
      })],
    };
  }
}

class FixedReplicas extends Autoscaling {
  constructor(private readonly replicas: number) {
    super();
    requireAtLeast('replicas', replicas, 0);
  }

  public bind(_scope: Construct, options: AutoscalingBindOptions): AutoscalingConfig {
    // A number in the Deployment would be 1 for a moment when an autoscaler takes over. So every kind of scaling leaves it out.
    return this.replicas === 0
      ? { stopped: true }
      : { manifests: [horizontalPodAutoscaler(options, { minReplicas: this.replicas, maxReplicas: this.replicas })] };
  }
}
