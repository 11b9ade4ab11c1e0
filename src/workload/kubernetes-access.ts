import { Duration, Stack } from 'aws-cdk-lib';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as eks from 'aws-cdk-lib/aws-eks';
import * as eksv2 from 'aws-cdk-lib/aws-eks-v2';
import * as iam from 'aws-cdk-lib/aws-iam';
import { Construct, Dependable, IConstruct, IDependable } from 'constructs';
import type { ClusterPrerequisite } from './cluster-prerequisite';
import type { KubernetesAccessOptions, ManifestsOnlyOptions } from './kubernetes-access-options';
import type { IManifestTransform } from './manifest-transform';
import { EksCluster, EksV1Cluster, EksV2Cluster, isAutoModeClass, ObjectField } from './private/cluster';
import { filesOf, identityOf, Manifest, ManifestFile } from './private/manifest';
import { Needs, watchNeeds } from './private/needs';
import { waitForEachVersion } from './private/rollout';
import { Transforms } from './private/transforms';
import { differ, invalid } from '../private/validation';

/**
 * The access of workloads to a Kubernetes cluster.
 *
 * `aws-eks` and `aws-eks-v2` have clusters of different types, and many teams let a GitOps tool apply manifests.
 * This class has one interface for the three.
 *
 * @example
 * declare const cluster: eksv2.ICluster;
 *
 * const kubernetes = KubernetesAccess.fromEksV2(cluster, { namespace: 'orders' });
 */
export abstract class KubernetesAccess {
  /**
   * Uses a cluster of `aws-cdk-lib/aws-eks`.
   *
   * Pods get their permissions by EKS Pod Identity: the cluster needs the `eks-pod-identity-agent` add-on, which `KubernetesPrerequisites`
   * makes. Load balancers need the AWS Load Balancer Controller (`albController` of the cluster).
   *
   * An imported cluster needs `kubectlRoleArn` and `kubectlLayer` (or `kubectlProvider`), and `clusterSecurityGroupId` to open databases
   * to its pods.
   */
  public static fromEks(cluster: eks.ICluster, options: KubernetesAccessOptions = {}): KubernetesAccess {
    return new EksAccess(cluster, options);
  }

  /**
   * Uses a cluster of `aws-cdk-lib/aws-eks-v2`. It needs `kubectlProviderOptions` (imported: `kubectlProvider`).
   *
   * Pods get their permissions by EKS Pod Identity. In Auto Mode, the agent and the controller of load balancers are built in. Other
   * clusters need the `eks-pod-identity-agent` add-on, which `KubernetesPrerequisites` makes, and the AWS Load Balancer Controller.
   */
  public static fromEksV2(cluster: eksv2.ICluster, options: KubernetesAccessOptions = {}): KubernetesAccess {
    return new EksV2Access(cluster, options);
  }

  /**
   * Applies nothing: the manifests are only collected in `manifests`, for a GitOps repository.
   * The AWS side (roles, pod identity associations) is still made.
   *
   * Load balancers need `loadBalancerClass`, and databases `podSecurityGroup`: the library knows nothing about the cluster.
   */
  public static manifestsOnly(options: ManifestsOnlyOptions): KubernetesAccess {
    return new ManifestsOnlyAccess(options);
  }

  /** The name of the cluster. */
  public abstract readonly clusterName: string;

  /** The namespace of everything that is applied. */
  public readonly namespace: string;

  private readonly _manifests: Manifest[] = [];
  private readonly applied: IConstruct[] = [];
  private readonly dependencies: IDependable[] = [];
  private readonly needs = new Needs();
  private readonly transforms = new Transforms();
  private writtenBy?: IConstruct;
  private existing?: ClusterPrerequisite[];
  private operatorRole?: iam.IRole;

  protected constructor(private readonly options: KubernetesAccessOptions) {
    this.namespace = options.namespace ?? 'default';
  }

