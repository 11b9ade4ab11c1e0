import { Token } from 'aws-cdk-lib';

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
  readonly targetUtilizationPercent?: number;
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

  /** Called by the workload that is scaled. */
  public abstract bind(options: AutoscalingBindOptions): AutoscalingConfig;
}

class CpuAutoscaling extends Autoscaling {
  private readonly minReplicas: number;
  private readonly maxReplicas: number;
  private readonly targetUtilizationPercent: number;

  constructor(options: CpuAutoscalingOptions) {
    super();
    this.minReplicas = options.minReplicas ?? 2;
    this.maxReplicas = options.maxReplicas ?? Math.max(10, this.minReplicas);
    this.targetUtilizationPercent = options.targetUtilizationPercent ?? 70;
    requireAtLeast('minReplicas', this.minReplicas, 1);
    requireAtLeast('maxReplicas', this.maxReplicas, 1);
    requireAtLeast('targetUtilizationPercent', this.targetUtilizationPercent, 1);
    if (!Token.isUnresolved(this.minReplicas) && !Token.isUnresolved(this.maxReplicas) && this.maxReplicas < this.minReplicas) {
      throw new Error(`maxReplicas (${this.maxReplicas}) must not be less than minReplicas (${this.minReplicas})`);
    }
  }

  public bind(options: AutoscalingBindOptions): AutoscalingConfig {
    return {
      manifests: [{
        apiVersion: 'autoscaling/v2',
        kind: 'HorizontalPodAutoscaler',
        metadata: { name: options.deploymentName, namespace: options.namespace },
        spec: {
          scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: options.deploymentName },
          minReplicas: this.minReplicas,
          maxReplicas: this.maxReplicas,
          metrics: [{
            type: 'Resource',
            resource: { name: 'cpu', target: { type: 'Utilization', averageUtilization: this.targetUtilizationPercent } },
          }],
        },
      }],
    };
  }
}

class FixedReplicas extends Autoscaling {
  constructor(private readonly replicas: number) {
    super();
    requireAtLeast('replicas', replicas, 0);
  }

  public bind(_options: AutoscalingBindOptions): AutoscalingConfig {
    return { replicas: this.replicas };
  }
}

function requireAtLeast(name: string, value: number, least: number) {
  if (!Token.isUnresolved(value) && !(Number.isInteger(value) && value >= least)) {
    throw new Error(`${name} must be a whole number of at least ${least}, got ${value}`);
  }
}
