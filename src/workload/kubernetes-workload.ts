import { Duration, Tokenization } from 'aws-cdk-lib';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as eks from 'aws-cdk-lib/aws-eks';
import * as iam from 'aws-cdk-lib/aws-iam';
import { propertyInjectable } from 'aws-cdk-lib/core/lib/prop-injectable';
import { Construct } from 'constructs';
import { Autoscaling } from './autoscaling';
import { IHostedService } from './hosted-service';
import { KubernetesAccess } from './kubernetes-access';
import { KubernetesContainerOptions } from './kubernetes-container-options';
import { MetricsAccess } from './metrics-access';
import { KubernetesPod } from './private/kubernetes-pod';
import type { Manifest } from './private/manifest';
import { applyObjects, labelled } from './private/objects';
import { ServiceAddressKind, ServiceExposure } from './service-exposure';
import { WorkloadImage } from './workload-image';
import { WorkloadProbes } from './workload-probes';
import { invalid, requireDuration } from '../private/validation';

/** The time for which a stopping pod with connections continues to serve, if the exposure sets none. */
const DRAIN_TIME = Duration.seconds(15);

/** The time in which a process can finish its work after the last call. */
const STOP_TIME = Duration.seconds(30);

const DEFAULT_ROLLOUT_TIMEOUT = Duration.minutes(10);

/** The function that reads from the cluster has 15 minutes, and needs some of them to log in. */
const MAX_ROLLOUT_TIMEOUT = Duration.minutes(14);

/**
 * The reason of the condition `Progressing` while all pods are of the newest version and available. It counts only when the controller has
 * seen this version.
 *
 * @see https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#complete-deployment
 */
const ROLLED_OUT = '.items[?(@.metadata.generation==@.status.observedGeneration)].status.conditions[?(@.reason=="NewReplicaSetAvailable")].reason';

/**
 * Options of every long-running workload.
 */
export interface KubernetesWorkloadOptions extends KubernetesContainerOptions {
  /**
   * The HTTP port of the container (`PORT`), which clients reach by the exposure.
   *
   * @default 8080
   */
  readonly port?: number;

  /**
   * The HTTP port of the container for probes and `/metrics` (`MANAGEMENT_PORT`). No exposure opens it: only the kubelet and the clients of
   * `metricsAccess` reach it. With the same number as `port`, there is one port for all.
   *
   * @default - 8080 for an API of a pipeline; otherwise there is one port for all, and `MANAGEMENT_PORT` is not set
   */
  readonly managementPort?: number;

  /**
   * The health probes of the kubelet.
   *
   * @default WorkloadProbes.http() - `/livez` and `/readyz`
   */
  readonly probes?: WorkloadProbes;

  /**
   * The time limit for a pod to stop, including the time until its exposure stops sending. For a queue consumer, set at least its
   * processing time.
   *
   * @default - 30 seconds more than the exposure takes to stop sending (2 minutes and 30 seconds behind a load balancer); 45 seconds if
   * the workload is not exposed
   */
  readonly terminationGracePeriod?: Duration;

  /**
   * The time in which a new version must be running completely, or the deployment fails and goes back to the former version. 0 doesn't
   * wait: then a deployment ends when the cluster has accepted the objects.
   *
   * A version is running when every pod of it is ready and no older one is needed. With zero replicas, that is at once. A cluster of
   * `KubernetesAccess.manifestsOnly()` is not waited for.
   *
   * @default Duration.minutes(10) - at most 14 minutes, as the function that waits has 15
   */
  readonly rolloutTimeout?: Duration;

  /**
   * Clients that may read `/metrics`. An example is Prometheus.
   *
   * @default - none; without a `managementPort`, the clients that the exposure allows
   */
  readonly metricsAccess?: MetricsAccess[];
}

/**
 * Properties of a workload.
 */
export interface KubernetesWorkloadProps extends KubernetesWorkloadOptions {
  /** The cluster. */
  readonly kubernetes: KubernetesAccess;

  /** The container image. */
  readonly image: WorkloadImage;

  /**
   * The number of replicas.
   *
   * @default Autoscaling.cpu() - 2 to 10 replicas at 70 % CPU
   */
  readonly scaling?: Autoscaling;

  /**
   * The exposure of the port, with all its paths.
   *
   * @default ServiceExposure.none()
   */
  readonly exposure?: ServiceExposure;
}

