import type { Construct } from 'constructs';
import { horizontalPodAutoscaler } from './private/horizontal-pod-autoscaler';
import { Replicas, replicasOf, requireAtLeast } from './private/replicas';

/**
 * Replicas by CPU.
 */
export interface CpuAutoscalingOptions {
  /**
   * How many replicas run at least, also when nothing is to do.
   *
   * @default 2
   */
  readonly minReplicas?: number;

  /**
   * How many replicas run at most.
   *
   * @default - 10, or `minReplicas` if that is more
   */
  readonly maxReplicas?: number;

  /**
   * The average CPU use that the autoscaler aims at, in percent of what a pod requests.
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
 * How a Deployment is scaled.
 */
export interface AutoscalingConfig {
  /**
   * The replica count that the Deployment states.
   *
   * @default - none: an autoscaler owns it, and a number here would reset it at every deployment
   */
  readonly replicas?: number;

  /**
   * What is applied beside the Deployment.
   *
   * @default - nothing
   */
  readonly manifests?: { [key: string]: unknown }[];
}

/**
 * How many replicas a workload runs.
 *
 * @subclassable
 */
export abstract class Autoscaling {
  /**
   * A HorizontalPodAutoscaler on CPU. The cluster needs the `metrics-server` add-on.
   */
  public static cpu(options: CpuAutoscalingOptions = {}): Autoscaling {
    return new CpuAutoscaling(options);
  }

  /** Always the same number of replicas. */
  public static fixed(replicas: number): Autoscaling {
    return new FixedReplicas(replicas);
  }

  /**
   * Called by the workload that is scaled.
   *
   * @param scope the workload, in which resources may be made
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

  public bind(_scope: Construct, _options: AutoscalingBindOptions): AutoscalingConfig {
    return { replicas: this.replicas };
  }
}
