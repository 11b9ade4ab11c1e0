import { Token } from 'aws-cdk-lib';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as eks from 'aws-cdk-lib/aws-eks';
import * as eksv2 from 'aws-cdk-lib/aws-eks-v2';
import { Construct, IDependable } from 'constructs';
import { invalid } from '../private/validation';

/**
 * Where in a cluster workloads go.
 */
export interface KubernetesAccessOptions {
  /**
   * The namespace of everything that is applied. It must exist.
   *
   * @default 'default'
   */
  readonly namespace?: string;

  /**
   * The security group of the pods' network interfaces; databases and caches are opened to it.
   *
   * Set it when the nodes don't use the cluster security group, for example with a custom `NodeClass` or
   * with security groups for pods.
   *
   * @default - the cluster security group, which EKS gives to Auto Mode nodes, managed node groups and Fargate pods
   */
  readonly podSecurityGroup?: ec2.ISecurityGroup;
}

/**
 * A cluster that this app doesn't apply anything to.
 */
export interface ManifestsOnlyOptions extends KubernetesAccessOptions {
  /**
   * The name of the cluster; pod identities are associated with it.
   */
  readonly clusterName: string;
}

/**
 * How workloads reach a Kubernetes cluster.
 *
 * `aws-eks` and `aws-eks-v2` have clusters of different types, and many teams let a GitOps tool apply manifests;
 * this class makes the three look alike.
 *
 * @example
 * declare const cluster: eksv2.ICluster;
 *
 * const kubernetes = KubernetesAccess.fromEksV2(cluster, { namespace: 'orders' });
 */
export abstract class KubernetesAccess {
  /**
   * A cluster of `aws-cdk-lib/aws-eks`.
   *
   * Pods get their permissions by EKS Pod Identity: the cluster needs the `eks-pod-identity-agent` add-on.
   */
  public static fromEks(cluster: eks.ICluster, options: KubernetesAccessOptions = {}): KubernetesAccess {
    return new EksAccess(cluster, options);
  }

  /**
   * A cluster of `aws-cdk-lib/aws-eks-v2`; it needs `kubectlProviderOptions` (imported: `kubectlProvider`).
   *
   * Pods get their permissions by EKS Pod Identity. Auto Mode has the agent built in, other clusters need
   * the `eks-pod-identity-agent` add-on.
   */
  public static fromEksV2(cluster: eksv2.ICluster, options: KubernetesAccessOptions = {}): KubernetesAccess {
    return new EksV2Access(cluster, options);
  }

  /**
   * Apply nothing: the manifests are only collected in `manifests`, for a GitOps repository to take.
   * The AWS side (roles, pod identity associations) is still made.
   */
  public static manifestsOnly(options: ManifestsOnlyOptions): KubernetesAccess {
    return new ManifestsOnlyAccess(options);
  }

  /** The name of the cluster. */
  public abstract readonly clusterName: string;

  /** The namespace of everything that is applied. */
  public readonly namespace: string;

  private readonly _manifests: { [key: string]: unknown }[] = [];
  private readonly prerequisites: IDependable[] = [];

  protected constructor(options: KubernetesAccessOptions) {
    this.namespace = options.namespace ?? 'default';
  }

  /**
   * Every manifest that went through this access, in order. It holds tokens; write it with `stack.toJsonString()`.
   */
  public get manifests(): { [key: string]: unknown }[] {
    return [...this._manifests];
  }

  /** The connections of the pods, by the security group of their network interfaces. */
  public abstract get connections(): ec2.Connections;

  /**
   * Apply manifests with one `kubectl apply`, after everything that was given to `addDependency()`.
   *
   * @returns the construct that stands for them; depend on it to come after them
   */
  public applyManifest(scope: Construct, id: string, manifests: { [key: string]: unknown }[]): Construct {
    for (const manifest of manifests) { this.refuseDuplicate(scope, manifest); }
    this._manifests.push(...manifests);
    const applied = this.apply(scope, id, manifests);
    applied.node.addDependency(...this.prerequisites);
    return applied;
  }

  /**
   * Apply every later manifest after these, for example after the namespace.
   */
  public addDependency(...dependencies: IDependable[]): void {
    this.prerequisites.push(...dependencies);
  }

  /** Kubernetes would take the second for a change of the first. */
  private refuseDuplicate(scope: Construct, manifest: { [key: string]: unknown }): void {
    const identity = identityOf(manifest);
    if (identity !== undefined && this._manifests.some(other => identityOf(other) === identity)) {
      throw invalid(scope, `${identity} is applied already: give one of the two another name (serviceName)`);
    }
  }

  /** Apply the manifests, or leave it, and return the construct that stands for them. */
  protected abstract apply(scope: Construct, id: string, manifests: { [key: string]: unknown }[]): Construct;
}

class EksAccess extends KubernetesAccess {
  public readonly clusterName: string;

  constructor(private readonly cluster: eks.ICluster, private readonly options: KubernetesAccessOptions) {
    super(options);
    this.clusterName = cluster.clusterName;
  }

  public get connections(): ec2.Connections {
    return connectionsOf(this.options.podSecurityGroup ?? this.cluster.clusterSecurityGroup);
  }

  protected apply(scope: Construct, id: string, manifest: { [key: string]: unknown }[]): Construct {
    return new eks.KubernetesManifest(scope, id, { cluster: this.cluster, manifest });
  }
}

class EksV2Access extends KubernetesAccess {
  public readonly clusterName: string;

  constructor(private readonly cluster: eksv2.ICluster, private readonly options: KubernetesAccessOptions) {
    super(options);
    this.clusterName = cluster.clusterName;
    if (!cluster.kubectlProvider) {
      throw new Error('KubernetesAccess.fromEksV2 needs a cluster with a kubectl provider. Set `kubectlProviderOptions` on the cluster'
        + ' (`kubectlProvider` on an imported one), or use KubernetesAccess.manifestsOnly() to apply manifests by other means.');
    }
  }

  public get connections(): ec2.Connections {
    return connectionsOf(this.options.podSecurityGroup ?? this.cluster.clusterSecurityGroup);
  }

  protected apply(scope: Construct, id: string, manifest: { [key: string]: unknown }[]): Construct {
    // Not cluster.addManifest(): what a workload applies belongs to the workload's stack.
    return new eksv2.KubernetesManifest(scope, id, { cluster: this.cluster, manifest });
  }
}

class ManifestsOnlyAccess extends KubernetesAccess {
  public readonly clusterName: string;

  constructor(private readonly options: ManifestsOnlyOptions) {
    super(options);
    this.clusterName = options.clusterName;
  }

  public get connections(): ec2.Connections {
    if (!this.options.podSecurityGroup) {
      throw new Error('KubernetesAccess.manifestsOnly needs `podSecurityGroup` to open a database to the pods;'
        + ' give it the cluster security group.');
    }
    return connectionsOf(this.options.podSecurityGroup);
  }

  protected apply(scope: Construct, id: string, _manifest: { [key: string]: unknown }[]): Construct {
    return new Construct(scope, id);
  }
}

/** @returns nothing for a name that is only known later */
function identityOf({ kind, metadata }: { [key: string]: unknown }): string | undefined {
  const { name, namespace } = metadata as { name?: string; namespace?: string };
  return Token.isUnresolved(name) ? undefined : `${kind} '${name}'${namespace ? ` of namespace '${namespace}'` : ''}`;
}

function connectionsOf(securityGroup: ec2.ISecurityGroup): ec2.Connections {
  return new ec2.Connections({ securityGroups: [securityGroup] });
}
