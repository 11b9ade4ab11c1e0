import type { Construct } from 'constructs';

/**
 * Options of HTTP probes: paths that answer with a status of 2xx.
 */
export interface HttpProbeOptions {
  /**
   * The path of the liveness and the startup probe. If it doesn't answer, the container is restarted.
   *
   * @default '/livez'
   */
  readonly livenessPath?: string;

  /**
   * The path of the readiness probe. While it doesn't answer, the pod gets no connections.
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
   * The startup probe. The other two probes begin after it has succeeded.
   *
   * @default - no probe
   */
  readonly startupProbe?: { [key: string]: unknown };
  /**
   * The liveness probe. The container is restarted when it fails.
   *
   * @default - no probe
   */
  readonly livenessProbe?: { [key: string]: unknown };
  /**
   * The readiness probe. The pod is removed from its Service while it fails.
   *
   * @default - no probe
   */
  readonly readinessProbe?: { [key: string]: unknown };
}

/**
 * The options with which probes are bound.
 */
export interface WorkloadProbesBindOptions {
  /** The port of the container that answers probes. */
  readonly port: number;

  /**
   * The name of that port: `management` if it is not the port of the API.
   *
   * @default 'http'
   */
  readonly portName?: string;
}

/**
 * The health probes of a container.
 *
 * @subclassable
 */
export abstract class WorkloadProbes {
  /** Probes by HTTP on the management port of the workload, or on its only port. */
  public static http(options: HttpProbeOptions = {}): WorkloadProbes {
    return new HttpProbes(options);
  }

  /** No probes: a container is healthy while its process runs. */
  public static none(): WorkloadProbes {
    return new NoProbes();
  }

  /**
   * Returns the probes. The workload calls it.
   *
   * @param scope the workload
   */
  public abstract bind(scope: Construct, options: WorkloadProbesBindOptions): WorkloadProbesConfig;
}

class HttpProbes extends WorkloadProbes {
  constructor(private readonly options: HttpProbeOptions) {
    super();
  }

  public bind(_scope: Construct, { portName: port = 'http' }: WorkloadProbesBindOptions): WorkloadProbesConfig {
    const liveness = { httpGet: { path: this.options.livenessPath ?? '/livez', port }, timeoutSeconds: 2 };
    const readiness = { httpGet: { path: this.options.readinessPath ?? '/readyz', port }, timeoutSeconds: 2 };
    return {
      // A start may take a minute; a running process is restarted after half a minute.
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
