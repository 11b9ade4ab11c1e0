import { Annotations } from 'aws-cdk-lib';
import type { Construct } from 'constructs';
import { limitedEgress } from '../../private/egress';
import { invalid } from '../../private/validation';
import { Autoscaling, IHostedService, KubernetesAccess, KubernetesJob, KubernetesWorkload, ServiceExposure } from '../../workload';
import type { ApiAuthorizer } from '../api-authorizer';
import type { IServiceHost, KubernetesJobHostOptions, KubernetesServiceOptions, ServiceBindOptions } from '../service-host';
import { ServiceKind } from '../service-kind';

/** A service as a Deployment. */
export class KubernetesServiceHost implements IServiceHost {
  public readonly serviceName?: string;

  constructor(private readonly kubernetes: KubernetesAccess, private readonly options: KubernetesServiceOptions) {
    this.serviceName = options.serviceName;
  }

  public bindService(scope: Construct, id: string, options: ServiceBindOptions): IHostedService {
    const { kind, authorizer, certificate, dependencies } = options;
    if (kind === ServiceKind.MIGRATION) {
      throw invalid(scope, 'migration runs to its end, but a Deployment runs all the time: use ServiceHost.kubernetesJob(), or job() of the '
        + 'services of one image');
    }
    if (authorizer?._kind === 'IAM') {
      throw invalid(scope, `ApiAuthorizer.iam() of ${id} needs a host that checks the signatures of AWS, and nothing in front of pods does: use `
        + 'ApiAuthorizer.jwt(), whose tokens the program checks');
    }
    const port = this.options.port ?? options.port;
    const isApi = kind === ServiceKind.API;
    const egress = limitedEgress(options, this.options);
    const workload = new KubernetesWorkload(scope, id, {
      ...this.options,
      ...egress,
      egressPorts: [...egress.egressPorts, ...portsOfKeys(authorizer)],
      kubernetes: this.kubernetes,
      port,
      managementPort: this.options.managementPort ?? (isApi ? defaultManagementPort(scope, id, port) : undefined),
      exposure: this.options.exposure ?? (isApi ? ServiceExposure.internalNetworkLoadBalancer({ certificate }) : undefined),
      scaling: this.options.scaling ?? (kind === ServiceKind.RELAY ? Autoscaling.fixed(2) : undefined),
      environment: { ...authorizer?.environment, ...options.environment, ...this.options.environment },
    });
    workload.manifest.node.addDependency(...dependencies ?? []);
    if (this.options.httpsCidrs) { this.warnOfLimits(workload, authorizer); }
    return workload;
  }

  private warnOfLimits(workload: KubernetesWorkload, authorizer?: ApiAuthorizer): void {
    if (authorizer?._kind !== 'JWT' || portsOfKeys(authorizer).length > 0) { return; }
    Annotations.of(workload).addWarningV2('cdk-order-pipeline:issuerBehindHttpsCidrs',
      'httpsCidrs limits the addresses that the API reaches by HTTPS, and it reads the keys of the issuer there: give httpsCidrs the addresses of the '
      + 'issuer, too, and acknowledge this; otherwise the API never becomes ready');
  }
}

/** HTTPS is open anyway. */
function portsOfKeys(authorizer?: ApiAuthorizer): number[] {
  const port = authorizer?._keysPort;
  return port === undefined || port === 443 ? [] : [port];
}

/** The port of probes and metrics of an API, which is not the one that its clients reach. */
function defaultManagementPort(scope: Construct, id: string, port = DEFAULT_PORT): number {
  if (port === DEFAULT_PORT) {
    throw invalid(scope, `port of ${id} is ${DEFAULT_PORT}, the default port of its probes and metrics: give another port, or managementPort; with `
      + 'the same number there, clients of the API reach its metrics');
  }
  return DEFAULT_PORT;
}

const DEFAULT_PORT = 8080;

/** The exit code of a migration that can't work with its database, however often it is tried (`EX_DATAERR` of sysexits). */
const UNFIT_DATABASE = 65;

/** A migration as a Job. */
export class KubernetesJobHost implements IServiceHost {
  public readonly serviceName?: string;

  constructor(private readonly kubernetes: KubernetesAccess, private readonly options: KubernetesJobHostOptions) {
    this.serviceName = options.serviceName;
  }

  public bindService(scope: Construct, id: string, options: ServiceBindOptions): IHostedService {
    const { kind, environment, dependencies } = options;
    if (kind !== ServiceKind.MIGRATION) {
      throw invalid(scope, `${id} runs all the time, but a Job runs to its end: use ServiceHost.kubernetes(), or run() of the services of one image`);
    }
    const job = new KubernetesJob(scope, id, {
      ...this.options,
      ...limitedEgress(options, this.options),
      kubernetes: this.kubernetes,
      environment: { ...environment, ...this.options.environment },
      failFastExitCodes: this.options.failFastExitCodes ?? [UNFIT_DATABASE],
    });
    job.manifest.node.addDependency(...dependencies ?? []);
    return job;
  }
}