/**
 * A service on Kubernetes with its own AWS role.
 *
 * Makes a Deployment (non-root, read-only root filesystem, no capabilities, spread over zones), its service account,
 * an autoscaler, a disruption budget, a network policy that denies unneeded connections, a Service if it is exposed,
 * and the role that the pods assume by EKS Pod Identity.
 *
 * Network policies, autoscaling, the namespace and KEDA need parts in the cluster that `KubernetesPrerequisites` makes. A warning at
 * synthesis names missing parts, where they are known.
 *
 * All pods of a cluster share the cluster security group, so a resource that is opened to the workload is opened to every pod that no
 * network policy stops. `podSecurityGroup` prevents that.
 *
 * @example
 * declare const kubernetes: KubernetesAccess;
 * declare const bucket: s3.Bucket;
 *
 * const reports = new KubernetesWorkload(this, 'Reports', {
 *   kubernetes,
 *   image: WorkloadImage.fromDirectory('reports'),
 *   command: ['node', 'reports.js'],
 *   exposure: ServiceExposure.internalNetworkLoadBalancer({ plaintext: true }),
 * });
 * bucket.grantRead(reports);
 */
@propertyInjectable
export class KubernetesWorkload extends Construct implements IHostedService {
  /** Uniquely identifies this class for property injectors. */
  public static readonly PROPERTY_INJECTION_ID: string = 'cdk-order-pipeline.KubernetesWorkload';

  /** The role that the pods assume. */
  public readonly role: iam.IRole;

  /** The pod identity association, which links the service account to the role. */
  public readonly podIdentity: eks.CfnPodIdentityAssociation;

  /** The principal to grant permissions to: `targetRole` if it is given, otherwise `role`. */
  public readonly grantPrincipal: iam.IPrincipal;

  /** The name of the Kubernetes objects. */
  public readonly serviceName: string;

  /** The port of the container that answers requests. */
  public readonly port: number;

  /** The port of the container for probes and metrics; the same as `port` if there is one port for all. */
  public readonly managementPort: number;

  /** The applied manifests. Depend on it to come after them, or add dependencies to it that must come first. */
  public readonly manifest: Construct;

  /**
   * The applied manifests of objects that only some workloads have, such as the autoscaler and the `SecurityGroupPolicy`: one construct for
   * each API group.
   */
  public readonly optionalManifests: Construct[];

  /**
   * The construct that waits until the pods run. Depend on the workload to come after it.
   *
   * @default - none: the deployment doesn't wait
   */
  public readonly rollout?: Construct;

  private readonly kubernetes: KubernetesAccess;
  private readonly pod: KubernetesPod;
  private readonly addressKind: ServiceAddressKind;
  private readonly tls: boolean;
  private hostName?: string;

