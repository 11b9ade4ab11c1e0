import { KubernetesJobHost, KubernetesServiceHost } from './private/kubernetes-service-host';
import type { IServiceHost } from './service-host';
import { ConsumerTarget, IConsumerTarget, KubernetesConsumerSettings } from '../consumer';
import type {
  Autoscaling, KubernetesAccess, KubernetesContainerOptions, KubernetesJobOptions, KubernetesWorkloadOptions, MetricsAccess,
  ServiceExposure, WorkloadImage,
} from '../workload';

/**
 * Options of a service on Kubernetes, without its image.
 */
export interface KubernetesServiceSettings extends KubernetesWorkloadOptions {
  /**
   * The number of replicas.
   *
   * @default - 2 to 10 replicas at 70 % CPU; 2 of an outbox relay: one works while the other stands by
   */
  readonly scaling?: Autoscaling;

  /**
   * The exposure of the service: who can reach it.
   *
   * @default - an API has an internal Network Load Balancer, another service is not exposed
   */
  readonly exposure?: ServiceExposure;
}

/**
 * Options that all services of one image have in common.
 */
export interface SharedServiceOptions {
  /**
   * Environment variables of all services. The variables of a single service are added, and win.
   *
   * @default - none
   */
  readonly environment?: { [name: string]: string };

  /**
   * The collectors that may read the metrics.
   *
   * @default - none; of services with one port for all, those that can reach it anyway
   */
  readonly metricsAccess?: MetricsAccess[];

  /**
   * Blocks of addresses that all services, jobs and consumers may connect to by HTTPS.
   *
   * @default - any address
   */
  readonly httpsCidrs?: string[];
}

/**
 * Services, jobs and consumers of one image on one cluster. Each has its own command.
 *
 * @example
 * declare const kubernetes: KubernetesAccess;
 * declare const vpc: ec2.IVpc;
 * const services = ServiceHost.kubernetesServices(kubernetes, WorkloadImage.fromDirectory('services'));
 *
 * const pipeline = new EventDrivenOrderPipeline(this, 'Pipeline', {
 *   vpc,
 *   migration: services.job(['node', 'migrate.js']),
 *   commandApi: services.run(['node', 'api-write-service.js']),
 *   outboxRelay: services.run(['node', 'outbox-relay.js']),
 * });
 * pipeline.addConsumer('Inventory', {
 *   events: ['order.created'],
 *   database: DatabaseSide.COMMAND,
 *   target: services.consume(['node', 'inventory-service.js']),
 * });
 */
export class KubernetesServices {
  /** @internal */
  public static _of(kubernetes: KubernetesAccess, image: WorkloadImage, options: SharedServiceOptions): KubernetesServices {
    return new KubernetesServices(kubernetes, image, options);
  }

  private constructor(
    /** The cluster. */
    public readonly kubernetes: KubernetesAccess,
    /** The image with all programs. */
    public readonly image: WorkloadImage,
    private readonly options: SharedServiceOptions,
  ) {
  }

  /**
   * Returns the host of a service that runs all the time.
   *
   * @param program the command of the container with its arguments
   */
  public run(program: string[], options: KubernetesServiceSettings = {}): IServiceHost {
    return new KubernetesServiceHost(this.kubernetes, { ...this.with(program, options), ...this.shared(options) });
  }

  /**
   * Returns the host of a program that runs to its end, such as the migration.
   *
   * @param program the command of the container with its arguments
   */
  public job(program: string[], options: KubernetesJobOptions = {}): IServiceHost {
    return new KubernetesJobHost(this.kubernetes, this.with(program, options));
  }

  /**
   * Returns the target that consumes a queue.
   *
   * @param program the command of the container with its arguments
   */
  public consume(program: string[], options: KubernetesConsumerSettings = {}): IConsumerTarget {
    return ConsumerTarget.kubernetes(this.kubernetes, { ...this.with(program, options), ...this.shared(options) });
  }

  private shared({ metricsAccess }: KubernetesWorkloadOptions) {
    return { metricsAccess: metricsAccess ?? this.options.metricsAccess };
  }

  private with<T extends KubernetesContainerOptions>(program: string[], options: T) {
    if (options.command) {
      throw new Error(`command is given twice, as ${JSON.stringify(program)} and in the options: leave it out of the options`);
    }
    const environment = { ...this.options.environment, ...options.environment };
    return { ...options, image: this.image, command: program, environment, httpsCidrs: options.httpsCidrs ?? this.options.httpsCidrs };
  }
}
