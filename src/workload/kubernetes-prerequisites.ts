import { Aws, CfnResource, RemovalPolicy, Stack } from 'aws-cdk-lib';
import * as eks from 'aws-cdk-lib/aws-eks';
import * as iam from 'aws-cdk-lib/aws-iam';
import { propertyInjectable } from 'aws-cdk-lib/core/lib/prop-injectable';
import { Construct, IConstruct } from 'constructs';
import { ClusterPrerequisite } from './cluster-prerequisite';
import { KubernetesAccess } from './kubernetes-access';
import { NamespaceNetworkPolicy } from './namespace-network-policy';
import { podPrincipal } from './private/pod-identity';
import { invalid, refuseWithout } from '../private/validation';

/**
 * Properties of the prerequisites.
 */
export interface KubernetesPrerequisitesProps {
  /** The cluster and the namespace. */
  readonly kubernetes: KubernetesAccess;

  /**
   * The prerequisites that the cluster has already. They are not made.
   *
   * For a second namespace in a cluster, list everything except `ClusterPrerequisite.NAMESPACE`.
   *
   * A prerequisite that was made here and is listed later is deleted by the next deployment, except the namespaces, which stay with
   * their content.
   *
   * @default - none: all prerequisites are made that the kind of cluster needs
   */
  readonly existing?: ClusterPrerequisite[];

  /**
   * The connections of pods in the namespace that no other network policy selects. The workloads of this library have their own.
   *
   * It is made with the namespace only: a namespace that exists, such as `default`, may have pods that need their connections.
   *
   * @default NamespaceNetworkPolicy.denyAll() - if the namespace is made here
   */
  readonly namespacePolicy?: NamespaceNetworkPolicy;

  /**
   * Roles that may use `kubectl` in the namespace, with the access policy `AmazonEKSAdminPolicy`.
   *
   * The cluster has to let the EKS API decide who has access (`authenticationMode`), as clusters of `aws-eks-v2` do. A role has one
   * access entry in a cluster: don't list a role that has one by other means, such as `cluster.grantAccess()` or a second namespace.
   *
   * @default - only identities that already have access to the cluster
   * @see https://docs.aws.amazon.com/eks/latest/userguide/access-policy-permissions.html
   */
  readonly operators?: iam.IRoleRef[];

  /**
   * The role of the operator of an existing KEDA. Consumers let it read the length of their queues.
   *
   * @default - a role is made with KEDA; unknown if KEDA is in `existing`, and then each consumer needs the `operatorRole`
   */
  readonly kedaOperatorRole?: iam.IRole;

  /**
   * The version of KEDA and of its Helm chart.
   *
   * @default '2.21.0' - which is tested with Kubernetes 1.34 to 1.36
   * @see https://keda.sh/docs/latest/operate/cluster/#kubernetes-compatibility
   */
  readonly kedaVersion?: string;
}

/** The Helm chart of KEDA, and the namespace and the service account of its operator. */
const KEDA = { chart: 'keda', repository: 'https://kedacore.github.io/charts', version: '2.21.0', namespace: 'keda', serviceAccount: 'keda-operator' };

/**
 * Parts that workloads need and a new cluster doesn't have: the metrics server, enforced network policies,
 * the namespace, KEDA, and the pod identity agent where it isn't built in as in EKS Auto Mode.
 *
 * All manifests of the `KubernetesAccess` are applied after it, even if they were added earlier.
 *
 * The namespace accepts only pods of the `restricted` pod security standard, and denies the connections of pods without a network policy
 * of their own. Its labels switch on the readiness gates of load balancers,
 * with which a new pod is ready only when its load balancer sends to it. The AWS Load Balancer Controller documents its label,
 * `elbv2.k8s.aws/pod-readiness-gate-inject`. For EKS Auto Mode there is no AWS documentation; its webhook selects namespaces by
 * `eks.amazonaws.com/pod-readiness-gate-inject`, as users found by reading it in their clusters. Both labels are set.
 * The namespace `default` is left as it is, so put them there yourself.
 *
 * @see https://kubernetes-sigs.github.io/aws-load-balancer-controller/latest/deploy/pod_readiness_gate/
 * @see https://docs.aws.amazon.com/eks/latest/userguide/auto-net-pol.html
 *
 * @example
 * declare const kubernetes: KubernetesAccess;
 * declare const onCall: iam.Role;
 *
 * new KubernetesPrerequisites(this, 'Prerequisites', {
 *   kubernetes,
 *   existing: [ClusterPrerequisite.METRICS_SERVER],
 *   operators: [onCall],
 * });
 */