  constructor(scope: Construct, id: string, props: KubernetesWorkloadProps) {
    super(scope, id);
    this.kubernetes = props.kubernetes;
    this.port = props.port ?? 8080;
    this.managementPort = props.managementPort ?? this.port;

    const pod = new KubernetesPod(this, { ...props, port: this.port, maxNameLength: 63 });
    this.pod = pod;
    this.role = pod.role;
    this.podIdentity = pod.identity;
    this.grantPrincipal = pod.grantPrincipal;
    this.serviceName = pod.serviceName;

    const namespace = props.kubernetes.namespace;
    const scaling = (props.scaling ?? Autoscaling.cpu()).bind(this, { deploymentName: pod.serviceName, namespace });
    const ofItsOwn = this.managementPort !== this.port;
    const probes = (props.probes ?? WorkloadProbes.http()).bind(this, { port: this.managementPort, portName: ofItsOwn ? 'management' : 'http' });
    const exposure = (props.exposure ?? ServiceExposure.none()).bind(this, {
      serviceName: pod.serviceName,
      namespace,
      selector: pod.selector,
      port: this.port,
      loadBalancerClass: props.kubernetes.loadBalancerClass,
      healthCheckPath: ofItsOwn ? undefined : (probes.readinessProbe?.httpGet as { path?: string } | undefined)?.path,
    });
    this.addressKind = exposure.addressKind ?? ServiceAddressKind.NONE;
    this.tls = exposure.tls ?? false;

    const exposed = exposure.ingressFrom !== undefined;
    const drainTime = exposure.drainTime ?? (exposed ? DRAIN_TIME : undefined);
    const gracePeriod = props.terminationGracePeriod ?? (drainTime ?? DRAIN_TIME).plus(STOP_TIME);
    if (drainTime && !gracePeriod.isUnresolved() && gracePeriod.toMilliseconds() <= drainTime.toMilliseconds()) {
      throw invalid(this, `terminationGracePeriod must be longer than the ${drainTime.toHumanString()} that the exposed pods continue to serve`
        + ` (drainTime of the exposure), got ${gracePeriod.toHumanString()}`);
    }

    requireDuration(this, 'rolloutTimeout', props.rolloutTimeout, Duration.seconds(0), MAX_ROLLOUT_TIMEOUT);

    const deployment = {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: pod.metadata(),
      spec: {
        revisionHistoryLimit: 3,
        selector: { matchLabels: pod.selector },
        strategy: { type: 'RollingUpdate', rollingUpdate: { maxUnavailable: 0, maxSurge: this.maxSurge } },
        template: pod.template({
          ports: [
            { name: 'http', containerPort: this.port, protocol: 'TCP' },
            ...ofItsOwn ? [{ name: 'management', containerPort: this.managementPort, protocol: 'TCP' }] : [],
          ],
          ...probes,
          // Time for load balancer and Service to stop sending before the process stops accepting.
          ...drainTime ? { lifecycle: { preStop: { sleep: { seconds: drainTime.toSeconds() } } } } : {},
        }, {
          terminationGracePeriodSeconds: gracePeriod.toSeconds(),
          topologySpreadConstraints: ['topology.kubernetes.io/zone', 'kubernetes.io/hostname'].map(topologyKey => ({
            topologyKey,
            maxSkew: 1,
            whenUnsatisfiable: 'ScheduleAnyway',
            labelSelector: { matchLabels: pod.selector },
            matchLabelKeys: ['pod-template-hash'],
          })),
        }),
      },
    };
    const disruptionBudget = {
      apiVersion: 'policy/v1',
      kind: 'PodDisruptionBudget',
      metadata: pod.metadata(),
      spec: { maxUnavailable: 1, unhealthyPodEvictionPolicy: 'AlwaysAllow', selector: { matchLabels: pod.selector } },
    };
    const tcp = (port: number) => [{ protocol: 'TCP', port }];
    const scrapers = props.metricsAccess?.map(access => access.bind(this, { port: this.managementPort, namespace })) ?? [];
    const ingress = [
      ...exposed ? [{ ...exposure.ingressFrom?.length ? { from: exposure.ingressFrom } : {}, ports: tcp(this.port) }] : [],
      ...scrapers.length > 0 ? [{ from: scrapers, ports: tcp(this.managementPort) }] : [],
    ];

    const final = (manifest: Manifest) => props.kubernetes._transformed(this, labelled(manifest, pod.selector));
    const deployed = scaling.stopped ? undefined : final(deployment);
    const applied = applyObjects(this, props.kubernetes, {
      before: pod.securityGroupPolicy().map(final),
      always: [
        ...[pod.serviceAccount(), pod.networkPolicy(ingress)].map(final),
        ...deployed ? [deployed] : [],
        final(disruptionBudget),
      ],
      optional: [...scaling.manifests ?? [], ...exposure.manifests ?? []].map(final),
    });
    this.manifest = applied.main;
    this.manifest.node.addDependency(...pod.prerequisites);
    this.optionalManifests = [...applied.before, ...applied.after];

    const timeout = props.rolloutTimeout ?? DEFAULT_ROLLOUT_TIMEOUT;
    if (deployed && (timeout.isUnresolved() || timeout.toMilliseconds() > 0)) {
      this.rollout = props.kubernetes._waitFor(this, 'Rollout', {
        objectType: 'deployment',
        // With a selector, the answer is a list, and only the items of a list can be filtered.
        objectName: `--field-selector=metadata.name=${this.serviceName}`,
        jsonPath: ROLLED_OUT,
        timeout,
      }, deployed, [this.manifest, ...applied.after]);
    }
  }

  /** The connections of the pods, for example to open a database to them. */
  public get connections(): ec2.Connections {
    return this.pod.connections;
  }

  /**
   * The address of the workload's API. Behind a load balancer it is read from the cluster at deployment, by a
   * custom resource that is made when this is read for the first time. With TLS it begins with `https` and has the name of the load
   * balancer; clients use the name of the certificate, which is an alias of it.
   *
   * @default - undefined: the workload is not exposed, or its address can't be read from the cluster (`KubernetesAccess.manifestsOnly()`)
   */
  public get url(): string | undefined {
    const hostName = this.host();
    return hostName && (this.tls ? `https://${hostName}` : `http://${hostName}:${Tokenization.stringifyNumber(this.port)}`);
  }

  /** A load balancer takes minutes until it sends to a new pod, so pods behind it are replaced in fewer steps. */
  private get maxSurge(): string {
    return this.addressKind === ServiceAddressKind.LOAD_BALANCER ? '50%' : '25%';
  }

  private host(): string | undefined {
    switch (this.addressKind) {
      case ServiceAddressKind.CLUSTER_INTERNAL:
        return `${this.serviceName}.${this.kubernetes.namespace}.svc.cluster.local`;
      case ServiceAddressKind.LOAD_BALANCER:
        this.hostName ??= this.kubernetes._serviceAddress(this, 'Address', this.serviceName, this.manifest);
        return this.hostName;
      default:
        return undefined;
    }
  }
}
