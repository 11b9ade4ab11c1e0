import { Duration } from 'aws-cdk-lib';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as iam from 'aws-cdk-lib/aws-iam';
import { Construct } from 'constructs';
import { Autoscaling } from './autoscaling';
import { KubernetesAccess } from './kubernetes-access';
import { KubernetesContainerOptions } from './kubernetes-container-options';
import { KubernetesPod } from './private/kubernetes-pod';
import { ServiceExposure } from './service-exposure';
import { WorkloadImage } from './workload-image';
import { WorkloadProbes } from './workload-probes';
import { invalid } from '../private/validation';

/** How long an exposed pod goes on serving after it was told to stop, until nobody calls it any more. */
const DRAIN_SECONDS = 15;

/**
 * What every long-running workload can be given.
 */
export interface KubernetesWorkloadOptions extends KubernetesContainerOptions {
  /**
   * The HTTP port of the container (`PORT`): its API, its probes and `/metrics`.
   *
   * @default 8080
   */
  readonly port?: number;

  /**
   * How the kubelet asks for health.
   *
   * @default WorkloadProbes.http() - `/livez` and `/readyz`
   */
  readonly probes?: WorkloadProbes;

  /**
   * How long a pod may take to stop. Give a queue consumer at least its processing time.
   *
   * @default Duration.seconds(45)
   */
  readonly terminationGracePeriod?: Duration;
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
   * How many replicas run.
   *
   * @default Autoscaling.cpu() - 2 to 10 replicas at 70 % CPU
   */
  readonly scaling?: Autoscaling;

  /**
   * Who can reach the port.
   *
   * @default ServiceExposure.none()
   */
  readonly exposure?: ServiceExposure;
}

/**
 * A service on Kubernetes with an AWS role of its own.
 *
 * Makes a Deployment (non-root, read-only root filesystem, no capabilities, spread over zones), its service account,
 * an autoscaler, a disruption budget, a network policy that denies what isn't needed, a Service if it is exposed,
 * and the role that the pods assume by EKS Pod Identity.
 *
 * Network policies have effect only where the cluster's network plugin enforces them: on EKS Auto Mode by a setting of the
 * cluster, elsewhere by `enableNetworkPolicy` of the VPC CNI add-on.
 *
 * @see https://docs.aws.amazon.com/eks/latest/userguide/cni-network-policy.html
 *
 * @example
 * declare const kubernetes: KubernetesAccess;
 * declare const bucket: s3.Bucket;
 *
 * const reports = new KubernetesWorkload(this, 'Reports', {
 *   kubernetes,
 *   image: WorkloadImage.fromDirectory('reports'),
 *   command: ['node', 'reports.js'],
 *   exposure: ServiceExposure.internalNetworkLoadBalancer(),
 * });
 * bucket.grantRead(reports);
 */
export class KubernetesWorkload extends Construct implements iam.IGrantable, ec2.IConnectable {
  /** The role of the pods. */
  public readonly role: iam.IRole;

  /** The principal to grant permissions to. */
  public readonly grantPrincipal: iam.IPrincipal;

  /** The name of the Kubernetes objects. */
  public readonly serviceName: string;

  /** The port of the container. */
  public readonly port: number;

  /** What stands for the applied manifests: depend on it to come after them, let it depend on what must come first. */
  public readonly manifest: Construct;

  private readonly kubernetes: KubernetesAccess;

  constructor(scope: Construct, id: string, props: KubernetesWorkloadProps) {
    super(scope, id);
    this.kubernetes = props.kubernetes;
    this.port = props.port ?? 8080;

    const pod = new KubernetesPod(this, { ...props, port: this.port, maxNameLength: 63 });
    this.role = pod.role;
    this.grantPrincipal = pod.role.grantPrincipal;
    this.serviceName = pod.serviceName;

    const namespace = props.kubernetes.namespace;
    const scaling = (props.scaling ?? Autoscaling.cpu()).bind({ deploymentName: pod.serviceName, namespace });
    const exposure = (props.exposure ?? ServiceExposure.none()).bind({
      serviceName: pod.serviceName, namespace, selector: pod.selector, port: this.port,
    });

    const exposed = exposure.ingressFrom !== undefined;
    const gracePeriod = props.terminationGracePeriod ?? Duration.seconds(45);
    if (exposed && !gracePeriod.isUnresolved() && gracePeriod.toSeconds() <= DRAIN_SECONDS) {
      throw invalid(this, `terminationGracePeriod must be longer than the ${DRAIN_SECONDS} seconds that an exposed service waits`
        + ` for its callers, got ${gracePeriod.toHumanString()}`);
    }

    const deployment = {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: pod.metadata(),
      spec: {
        ...scaling.replicas === undefined ? {} : { replicas: scaling.replicas },
        revisionHistoryLimit: 3,
        selector: { matchLabels: pod.selector },
        strategy: { type: 'RollingUpdate', rollingUpdate: { maxUnavailable: 0, maxSurge: '25%' } },
        template: pod.template({
          ports: [{ name: 'http', containerPort: this.port, protocol: 'TCP' }],
          ...(props.probes ?? WorkloadProbes.http()).bind(),
          // Time for load balancer and Service to stop sending before the process stops taking.
          ...exposed ? { lifecycle: { preStop: { sleep: { seconds: DRAIN_SECONDS } } } } : {},
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
    const ingress = exposed ? [{
      ...exposure.ingressFrom?.length ? { from: exposure.ingressFrom } : {},
      ports: [{ protocol: 'TCP', port: this.port }],
    }] : [];

    this.manifest = props.kubernetes.applyManifest(this, 'Manifest', [
      pod.serviceAccount(),
      pod.networkPolicy(ingress),
      deployment,
      disruptionBudget,
      ...scaling.manifests ?? [],
      ...exposure.manifests ?? [],
    ]);
    this.manifest.node.addDependency(pod.identity, pod.role);
  }

  /** The connections of the pods, for example to open a database to them. */
  public get connections(): ec2.Connections {
    return this.kubernetes.connections;
  }
}