@propertyInjectable
export class KubernetesPrerequisites extends Construct {
  /** Uniquely identifies this class for property injectors. */
  public static readonly PROPERTY_INJECTION_ID: string = 'cdk-order-pipeline.KubernetesPrerequisites';

  /**
   * The add-on `metrics-server`.
   *
   * @default - none: the cluster has it
   */
  public readonly metricsServer?: eks.CfnAddon;

  /**
   * The resource that switches on the enforcement of network policies: the ConfigMap of EKS Auto Mode, or the add-on `vpc-cni`.
   *
   * @default - none: the cluster has it
   */
  public readonly networkPolicies?: Construct;

  /**
   * The add-on `eks-pod-identity-agent`.
   *
   * @default - none: the cluster has it, or it is in EKS Auto Mode
   */
  public readonly podIdentityAgent?: IConstruct;

  /**
   * The namespace of the `KubernetesAccess`.
   *
   * @default - none: the cluster has it, or it is `default`
   */
  public readonly namespace?: Construct;

  /**
   * The network policy of the pods in the namespace that have no other.
   *
   * @default - none: the namespace is not made here, or has no such policy
   */
  public readonly namespacePolicy?: Construct;

  /**
   * The namespace of KEDA.
   *
   * @default - none: the cluster has KEDA
   */
  public readonly kedaNamespace?: Construct;

  /**
   * The Helm chart of KEDA.
   *
   * @default - none: the cluster has KEDA
   */
  public readonly kedaChart?: Construct;

  /**
   * The role of KEDA's operator.
   *
   * @default - unknown: the cluster has KEDA, and its role was not given
   */
  public readonly kedaOperatorRole?: iam.IRole;

  /**
   * The pod identity association, which links the service account of KEDA's operator to its role.
   *
   * @default - none: the cluster has KEDA
   */
  public readonly kedaPodIdentity?: eks.CfnPodIdentityAssociation;

  /** The access entries of the operators, in the order of `operators`. */
  public readonly accessEntries: eks.CfnAccessEntry[];

  private readonly kubernetes: KubernetesAccess;
  private made: ClusterPrerequisite[] = [];
  private operators: string[] = [];

  constructor(scope: Construct, id: string, props: KubernetesPrerequisitesProps) {
    super(scope, id);
    this.kubernetes = props.kubernetes;
    const existing = props.existing ?? [];
    const makes = (prerequisite: ClusterPrerequisite) => !existing.includes(prerequisite);
    this.check(props, makes);
    this.refuseTwice(makes, (props.operators ?? []).map(({ roleRef }) => roleRef.roleArn));

    if (makes(ClusterPrerequisite.POD_IDENTITY_AGENT) && !this.kubernetes._autoMode) {
      this.podIdentityAgent = this.makePodIdentityAgent();
    }
    if (makes(ClusterPrerequisite.METRICS_SERVER)) { this.metricsServer = this.addon('MetricsServer', { addonName: 'metrics-server' }); }
    if (makes(ClusterPrerequisite.NETWORK_POLICIES)) { this.networkPolicies = this.enforceNetworkPolicies(); }
    if (makes(ClusterPrerequisite.NAMESPACE) && this.kubernetes.namespace !== 'default') {
      this.namespace = this.applyNamespace('Namespace', this.kubernetes.namespace, {
        'elbv2.k8s.aws/pod-readiness-gate-inject': 'enabled',
        'eks.amazonaws.com/pod-readiness-gate-inject': 'enabled',
      });
      this.namespacePolicy = this.applyNamespacePolicy(this.namespace, props.namespacePolicy ?? NamespaceNetworkPolicy.denyAll());
    }
    this.kedaOperatorRole = props.kedaOperatorRole;
    if (makes(ClusterPrerequisite.KEDA)) {
      this.kedaOperatorRole = new iam.Role(this, 'KedaOperatorRole', {
        assumedBy: podPrincipal(this.kubernetes.clusterName, KEDA.namespace, KEDA.serviceAccount),
      });
      this.kedaPodIdentity = new eks.CfnPodIdentityAssociation(this, 'KedaPodIdentity', {
        clusterName: this.kubernetes.clusterName,
        namespace: KEDA.namespace,
        serviceAccount: KEDA.serviceAccount,
        roleArn: this.kedaOperatorRole.roleArn,
      });
      this.kedaNamespace = this.applyNamespace('KedaNamespace', KEDA.namespace);
      this.kedaChart = this.installKeda(props.kedaVersion);
    }
    this.accessEntries = (props.operators ?? []).map(operator => this.giveAccess(operator));

    this.kubernetes._setPrerequisites(this, existing, this.kedaOperatorRole);
    const made = [this.podIdentityAgent, this.metricsServer, this.networkPolicies, this.namespace, this.namespacePolicy, this.kedaChart];
    this.kubernetes.addDependency(...made.filter(construct => construct !== undefined));
  }

