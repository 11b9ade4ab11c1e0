import type { Duration } from 'aws-cdk-lib';
import type * as acm from 'aws-cdk-lib/aws-certificatemanager';
import type * as lambda from 'aws-cdk-lib/aws-lambda';
import type { Construct, IDependable } from 'constructs';
import type { ApiAuthorizer } from './api-authorizer';
import { KubernetesServices, SharedServiceOptions, KubernetesServiceSettings } from './kubernetes-services';
import { KubernetesJobHost, KubernetesServiceHost } from './private/kubernetes-service-host';
import type { ServiceKind } from './service-kind';
import { coming } from '../private/coming';
import type { EgressRule, IHostedService, KubernetesAccess, KubernetesJobOptions, WorkloadImage } from '../workload';

/**
 * The options with which a pipeline binds a service.
 */
export interface ServiceBindOptions {
  /** The part of the service. */
  readonly kind: ServiceKind;

  /** Environment variables of the service. The variables in the options of the host are added, and win. */
  readonly environment: { [name: string]: string };

  /**
   * TCP ports that the service connects to in addition to HTTPS, such as the database's.
   *
   * @default - none
   */
  readonly egressPorts?: number[];

  /**
   * The addresses of some of the `egressPorts`, where they are known; a port without a rule is one at any address. A host that can't limit
   * addresses ignores the rules.
   *
   * @default - none
   */
  readonly egressRules?: EgressRule[];

  /**
   * The authorization of an API. A host whose program checks the callers adds its `environment` to the environment; a host that checks
   * them itself, such as a gateway, does so; any other host refuses it with an error.
   *
   * @default - unknown: the program decides
   */
  readonly authorizer?: ApiAuthorizer;

  /**
   * The certificate of an API, for the exposure that the host chooses if its options have none.
   *
   * @default - none
   */
  readonly certificate?: acm.ICertificate;

  /**
   * The port of the service, if the options of the host set none.
   *
   * @default - the host's own
   */
  readonly port?: number;

  /**
   * Constructs that have to be deployed before the service starts.
   *
   * @default - none
   */
  readonly dependencies?: IDependable[];
}

/**
 * The host that runs a service of a pipeline. Implement it for a host that `ServiceHost` doesn't have.
 *
 * @subclassable
 */
export interface IServiceHost {
  /**
   * The name of the service in logs and traces.
   *
   * @default - unknown: the service has a name that follows from its id
   */
  readonly serviceName?: string;

  /**
   * Makes the service. It is called once for each service.
   *
   * @param scope the scope of the service
   * @param id its id there
   */
  bindService(scope: Construct, id: string, options: ServiceBindOptions): IHostedService;
}

/**
 * Options of a service on Kubernetes, with its image.
 */
export interface KubernetesServiceOptions extends KubernetesServiceSettings {
  /** The container image. */
  readonly image: WorkloadImage;
}

/**
 * Options of a job on Kubernetes.
 */
export interface KubernetesJobHostOptions extends KubernetesJobOptions {
  /** The container image. */
  readonly image: WorkloadImage;
}

/**
 * Options of an HTTP API in front of a function.
 */
export interface HttpApiOptions {
  /** The routes that the function answers, such as `POST /api/orders`. */
  readonly routes: string[];

  /** The authorization of the routes. */
  readonly authorizer: ApiAuthorizer;
}

/**
 * The hosts of services.
 *
 * @example
 * declare const kubernetes: KubernetesAccess;
 * const image = WorkloadImage.fromDirectory('services');
 *
 * ServiceHost.kubernetes(kubernetes, { image, command: ['node', 'api-write-service.js'], scaling: Autoscaling.cpu({ maxReplicas: 20 }) });
 *
 * // Many services of one image:
 * const services = ServiceHost.kubernetesServices(kubernetes, image);
 * services.run(['node', 'api-write-service.js']);
 */
export abstract class ServiceHost {
  /**
   * Runs the service as a Deployment on Kubernetes.
   *
   * By default, an API has 2 to 10 replicas by CPU, an internal Network Load Balancer, and the port 8080 for probes and metrics. A relay
   * has 2 replicas. Only APIs can be reached.
   *
   * @param kubernetes the cluster
   */
  public static kubernetes(kubernetes: KubernetesAccess, options: KubernetesServiceOptions): IServiceHost {
    return new KubernetesServiceHost(kubernetes, options);
  }

  /**
   * Runs the migration as a Job on Kubernetes.
   *
   * @param kubernetes the cluster
   */
  public static kubernetesJob(kubernetes: KubernetesAccess, options: KubernetesJobHostOptions): IServiceHost {
    return new KubernetesJobHost(kubernetes, options);
  }

  /**
   * Runs all services, jobs and consumers of one image on one cluster.
   *
   * @param kubernetes the cluster
   * @param image the image with all programs
   */
  public static kubernetesServices(
    kubernetes: KubernetesAccess, image: WorkloadImage, options: SharedServiceOptions = {},
  ): KubernetesServices {
    return KubernetesServices._of(kubernetes, image, options);
  }

  /**
   * An HTTP API of Amazon API Gateway in front of a function. It is not available yet and throws an error.
   *
   * @param fn the function that handles the requests
   */
  public static httpApi(fn: lambda.IFunction, options: HttpApiOptions): IServiceHost {
    void [fn, options];
    throw coming('ServiceHost.httpApi()', SERVERLESS, 'run the API by ServiceHost.kubernetes()');
  }

  /**
   * A function that runs at a fixed rate, for the relay. It is not available yet and throws an error.
   *
   * @param fn the function
   * @param every the time between two runs
   */
  public static scheduled(fn: lambda.IFunction, every: Duration): IServiceHost {
    void [fn, every];
    throw coming('ServiceHost.scheduled()', SERVERLESS, 'run the relay by ServiceHost.kubernetes()');
  }

  /**
   * A function that runs in each deployment that changes it, for the migration. It is not available yet and throws an error.
   *
   * @param fn the function
   */
  public static onDeployment(fn: lambda.IFunction): IServiceHost {
    void fn;
    throw coming('ServiceHost.onDeployment()', SERVERLESS, 'run the migration by ServiceHost.kubernetesJob()');
  }
}

const SERVERLESS = 'the serverless system (API Gateway, Lambda, SQS and MySQL)';
