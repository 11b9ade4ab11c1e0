import { Duration } from 'aws-cdk-lib';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as eks from 'aws-cdk-lib/aws-eks';
import * as eksv2 from 'aws-cdk-lib/aws-eks-v2';
import type { Construct, IConstruct } from 'constructs';
import type { Manifest } from './manifest';

/** A Helm chart. */
export interface Chart {
  readonly chart: string;
  readonly repository: string;
  readonly version: string;
  readonly namespace: string;
  readonly values: { [key: string]: unknown };
}

/** A field of an object in the cluster. */
export interface ObjectField {
  readonly objectType: string;
  readonly objectName: string;
  readonly objectNamespace: string;
  readonly jsonPath: string;
  /** The time limit for the field to have a value. */
  readonly timeout: Duration;
}

/** The differences between the two generations of clusters. */
export abstract class EksCluster {
  /** True if the cluster is made in this app, so that the construct tree contains its parts. */
  public abstract readonly made: boolean;

  /** True if nodes, network and load balancers are those of EKS Auto Mode. */
  public readonly autoMode: boolean;

  protected constructor(public readonly construct: eks.ICluster | eksv2.ICluster, loadBalancerClass: string | undefined, unknown: boolean) {
    const config = this.resource?.computeConfig as { enabled?: boolean } | undefined;
    this.autoMode = config?.enabled ?? isAutoModeClass(loadBalancerClass) ?? unknown;
  }

  /** The version of Kubernetes, if the cluster is made here. */
  public get version(): string | undefined {
    return this.resource?.version;
  }

  /** The VPC, as far as it is known. */
  public get vpc(): ec2.IVpc | undefined {
    return orUndefined(() => this.construct.vpc);
  }

  /** The security group of nodes and pods, as far as it is known. */
  public get securityGroup(): ec2.ISecurityGroup | undefined {
    return orUndefined(() => this.construct.clusterSecurityGroup);
  }

  public abstract apply(scope: Construct, id: string, manifest: Manifest[], overwrite?: boolean): Construct;
  public abstract install(scope: Construct, id: string, chart: Chart): Construct;
  public abstract read(scope: Construct, id: string, what: ObjectField): EksValue;

  /** The pod identity agent, if the cluster is made here. Service accounts of the core share it. */
  public abstract podIdentityAgent(): IConstruct | undefined;

  private get resource(): eks.CfnCluster | undefined {
    // In the older kind, it is a custom resource without these properties.
    return this.construct.node.defaultChild as eks.CfnCluster | undefined;
  }
}

/** A value that is read at deployment. */
type EksValue = Construct & { readonly value: string };

/** Load balancers of EKS Auto Mode have their own class. Without a class it is unknown. */
export function isAutoModeClass(loadBalancerClass: string | undefined): boolean | undefined {
  return loadBalancerClass?.startsWith('eks.amazonaws.com/');
}

/** A chart has images to pull, on nodes that may have to start first. */
const CHART_TIMEOUT = Duration.minutes(10);

export class EksV1Cluster extends EksCluster {
  public readonly made: boolean;

  constructor(private readonly cluster: eks.ICluster, loadBalancerClass?: string) {
    super(cluster, loadBalancerClass, false);
    this.made = cluster instanceof eks.Cluster;
  }

  public apply(scope: Construct, id: string, manifest: Manifest[], overwrite?: boolean): Construct {
    return new eks.KubernetesManifest(scope, id, { cluster: this.cluster, manifest, overwrite });
  }

  public install(scope: Construct, id: string, chart: Chart): Construct {
    return new eks.HelmChart(scope, id, { cluster: this.cluster, ...chart, ...installing(chart) });
  }

  public read(scope: Construct, id: string, what: ObjectField): EksValue {
    return new eks.KubernetesObjectValue(scope, id, { cluster: this.cluster, ...what });
  }

  public podIdentityAgent(): IConstruct | undefined {
    return this.cluster instanceof eks.Cluster ? this.cluster.eksPodIdentityAgent : undefined;
  }
}

export class EksV2Cluster extends EksCluster {
  public readonly made: boolean;

  constructor(private readonly cluster: eksv2.ICluster, loadBalancerClass?: string) {
    super(cluster, loadBalancerClass, true);
    this.made = cluster instanceof eksv2.Cluster;
  }

  public apply(scope: Construct, id: string, manifest: Manifest[], overwrite?: boolean): Construct {
    // cluster.addManifest() is not used: the manifests of a workload belong to the stack of the workload.
    return new eksv2.KubernetesManifest(scope, id, { cluster: this.cluster, manifest, overwrite });
  }

  public install(scope: Construct, id: string, chart: Chart): Construct {
    return new eksv2.HelmChart(scope, id, { cluster: this.cluster, ...chart, ...installing(chart) });
  }

  public read(scope: Construct, id: string, what: ObjectField): EksValue {
    return new eksv2.KubernetesObjectValue(scope, id, { cluster: this.cluster, ...what });
  }

  public podIdentityAgent(): IConstruct | undefined {
    return this.cluster instanceof eksv2.Cluster ? this.cluster.eksPodIdentityAgent : undefined;
  }
}

/** The release has the name of the chart. Its namespace is applied separately, with its labels. */
function installing({ chart }: Chart) {
  return { release: chart, createNamespace: false, wait: true, timeout: CHART_TIMEOUT };
}

/** Imported clusters throw an error for a property that they were not given. */
function orUndefined<T>(get: () => T): T | undefined {
  try {
    return get();
  } catch {
    return undefined;
  }
}
