import { Duration } from 'aws-cdk-lib';
import type { Construct } from 'constructs';
import { invalid } from '../private/validation';

/**
 * Options of an internal Network Load Balancer.
 */
export interface InternalNetworkLoadBalancerOptions {
  /**
   * The class, which selects the controller that makes the load balancer: `eks.amazonaws.com/nlb` is EKS Auto Mode,
   * `service.k8s.aws/nlb` the AWS Load Balancer Controller.
   *
   * Kubernetes doesn't let the class of a Service change: a deployment that changes it fails.
   *
   * @default - the `loadBalancerClass` of the `KubernetesAccess`, which follows from the kind of the cluster
   */
  readonly loadBalancerClass?: string;

  /**
   * Annotations of the Service for other features of the controller (TLS, subnets, security groups).
   *
   * @default - internal scheme, pods as targets, `/readyz` as health check
   * @see https://docs.aws.amazon.com/eks/latest/userguide/auto-configure-nlb.html
   */
  readonly annotations?: { [key: string]: string };

  /**
   * Attributes of the load balancer, such as `access_logs.s3.enabled` or `load_balancing.cross_zone.enabled`.
   *
   * @default - those of Elastic Load Balancing
   * @see https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_LoadBalancerAttribute.html
   */
  readonly loadBalancerAttributes?: { [key: string]: string };

  /**
   * Attributes of the target group, such as `preserve_client_ip.enabled`.
   *
   * @default - those of Elastic Load Balancing
   * @see https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_TargetGroupAttribute.html
   */
  readonly targetGroupAttributes?: { [key: string]: string };

  /**
   * The time for which a pod that is replaced continues to serve, until the load balancer has stopped sending to it. In whole seconds.
   *
   * A Network Load Balancer takes at least two minutes to stop sending connections to a pod that was removed from its targets.
   *
   * @default Duration.minutes(2)
   * @see https://github.com/kubernetes-sigs/aws-load-balancer-controller/issues/2366
   */
  readonly drainTime?: Duration;
}

/**
 * The kind of address of a workload.
 */
export enum ServiceAddressKind {
  /** No address: the workload has no Service. */
  NONE = 'NONE',

  /** The name of its Service, from inside the cluster. */
  CLUSTER_INTERNAL = 'CLUSTER_INTERNAL',

  /** The host name of a load balancer, which is known after the load balancer is made. */
  LOAD_BALANCER = 'LOAD_BALANCER',
}

/**
 * The options with which an exposure is bound.
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
  /**
   * The class of load balancers in the cluster.
   *
   * @default - unknown
   */
  readonly loadBalancerClass?: string;
  /**
   * The path of the readiness probe, which a load balancer uses, too.
   *
   * @default - the container is not probed by HTTP
   */
  readonly healthCheckPath?: string;
}

/**
 * The result of binding an exposure.
 */
export interface ServiceExposureConfig {
  /**
   * The manifests that are applied with the Deployment.
   *
   * @default - none
   */
  readonly manifests?: { [key: string]: unknown }[];

  /**
   * The sources of connections to the pods: the `from` of a NetworkPolicy's ingress rule. An empty list means all sources.
   *
   * @default - none
   */
  readonly ingressFrom?: { [key: string]: unknown }[];

  /**
   * The time for which callers may still reach a pod that is being stopped. It sleeps that long before its process gets SIGTERM.
   *
   * @default - 15 seconds if the pods accept connections
   */
  readonly drainTime?: Duration;

  /**
   * The kind of address of the workload.
   *
   * @default ServiceAddressKind.NONE
   */
  readonly addressKind?: ServiceAddressKind;
}

/**
 * The exposure of the port of a workload. No exposure is reachable from the internet.
 *
 * @subclassable
 */
export abstract class ServiceExposure {
  /**
   * Makes an internal Network Load Balancer in front of the pods, reachable from the VPC and from networks that are connected to it.
   *
   * It needs subnets with the tag `kubernetes.io/role/internal-elb` = `1`, and a controller that makes it: EKS Auto Mode has one built in,
   * other clusters need the AWS Load Balancer Controller.
   *
   * A rolling update loses no request only if the namespace has the readiness gates of the load balancer switched on, as
   * `KubernetesPrerequisites` does. Otherwise new pods count as ready before the load balancer knows them. AWS measured 127 seconds
   * without an answer, with two replicas.
   *
   * @see https://aws.amazon.com/cn/blogs/china/use-the-readiness-gate-to-solve-the-service-interruption-caused-by-the-rolling-upgrade-of-eks-pod/
   */
  public static internalNetworkLoadBalancer(options: InternalNetworkLoadBalancerOptions = {}): ServiceExposure {
    return new InternalNetworkLoadBalancer(options);
  }