  /**
   * All manifests of this access, in order. They contain tokens; write them with `stack.toJsonString()`.
   */
  public get manifests(): { [key: string]: unknown }[] {
    return [...this._manifests];
  }

  /** The connections of the pods, with the security group of their network interfaces. */
  public abstract get connections(): ec2.Connections;

  /**
   * The class of load balancers.
   *
   * @default - unknown
   */
  public get loadBalancerClass(): string | undefined {
    if (this.options.loadBalancerClass !== undefined || !this._cluster) { return this.options.loadBalancerClass; }
    return this._cluster.autoMode ? 'eks.amazonaws.com/nlb' : 'service.k8s.aws/nlb';
  }

  /**
   * The role of KEDA's operator, if the `KubernetesPrerequisites` of this access have KEDA. It reads the length of queues.
   *
   * @default - none
   */
  public get kedaOperatorRole(): iam.IRole | undefined {
    return this.operatorRole;
  }

  /**
   * Applies manifests with one `kubectl apply`, after everything that was given to `addDependency()`.
   *
   * @returns the construct of the applied manifests; depend on it to come after them
   */
  public applyManifest(scope: Construct, id: string, manifests: { [key: string]: unknown }[]): Construct {
    return this._applyFinal(scope, id, manifests.map(manifest => this._transformed(scope, manifest)));
  }

  /**
   * Changes every object of this access before it is applied: the one way to everything that the library has no option for, such as
   * tolerations, volumes, annotations and a priority class. Transforms run in the order in which they were added.
   *
   * Add it before anything is applied, right after the access is made; later it is an error. Only the cluster checks the result, except
   * that type and name of an object must stay.
   *
   * @example
   * declare const kubernetes: KubernetesAccess;
   *
   * class OnSpotNodes implements IManifestTransform {
   *   public transform(manifest: { [key: string]: any }): { [key: string]: any } {
   *     if (manifest.kind === 'Deployment') {
   *       manifest.spec.template.spec.tolerations = [{ key: 'spot', operator: 'Exists', effect: 'NoSchedule' }];
   *     }
   *     return manifest;
   *   }
   * }
   *
   * kubernetes.transform(new OnSpotNodes());
   */
  public transform(transform: IManifestTransform): void {
    this.transforms.add(transform);
  }

  /**
   * Applies every manifest after these constructs, for example after the namespace. This includes manifests that were added earlier,
   * except those among the given constructs.
   */
  public addDependency(...dependencies: IDependable[]): void {
    this.dependencies.push(...dependencies);
    const roots = new Set(this.dependencies.flatMap(dependency => Dependable.of(dependency).dependencyRoots));
    for (const applied of this.applied) {
      // Constructs that the manifests wait for can't wait for the manifests.
      if (!applied.node.scopes.some(scope => roots.has(scope))) { applied.node.addDependency(...dependencies); }
    }
  }

  /**
   * The host name of a Service's load balancer, which is read from the cluster at deployment.
   *
   * @param scope the scope of the resource that reads it
   * @param id its id
   * @param serviceName the name of the Service
   * @param after the construct that applies the Service
   * @returns undefined if nothing can be read, as with `manifestsOnly`
   * @internal
   */
  public _serviceAddress(scope: Construct, id: string, serviceName: string, after: IDependable): string | undefined {
    const value = this._cluster?.read(scope, id, {
      objectType: 'service',
      objectName: serviceName,
      objectNamespace: this.namespace,
      jsonPath: '.status.loadBalancer.ingress[0].hostname',
      // EKS makes a load balancer in two to three minutes; its name is known earlier.
      timeout: Duration.minutes(10),
    });
    value?.node.addDependency(after);
    return value?.value;
  }

  /**
   * Applies manifests before all others.
   *
   * @internal
   */
  public _applyPrerequisite(scope: Construct, id: string, manifests: Manifest[], overwrite?: boolean): Construct {
    return this.applyNow(scope, id, manifests.map(manifest => this._transformed(scope, manifest)), overwrite);
  }

