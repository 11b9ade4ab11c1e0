import type { Construct } from 'constructs';

/**
 * Paths that answer 2xx.
 */
export interface HttpProbeOptions {
  /**
   * Answers while the process is worth keeping; otherwise the container is restarted.
   *
   * @default '/livez'
   */
  readonly livenessPath?: string;

  /**
   * Answers while the process takes work; otherwise it gets no connections.
   *
   * @default '/readyz'
   */
  readonly readinessPath?: string;
}

/**
 * The probes of a container, as Kubernetes names them.
 */
export interface WorkloadProbesConfig {
  /**
   * Holds back the other two until the process has started.
   *
   * @default - no probe
   */
  readonly startupProbe?: { [key: string]: unknown };
  /**
   * Restarts the container when it fails.
   *
   * @default - no probe
   */
  readonly livenessProbe?: { [key: string]: unknown };
  /**
   * Takes the pod out of its Service while it fails.
   *
   * @default - no probe
   */
  readonly readinessProbe?: { [key: string]: unknown };
}

/**
 * The workload that is probed.
 */
export interface WorkloadProbesBindOptions {
  /** The port of the container, which probes may also name `http`. */
  readonly port: number;
}

/**
 * How the kubelet asks a container for its health.
 *
 * @subclassable
 */
export abstract class WorkloadProbes {
  /** By HTTP on the workload's port. */
  public static http(options: HttpProbeOptions = {}): WorkloadProbes {
    return new HttpProbes(options);
  }

  /** Not at all: a container is healthy while its process runs. */
  public static none(): WorkloadProbes {
    return new NoProbes();
  }

  /**
   * Called by the workload that is probed.
   *
   * @param scope the workload
   */
  public abstract bind(scope: Construct, options: WorkloadProbesBindOptions): WorkloadProbesConfig;
}

class HttpProbes extends WorkloadProbes {
  constructor(private readonly options: HttpProbeOptions) {
    super();
  }

  public bind(_scope: Construct, _options: WorkloadProbesBindOptions): WorkloadProbesConfig {
    const liveness = { httpGet: { path: this.options.livenessPath ?? '/livez', port: 'http' }, timeoutSeconds: 2 };
    const readiness = { httpGet: { path: this.options.readinessPath ?? '/readyz', port: 'http' }, timeoutSeconds: 2 };
    return {
      // A slow start (one minute) isn't a hang (half a minute).
      startupProbe: { ...liveness, periodSeconds: 2, failureThreshold: 30 },
      livenessProbe: { ...liveness, periodSeconds: 10, failureThreshold: 3 },
      readinessProbe: { ...readiness, periodSeconds: 5, failureThreshold: 2 },
    };
  }
}

class NoProbes extends WorkloadProbes {
  public bind(_scope: Construct, _options: WorkloadProbesBindOptions): WorkloadProbesConfig {
    return {};
  }
}