  private check(props: KubernetesPrerequisitesProps, makes: (prerequisite: ClusterPrerequisite) => boolean): void {
    if (props.namespacePolicy && (this.kubernetes.namespace === 'default' || !makes(ClusterPrerequisite.NAMESPACE))) {
      throw invalid(this, 'namespacePolicy is made with the namespace, which exists already: leave it out, and apply a policy of your own by '
        + 'kubernetes.applyManifest()');
    }
    if (makes(ClusterPrerequisite.KEDA)) {
      refuseWithout(this, 'ClusterPrerequisite.KEDA in existing', { kedaOperatorRole: props.kedaOperatorRole });
      if (!this.kubernetes._cluster) {
        throw invalid(this, 'KEDA is installed by Helm, which this KubernetesAccess can\'t run: install it by other means, and list'
          + ' ClusterPrerequisite.KEDA in existing');
      }
    } else if (props.kedaVersion !== undefined) {
      throw invalid(this, 'kedaVersion can\'t be given when ClusterPrerequisite.KEDA is in existing: nothing is installed');
    }
    const dependent = [ClusterPrerequisite.NETWORK_POLICIES, ClusterPrerequisite.POD_IDENTITY_AGENT].filter(makes);
    if (dependent.length > 0 && this.kubernetes._autoMode === undefined) {
      throw invalid(this, `how to make ${dependent.join(' and ')} depends on whether the cluster is in EKS Auto Mode, which isn't known: set`
        + ' loadBalancerClass of the KubernetesAccess, or list the same in existing');
    }
    const cluster = this.kubernetes._cluster?.construct;
    if (props.operators?.length && cluster instanceof eks.Cluster
      && [undefined, eks.AuthenticationMode.CONFIG_MAP].includes(cluster.authenticationMode)) {
      throw invalid(this, 'operators get their access by the EKS API, which the cluster doesn\'t ask: set its authenticationMode to'
        + ' AuthenticationMode.API_AND_CONFIG_MAP or API');
    }
  }

  /** Other namespaces of the same cluster may have prerequisites, too: each of these exists once in a cluster. */
  private refuseTwice(makes: (prerequisite: ClusterPrerequisite) => boolean, operators: string[]): void {
    const others = this.node.root.node.findAll().filter((construct): construct is KubernetesPrerequisites =>
      construct instanceof KubernetesPrerequisites && sameCluster(construct.kubernetes, this.kubernetes));
    for (const other of others) {
      const twice = other.made.filter(makes);
      if (twice.length > 0) {
        throw invalid(this, `'${other.node.path}' makes ${twice.join(', ')} for the same cluster: list the same in existing here`);
      }
      if (operators.some(operator => other.operators.includes(operator))) {
        throw invalid(this, `operators has a role that '${other.node.path}' gives access to the same cluster, and a role has one access entry in a `
          + 'cluster: list it in one of them, and give it access to the other namespace by cluster.grantAccess() or by another role');
      }
    }
    if (new Set(operators).size < operators.length) { throw invalid(this, 'operators lists a role twice'); }
    this.made = Object.values(ClusterPrerequisite).filter(makes).filter(prerequisite => prerequisite !== ClusterPrerequisite.NAMESPACE);
    this.operators = operators;
  }