  /**
   * Applies manifests that are transformed already. `overwrite` replaces existing objects.
   *
   * @internal
   */
  public _applyFinal(scope: Construct, id: string, manifests: Manifest[], overwrite?: boolean): Construct {
    const applied = this.applyNow(scope, id, manifests, overwrite);
    applied.node.addDependency(...this.dependencies);
    this.applied.push(applied);
    this.needs.add(scope, this.namespace, manifests);
    return applied;
  }

  /**
   * The object after all transforms.
   *
   * @internal
   */
  public _transformed(scope: Construct, manifest: Manifest): Manifest {
    return this.transforms.apply(scope, manifest);
  }

  /**
   * The objects in files, by the service that they belong to. Nothing may be added afterwards.
   *
   * @internal
   */
  public _write(by: IConstruct): ManifestFile[] {
    this.writtenBy = by;
    const files = filesOf(this._manifests);
    if (files.length === 0) { throw invalid(by, 'the KubernetesAccess has no objects yet: make its workloads before their files'); }
    return files;
  }

  /**
   * Makes the deployment wait until a field of an object has a value: again for each version of `manifest`, which has the object.
   *
   * @returns undefined if nothing can be read, as with `manifestsOnly`
   * @internal
   */
  public _waitFor(
    scope: Construct, id: string, field: Omit<ObjectField, 'objectNamespace'>, manifest: Manifest, after: IDependable[],
  ): Construct | undefined {
    const waiting = this._cluster?.read(scope, id, { ...field, objectNamespace: this.namespace });
    if (waiting) {
      waiting.node.addDependency(...after);
      waitForEachVersion(waiting, manifest);
    }
    return waiting;
  }

  /**
   * The cluster, unless this app applies nothing to it.
   *
   * @internal
   */
  public get _cluster(): EksCluster | undefined {
    return undefined;
  }

  /**
   * True if the cluster is in EKS Auto Mode, false if it isn't, undefined if that is unknown.
   *
   * @internal
   */
  public get _autoMode(): boolean | undefined {
    return this._cluster?.autoMode ?? isAutoModeClass(this.options.loadBalancerClass);
  }

  /**
   * The security group that all pods have, as far as it is known.
   *
   * @internal
   */
  public _securityGroups(): ec2.ISecurityGroup[] {
    const securityGroup = this.options.podSecurityGroup ?? this._cluster?.securityGroup;
    return securityGroup ? [securityGroup] : [];
  }

  /**
   * The parts of the cluster that its prerequisites know.
   *
   * @internal
   */
  public _setPrerequisites(scope: Construct, existing: ClusterPrerequisite[], kedaOperatorRole?: iam.IRole): void {
    if (this.existing) { throw invalid(scope, 'the KubernetesAccess has KubernetesPrerequisites already: make them once for each KubernetesAccess'); }
    this.existing = existing;
    this.operatorRole = kedaOperatorRole;
  }

  /**
   * Applies the manifests, if this app may, and returns their construct. `overwrite` replaces existing objects.
   *
   * @internal
   */
  protected abstract _apply(scope: Construct, id: string, manifests: { [key: string]: unknown }[], overwrite?: boolean): Construct;

  /**
   * Warns at synthesis about missing parts of the cluster.
   *
   * @internal
   */
  protected _watch(cluster: EksCluster): void {
    watchNeeds(cluster, this.namespace, this.needs, () => this.existing ?? []);
  }

  /** The function that applies manifests, and pod identities, exist only in the account and region of the cluster. */
  private refuseElsewhere(scope: Construct): void {
    if (!this._cluster) { return; }
    const { account, region } = this._cluster.construct.env;
    const stack = Stack.of(scope);
    const wrong = differ(account, stack.account) ? `account ${account}` : differ(region, stack.region) ? `region ${region}` : undefined;
    if (wrong) {
      throw invalid(scope, `the cluster is in ${wrong}, and the stack '${stack.node.path}' is in another: make the workloads of the cluster in a stack `
        + 'of the cluster\'s account and region. For resources of another account give the workload a targetRole of that account');
    }
  }