  /** Makes a Service with an address inside the cluster, reachable from every pod of the cluster. */
  public static clusterInternal(): ServiceExposure {
    return new ClusterInternal();
  }

  /** Makes no Service: only probes of the kubelet, and clients that another NetworkPolicy allows, reach the pods. */
  public static none(): ServiceExposure {
    return new NotExposed();
  }

  /**
   * Makes the exposure. The workload calls it.
   *
   * @param scope the workload, which is the scope of resources
   */
  public abstract bind(scope: Construct, options: ServiceExposureBindOptions): ServiceExposureConfig;
}

/** Time for the cluster's nodes to learn that a pod is no longer behind its Service. */
const CLUSTER_DRAIN = Duration.seconds(15);

const ANNOTATION = 'service.beta.kubernetes.io/aws-load-balancer';

class InternalNetworkLoadBalancer extends ServiceExposure {
  private readonly drainTime: Duration;
  private readonly annotations: { [key: string]: string };

  constructor(private readonly options: InternalNetworkLoadBalancerOptions) {
    super();
    this.drainTime = options.drainTime ?? Duration.minutes(2);
    if (this.drainTime.isUnresolved() || this.drainTime.toMilliseconds() < 1000 || this.drainTime.toMilliseconds() % 1000 !== 0) {
      throw new Error(`drainTime must be known at synthesis and whole seconds, at least one; got ${this.drainTime.toString()}`);
    }
    this.annotations = {
      ...attributes('attributes', 'loadBalancerAttributes', options.loadBalancerAttributes, options.annotations),
      ...attributes('target-group-attributes', 'targetGroupAttributes', options.targetGroupAttributes, options.annotations),
    };
  }

  public bind(scope: Construct, bind: ServiceExposureBindOptions): ServiceExposureConfig {
    const loadBalancerClass = this.options.loadBalancerClass ?? bind.loadBalancerClass;
    if (loadBalancerClass === undefined) {
      throw invalid(scope, 'which controller makes the load balancer is not known: set loadBalancerClass of the KubernetesAccess,'
        + ' or of ServiceExposure.internalNetworkLoadBalancer(), to \'eks.amazonaws.com/nlb\' (EKS Auto Mode) or \'service.k8s.aws/nlb\''
        + ' (AWS Load Balancer Controller)');
    }
    return {
      manifests: [service(bind, { type: 'LoadBalancer', loadBalancerClass }, {
        [`${ANNOTATION}-scheme`]: 'internal',
        [`${ANNOTATION}-nlb-target-type`]: 'ip',
        [`${ANNOTATION}-healthcheck-port`]: 'traffic-port',
        ...healthCheck(bind.healthCheckPath),
        ...this.annotations,
        ...this.options.annotations,
      })],
      // Clients keep their address through the load balancer, so any address of the VPC may connect;
      // the load balancer is internal and its security group decides.
      ingressFrom: [],
      drainTime: this.drainTime,
      addressKind: ServiceAddressKind.LOAD_BALANCER,
    };
  }
}

/** A container without HTTP probes is healthy while it accepts connections. */
function healthCheck(path?: string): { [key: string]: string } {
  return path === undefined
    ? { [`${ANNOTATION}-healthcheck-protocol`]: 'tcp' }
    : { [`${ANNOTATION}-healthcheck-protocol`]: 'http', [`${ANNOTATION}-healthcheck-path`]: path };
}

class ClusterInternal extends ServiceExposure {
  public bind(_scope: Construct, bind: ServiceExposureBindOptions): ServiceExposureConfig {
    return {
      manifests: [service(bind, { type: 'ClusterIP' })],
      ingressFrom: [{ namespaceSelector: {} }],
      drainTime: CLUSTER_DRAIN,
      addressKind: ServiceAddressKind.CLUSTER_INTERNAL,
    };
  }
}

class NotExposed extends ServiceExposure {
  public bind(_scope: Construct, _options: ServiceExposureBindOptions): ServiceExposureConfig {
    return {};
  }
}

/** Returns the annotation for a list of attributes, if there are any. */
function attributes(suffix: string, prop: string, values: { [key: string]: string } = {}, annotations: { [key: string]: string } = {}) {
  const entries = Object.entries(values);
  if (entries.length === 0) { return {}; }
  const annotation = `${ANNOTATION}-${suffix}`;
  if (annotation in annotations) {
    throw new Error(`${prop} and the annotation ${annotation} have the same meaning: give one of them`);
  }
  for (const [key, value] of entries) {
    if (/[,=]/.test(key) || value.includes(',')) {
      throw new Error(`${prop} becomes a list of key=value, separated by commas: '${key}' = '${value}' has a character of those in it`);
    }
  }
  return { [annotation]: entries.map(([key, value]) => `${key}=${value}`).join(',') };
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
