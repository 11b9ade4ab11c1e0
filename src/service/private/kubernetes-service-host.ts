import type { Construct } from 'constructs';
import { invalid } from '../../private/validation';
import { Autoscaling, IHostedService, KubernetesAccess, KubernetesJob, KubernetesWorkload, ServiceExposure } from '../../workload';
import type { IServiceHost, KubernetesJobHostOptions, KubernetesServiceOptions, ServiceBindOptions } from '../service-host';
import { ServiceKind } from '../service-kind';

/** A service as a Deployment. */
export class KubernetesServiceHost implements IServiceHost {
  constructor(private readonly kubernetes: KubernetesAccess, private readonly options: KubernetesServiceOptions) {
  }

  public bindService(scope: Construct, id: string, options: ServiceBindOptions): IHostedService {
    const { kind, port, environment, egressPorts, dependencies } = options;
    if (kind === ServiceKind.MIGRATION) {
      throw invalid(scope, 'migration runs to its end, but a Deployment runs all the time: use ServiceHost.kubernetesJob(), or job() of the '
        + 'services of one image');
    }
    const workload = new KubernetesWorkload(scope, id, {
      ...this.options,
      kubernetes: this.kubernetes,
      port: this.options.port ?? port,
      exposure: this.options.exposure ?? (kind === ServiceKind.API ? ServiceExposure.internalNetworkLoadBalancer() : undefined),
      scaling: this.options.scaling ?? (kind === ServiceKind.RELAY ? Autoscaling.fixed(2) : undefined),
      environment: { ...environment, ...this.options.environment },
      egressPorts: [...egressPorts ?? [], ...this.options.egressPorts ?? []],
    });
    workload.manifest.node.addDependency(...dependencies ?? []);
    return workload;
  }
}

/** The exit code of a migration that can't work with its database, however often it is tried (`EX_DATAERR` of sysexits). */
const UNFIT_DATABASE = 65;

/** A migration as a Job. */
export class KubernetesJobHost implements IServiceHost {
  constructor(private readonly kubernetes: KubernetesAccess, private readonly options: KubernetesJobHostOptions) {
  }

  public bindService(scope: Construct, id: string, { kind, environment, egressPorts, dependencies }: ServiceBindOptions): IHostedService {
    if (kind !== ServiceKind.MIGRATION) {
      throw invalid(scope, `${id} runs all the time, but a Job runs to its end: use ServiceHost.kubernetes(), or run() of the services of one image`);
    }
    const job = new KubernetesJob(scope, id, {
      ...this.options,
      kubernetes: this.kubernetes,
      environment: { ...environment, ...this.options.environment },
      egressPorts: [...egressPorts ?? [], ...this.options.egressPorts ?? []],
      failFastExitCodes: this.options.failFastExitCodes ?? [UNFIT_DATABASE],
    });
    job.manifest.node.addDependency(...dependencies ?? []);
    return job;
  }
}