  private applyNow(scope: Construct, id: string, manifests: Manifest[], overwrite?: boolean): Construct {
    if (this.writtenBy) {
      throw invalid(scope, `the objects of the KubernetesAccess are in files of '${this.writtenBy.node.path}' already: make the files after all `
        + 'workloads');
    }
    this.refuseElsewhere(scope);
    for (const manifest of manifests) { this.refuseDuplicate(scope, manifest); }
    this._manifests.push(...manifests);
    return this._apply(scope, id, manifests, overwrite);
  }

  /** Refuses a second object with the same name: for Kubernetes, it would be a change of the first. */
  private refuseDuplicate(scope: Construct, manifest: Manifest): void {
    const identity = identityOf(manifest);
    if (identity !== undefined && this._manifests.some(other => identityOf(other) === identity)) {
      throw invalid(scope, `${identity} is applied already: give one of the two another name (serviceName)`);
    }
  }
}

/** A cluster of either kind to which manifests are applied. */
abstract class ClusterAccess extends KubernetesAccess {
  public readonly clusterName: string;

  constructor(private readonly cluster: EksCluster, options: KubernetesAccessOptions) {
    super(options);
    this.clusterName = cluster.construct.clusterName;
    this._watch(cluster);
  }

  public override get _cluster(): EksCluster {
    return this.cluster;
  }

  public get connections(): ec2.Connections {
    const [securityGroup] = this._securityGroups();
    if (!securityGroup) {
      throw invalid(this.cluster.construct, 'the security group of the pods isn\'t known: give `clusterSecurityGroupId` where the cluster is imported,'
        + ' or `podSecurityGroup` of the KubernetesAccess');
    }
    return new ec2.Connections({ securityGroups: [securityGroup] });
  }

  /** @internal */
  protected _apply(scope: Construct, id: string, manifests: Manifest[], overwrite?: boolean): Construct {
    return this.cluster.apply(scope, id, manifests, overwrite);
  }
}

class EksAccess extends ClusterAccess {
  constructor(cluster: eks.ICluster, options: KubernetesAccessOptions) {
    if (!(cluster instanceof eks.Cluster) && !cluster.kubectlProvider && !cluster.kubectlRole) {
      throw new Error('KubernetesAccess.fromEks needs a cluster with kubectl. Set `kubectlRoleArn` and `kubectlLayer` (or `kubectlProvider`) where the'
        + ' cluster is imported, or use KubernetesAccess.manifestsOnly() to apply manifests by other means.');
    }
    super(new EksV1Cluster(cluster, options.loadBalancerClass), options);
  }
}

class EksV2Access extends ClusterAccess {
  constructor(cluster: eksv2.ICluster, options: KubernetesAccessOptions) {
    if (!cluster.kubectlProvider) {
      throw new Error('KubernetesAccess.fromEksV2 needs a cluster with a kubectl provider. Set `kubectlProviderOptions` on the cluster'
        + ' (`kubectlProvider` on an imported one), or use KubernetesAccess.manifestsOnly() to apply manifests by other means.');
    }
    super(new EksV2Cluster(cluster, options.loadBalancerClass), options);
  }
}

class ManifestsOnlyAccess extends KubernetesAccess {
  public readonly clusterName: string;

  constructor(options: ManifestsOnlyOptions) {
    super(options);
    this.clusterName = options.clusterName;
  }

  public get connections(): ec2.Connections {
    const [securityGroup] = this._securityGroups();
    if (!securityGroup) {
      throw new Error('KubernetesAccess.manifestsOnly needs `podSecurityGroup` to open a database to the pods;'
        + ' give it the cluster security group.');
    }
    return new ec2.Connections({ securityGroups: [securityGroup] });
  }

  /** @internal */
  protected _apply(scope: Construct, id: string, _manifests: Manifest[]): Construct {
    return new Construct(scope, id);
  }
}