  private addon(id: string, props: Omit<eks.CfnAddonProps, 'clusterName'>): eks.CfnAddon {
    return new eks.CfnAddon(this, id, { clusterName: this.kubernetes.clusterName, ...props });
  }

  private makePodIdentityAgent(): IConstruct {
    return this.kubernetes._cluster?.podIdentityAgent() ?? this.addon('PodIdentityAgent', {
      addonName: 'eks-pod-identity-agent',
      // Other pods may use it, too.
      preserveOnDelete: true,
    });
  }

  private enforceNetworkPolicies(): Construct {
    if (!this.kubernetes._autoMode) {
      return this.addon('VpcCni', {
        addonName: 'vpc-cni',
        configurationValues: JSON.stringify({ enableNetworkPolicy: 'true' }),
        // A new cluster has the plugin, although not as an add-on.
        resolveConflicts: 'OVERWRITE',
        // The add-on is the network of all pods.
        preserveOnDelete: true,
      });
    }
    return this.kubernetes._applyPrerequisite(this, 'NetworkPolicies', [{
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: 'amazon-vpc-cni', namespace: 'kube-system' },
      data: { 'enable-network-policy-controller': 'true' },
    }], true);
  }

  private applyNamespace(id: string, name: string, labels: { [key: string]: string } = {}): Construct {
    const metadata = { name, labels: { 'pod-security.kubernetes.io/enforce': 'restricted', ...labels } };
    const namespace = this.kubernetes._applyPrerequisite(this, id, [{ apiVersion: 'v1', kind: 'Namespace', metadata }], true);
    // Deleting a namespace deletes everything in it, including objects of other owners.
    for (const child of namespace.node.findAll()) {
      if (CfnResource.isCfnResource(child)) { child.applyRemovalPolicy(RemovalPolicy.RETAIN); }
    }
    return namespace;
  }

  private applyNamespacePolicy(namespace: Construct, { _policyTypes: policyTypes }: NamespaceNetworkPolicy): Construct | undefined {
    if (policyTypes.length === 0) { return undefined; }
    const policy = this.kubernetes._applyPrerequisite(this, 'NamespacePolicy', [{
      apiVersion: 'networking.k8s.io/v1',
      kind: 'NetworkPolicy',
      metadata: { name: 'default-deny', namespace: this.kubernetes.namespace },
      // All pods. Policies add up, so one that selects a pod, too, allows its connections.
      spec: { podSelector: {}, policyTypes },
    }], true);
    policy.node.addDependency(namespace);
    return policy;
  }

  private installKeda(version = KEDA.version): Construct | undefined {
    const chart = this.kubernetes._cluster?.install(this, 'Keda', {
      chart: KEDA.chart,
      repository: KEDA.repository,
      version,
      namespace: KEDA.namespace,
      values: { serviceAccount: { operator: { name: KEDA.serviceAccount } } },
    });
    // The operator gets its credentials when its pod is admitted.
    chart?.node.addDependency(this.kedaNamespace!, this.kedaPodIdentity!, ...this.podIdentityAgent ? [this.podIdentityAgent] : []);
    return chart;
  }

  private giveAccess(operator: iam.IRoleRef): eks.CfnAccessEntry {
    return new eks.CfnAccessEntry(this, `Operator${idOf(this, operator)}`, {
      clusterName: this.kubernetes.clusterName,
      principalArn: operator.roleRef.roleArn,
      accessPolicies: [{
        policyArn: `arn:${Aws.PARTITION}:eks::aws:cluster-access-policy/AmazonEKSAdminPolicy`,
        accessScope: { type: 'namespace', namespaces: [this.kubernetes.namespace] },
      }],
    });
  }
}

function sameCluster(one: KubernetesAccess, other: KubernetesAccess): boolean {
  return one.clusterName === other.clusterName || (one._cluster !== undefined && one._cluster.construct === other._cluster?.construct);
}

/** Returns an id that stays the same when roles are added, removed or reordered. */
function idOf(scope: Construct, role: IConstruct): string {
  const stack = Stack.of(role);
  const path = role.node.scopes.slice(stack.node.scopes.length).map(({ node }) => node.id);
  return (stack === Stack.of(scope) ? path : [stack.node.id, ...path]).join('');
}
