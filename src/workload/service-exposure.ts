/**
 * An internal Network Load Balancer.
 */
export interface InternalNetworkLoadBalancerOptions {
  /**
   * Which controller makes the load balancer: `eks.amazonaws.com/nlb` is EKS Auto Mode,
   * `service.k8s.aws/nlb` the AWS Load Balancer Controller.
   *
   * @default 'eks.amazonaws.com/nlb'
   */
  readonly loadBalancerClass?: string;

  /**
   * Annotations of the Service, for what the controller can do besides (TLS, access logs, security groups).
   *
   * @default - internal scheme, pods as targets, `/readyz` as health check
   */
  readonly annotations?: { [key: string]: string };
}

/**
 * The workload that is exposed.
 */
export interface ServiceExposureBindOptions {
  /** The name of the Service and the Deployment. */
  readonly serviceName: string;
  /** The namespace of the Service. */
  readonly namespace: string;
  /** The labels that select the pods. */
  readonly selector: { [key: string]: string };
  /** The port of the pods, which is the port of the Service too. */
  readonly port: number;
}

/**
 * How a workload is exposed.
 */
export interface ServiceExposureConfig {
  /**
   * What is applied beside the Deployment.
   *
   * @default - nothing
   */
  readonly manifests?: { [key: string]: unknown }[];

  /**
   * From where pods take connections: the `from` of a NetworkPolicy's ingress rule. An empty list is anywhere.
   *
   * @default - from nowhere
   */
  readonly ingressFrom?: { [key: string]: unknown }[];
}

/**
 * Who can reach the port of a workload. Nothing here is reachable from the internet.
 */
export abstract class ServiceExposure {
  /**
   * An internal Network Load Balancer in front of the pods: reachable from the VPC and what is connected to it.
   */
  public static internalNetworkLoadBalancer(options: InternalNetworkLoadBalancerOptions = {}): ServiceExposure {
    return new InternalNetworkLoadBalancer(options);
  }

  /** A Service with an address inside the cluster: reachable from every pod of the cluster. */
  public static clusterInternal(): ServiceExposure {
    return new ClusterInternal();
  }

  /** No Service: only the kubelet's probes, and what another NetworkPolicy allows, reach the pods. */
  public static none(): ServiceExposure {
    return new NotExposed();
  }

  /** Called by the workload that is exposed. */
  public abstract bind(options: ServiceExposureBindOptions): ServiceExposureConfig;
}

class InternalNetworkLoadBalancer extends ServiceExposure {
  constructor(private readonly options: InternalNetworkLoadBalancerOptions) {
    super();
  }

  public bind(bind: ServiceExposureBindOptions): ServiceExposureConfig {
    const prefix = 'service.beta.kubernetes.io/aws-load-balancer';
    return {
      manifests: [service(bind, {
        type: 'LoadBalancer',
        loadBalancerClass: this.options.loadBalancerClass ?? 'eks.amazonaws.com/nlb',
      }, {
        [`${prefix}-scheme`]: 'internal',
        [`${prefix}-nlb-target-type`]: 'ip',
        [`${prefix}-healthcheck-protocol`]: 'http',
        [`${prefix}-healthcheck-port`]: 'traffic-port',
        [`${prefix}-healthcheck-path`]: '/readyz',
        ...this.options.annotations,
      })],
      // Clients keep their address through the load balancer, so anything of the VPC may show up here;
      // the load balancer is internal and its security group decides.
      ingressFrom: [],
    };
  }
}

class ClusterInternal extends ServiceExposure {
  public bind(bind: ServiceExposureBindOptions): ServiceExposureConfig {
    return {
      manifests: [service(bind, { type: 'ClusterIP' })],
      ingressFrom: [{ namespaceSelector: {} }],
    };
  }
}

class NotExposed extends ServiceExposure {
  public bind(_options: ServiceExposureBindOptions): ServiceExposureConfig {
    return {};
  }
}

function service(bind: ServiceExposureBindOptions, spec: { [key: string]: unknown }, annotations?: { [key: string]: string }) {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: bind.serviceName, namespace: bind.namespace, annotations },
    spec: {
      ...spec,
      selector: bind.selector,
      ports: [{ name: 'http', port: bind.port, targetPort: 'http', protocol: 'TCP' }],
    },
  };
}
