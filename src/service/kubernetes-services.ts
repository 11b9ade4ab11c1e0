import { KubernetesJobHost, KubernetesServiceHost } from './private/kubernetes-service-host';
import type { IServiceHost } from './service-host';
import { ConsumerTarget, IConsumerTarget, KubernetesConsumerSettings } from '../consumer';
import type {
  Autoscaling, KubernetesAccess, KubernetesContainerOptions, KubernetesJobOptions, KubernetesWorkloadOptions, MetricsAccess,
  ServiceExposure, WorkloadImage,
} from '../workload';

/**
 * What a service on Kubernetes can be given, beside its image.
 */
export interface KubernetesServiceSettings extends KubernetesWorkloadOptions {
  /**
   * How many replicas run.
   *
   * @default - 2 to 10 replicas at 70 % CPU; an outbox relay, of which one works while the other stands by, 2
   */
  readonly scaling?: Autoscaling;

  /**
   * Who can reach the service.
   *
   * @default - an API by an internal Network Load Balancer, another service by nobody
   */
  readonly exposure?: ServiceExposure;
}

/**
 * What all services of one image have in common.
 */
export interface SharedServiceOptions {
  /**
   * Environment variables of all of them. Those of a single service come on top.
   *
   * @default - none
   */
  readonly environment?: { [name: string]: string };

  /**
   * From where metrics are collected.
   *
   * @default - from where the service can be reached at all
   */
  readonly metricsAccess?: MetricsAccess[];
}

/**
 * Services, jobs and consumers of one image on one cluster, each by its command.
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
   * A service that runs all the time.
   *
   * @param program the command of the container with its arguments
   */
  public run(program: string[], options: KubernetesServiceSettings = {}): IServiceHost {
    return new KubernetesServiceHost(this.kubernetes, { ...this.with(program, options), ...this.shared(options) });
  }

  /**
   * A program that runs to its end, such as the migration.
   *
   * @param program the command of the container with its arguments
   */
  public job(program: string[], options: KubernetesJobOptions = {}): IServiceHost {
    return new KubernetesJobHost(this.kubernetes, this.with(program, options));
  }

  /**
   * A consumer of a queue.
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
    return { ...options, image: this.image, command: program, environment: { ...this.options.environment, ...options.environment } };
  }
}
