import { Annotations, Duration } from 'aws-cdk-lib';
import type * as acm from 'aws-cdk-lib/aws-certificatemanager';
import type { Construct } from 'constructs';
import { invalid } from '../private/validation';

/**
 * Options of an internal Network Load Balancer.
 */
export interface InternalNetworkLoadBalancerOptions {
  /**
   * The certificate with which the load balancer speaks TLS 1.2 and 1.3 with clients, on port 443. To the pods it speaks plain HTTP, inside
   * the VPC.
   *
   * The certificate is for a name of yours: let this name be an alias of the load balancer.
   *
   * @default - no TLS: a warning, unless `plaintext` is set
   */
  readonly certificate?: acm.ICertificate;

  /**
   * True if clients speak plain HTTP with the load balancer, on the port of the workload: everybody on the way can read tokens and bodies.
   *
   * @default false
   */
  readonly plaintext?: boolean;

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
   * Annotations of the Service for other features of the controller (subnets, security groups).
   *
   * @default - internal scheme, pods as targets, a health check on the port that gets the requests
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
  /** The port of the pods that answers requests, which has the name `http`. */
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
   * @default - the container is not probed by HTTP, or on its management port, which no load balancer can reach
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

  /**
   * True if clients reach the address by HTTPS, on port 443.
   *
   * @default false - by HTTP, on the port of the workload
   */
  readonly tls?: boolean;
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
   * With a `certificate`, clients reach it by TLS on port 443. Without one, it is a warning that its traffic can be read, or `plaintext`.
   *
   * Its health check is a request for the path of the readiness probe if the pods answer that on the same port; with a management port it
   * is a connection. That is enough: the controller registers a pod only while its containers are ready.
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

/** The policy that AWS recommends: TLS 1.3 and 1.2. Without one, a listener accepts TLS 1.0. */
const TLS_POLICY = 'ELBSecurityPolicy-TLS13-1-2-2021-06';

class InternalNetworkLoadBalancer extends ServiceExposure {
  private readonly drainTime: Duration;
  private readonly annotations: { [key: string]: string };

  constructor(private readonly options: InternalNetworkLoadBalancerOptions) {
    super();
    this.drainTime = options.drainTime ?? Duration.minutes(2);
    if (this.drainTime.isUnresolved() || this.drainTime.toMilliseconds() < 1000 || this.drainTime.toMilliseconds() % 1000 !== 0) {
      throw new Error(`drainTime must be known at synthesis and whole seconds, at least one; got ${this.drainTime.toString()}`);
    }
    const { certificate, plaintext, annotations = {} } = options;
    if (certificate && plaintext) { throw new Error('certificate and plaintext can\'t be given together: choose one'); }
    if (certificate && `${ANNOTATION}-ssl-cert` in annotations) {
      throw new Error(`certificate and the annotation ${ANNOTATION}-ssl-cert have the same meaning: give one of them`);
    }
    this.annotations = {
      ...certificate && {
        [`${ANNOTATION}-ssl-cert`]: certificate.certificateArn,
        [`${ANNOTATION}-ssl-ports`]: '443',
        [`${ANNOTATION}-ssl-negotiation-policy`]: TLS_POLICY,
      },
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
    const { certificate, plaintext, annotations } = this.options;
    if (!certificate && !plaintext && !(`${ANNOTATION}-ssl-cert` in (annotations ?? {}))) {
      Annotations.of(scope).addWarningV2('cdk-order-pipeline:apiWithoutTls', 'The load balancer has no certificate, so everybody on the way can '
        + 'read requests and tokens: give certificate to the pipeline, or to ServiceExposure.internalNetworkLoadBalancer() if you choose the '
        + 'exposure; or say plaintext: true there');
    }
    const tls = certificate !== undefined;
    return {
      manifests: [service(bind, { type: 'LoadBalancer', loadBalancerClass }, tls, {
        [`${ANNOTATION}-scheme`]: 'internal',
        [`${ANNOTATION}-nlb-target-type`]: 'ip',
        [`${ANNOTATION}-healthcheck-port`]: 'traffic-port',
        ...healthCheck(bind.healthCheckPath),
        ...this.annotations,
        ...annotations,
      })],
      // Clients keep their address through the load balancer, so any address of the VPC may connect;
      // the load balancer is internal and its security group decides.
      ingressFrom: [],
      drainTime: this.drainTime,
      addressKind: ServiceAddressKind.LOAD_BALANCER,
      tls,
    };
  }
}

/** A container without HTTP probes on this port is healthy while it accepts connections. */
function healthCheck(path?: string): { [key: string]: string } {
  return path === undefined
    ? { [`${ANNOTATION}-healthcheck-protocol`]: 'tcp' }
    : { [`${ANNOTATION}-healthcheck-protocol`]: 'http', [`${ANNOTATION}-healthcheck-path`]: path };
}

class ClusterInternal extends ServiceExposure {
  public bind(_scope: Construct, bind: ServiceExposureBindOptions): ServiceExposureConfig {
    return {
      manifests: [service(bind, { type: 'ClusterIP' }, false)],
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

function service(
  bind: ServiceExposureBindOptions, spec: { [key: string]: unknown }, tls: boolean, annotations?: { [key: string]: string },
) {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: bind.serviceName, namespace: bind.namespace, annotations },
    spec: {
      ...spec,
      selector: bind.selector,
      ports: [{ ...tls ? { name: 'https', port: 443 } : { name: 'http', port: bind.port }, targetPort: 'http', protocol: 'TCP' }],
    },
  };
}
