import { Annotations, CfnResource, Stack, Token } from 'aws-cdk-lib';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import type { IConstruct } from 'constructs';
import type { EksCluster } from './cluster';
import type { Manifest } from './manifest';
import { ClusterPrerequisite } from '../cluster-prerequisite';

type Need = ClusterPrerequisite | 'LOAD_BALANCER' | 'POD_SECURITY_GROUPS';

/** The needs of the applied manifests, and the construct that had each need first. */
export class Needs {
  private readonly first = new Map<Need, IConstruct>();

  public add(scope: IConstruct, namespace: string, manifests: Manifest[]): void {
    const needs = manifests.flatMap(needsOf);
    if (namespace !== 'default') { needs.push(ClusterPrerequisite.NAMESPACE); }
    for (const need of needs) {
      if (!this.first.has(need)) { this.first.set(need, scope); }
    }
  }

  public of(need: Need): IConstruct | undefined {
    return this.first.get(need);
  }
}

function needsOf({ kind, spec }: Manifest): Need[] {
  switch (kind) {
    case 'HorizontalPodAutoscaler': {
      const { metrics = [] } = spec as { metrics?: { type: string }[] };
      return metrics.some(({ type }) => type === 'Resource') ? [ClusterPrerequisite.METRICS_SERVER] : [];
    }
    case 'NetworkPolicy': return [ClusterPrerequisite.NETWORK_POLICIES];
    case 'ScaledObject': {
      const { triggers } = spec as { triggers: { type: string }[] };
      return triggers.some(({ type }) => type === 'cpu') ? [ClusterPrerequisite.KEDA, ClusterPrerequisite.METRICS_SERVER] : [ClusterPrerequisite.KEDA];
    }
    case 'SecurityGroupPolicy': return ['POD_SECURITY_GROUPS'];
    case 'Service': return (spec as { type?: string }).type === 'LoadBalancer' ? ['LOAD_BALANCER'] : [];
    default: return [];
  }
}

/**
 * Warns at synthesis about parts that the workloads need and the cluster doesn't have. It checks only clusters of this app: the parts
 * of other clusters are unknown.
 */
export function watchNeeds(cluster: EksCluster, namespace: string, needs: Needs, existing: () => ClusterPrerequisite[]): void {
  cluster.construct.node.addValidation({
    validate: () => {
      warn(cluster, namespace, needs, existing());
      return [];
    },
  });
}

const MAKE = 'make a KubernetesPrerequisites for this KubernetesAccess, or acknowledge this warning if the cluster gets it by other means';

function warn(cluster: EksCluster, namespace: string, needs: Needs, existing: ClusterPrerequisite[]): void {
  const supplies = new Supplies(cluster);
  const missing = (need: ClusterPrerequisite, id: string, supplied: () => boolean, message: string) => {
    const scope = needs.of(need);
    if (scope && cluster.made && !existing.includes(need) && !supplied()) {
      Annotations.of(scope).addWarningV2(`cdk-order-pipeline:${id}`, `${message}: ${MAKE}`);
    }
  };
  missing(ClusterPrerequisite.METRICS_SERVER, 'metricsServerMissing', () => supplies.addon('metrics-server') || supplies.chart('metrics-server'),
    'Autoscaling by CPU needs the metrics-server add-on, and nothing in this app adds it to the cluster, so no replica is ever added');
  missing(ClusterPrerequisite.NETWORK_POLICIES, 'networkPoliciesNotEnforced',
    () => supplies.object('ConfigMap', 'amazon-vpc-cni') || supplies.addon('vpc-cni', 'enableNetworkPolicy') || supplies.chart('(cilium|calico|tigera)'),
    'Nothing in this app makes the cluster enforce network policies, so pods accept and open any connection');
  missing(ClusterPrerequisite.NAMESPACE, 'namespaceMissing', () => Token.isUnresolved(namespace) || supplies.object('Namespace', namespace),
    `Nothing in this app makes the namespace '${namespace}', and a deployment into a namespace that doesn't exist fails`);
  missing(ClusterPrerequisite.KEDA, 'kedaMissing', () => supplies.chart('keda') || supplies.addon('keda'),
    'A consumer is scaled by KEDA, and nothing in this app installs it in the cluster, so the deployment fails');

  const exposed = needs.of('LOAD_BALANCER');
  if (exposed && cluster.vpc && !(cluster.vpc instanceof ec2.Vpc)) {
    Annotations.of(exposed).addWarningV2('cdk-order-pipeline:subnetTagsUnknown', 'The VPC of the cluster is not made in this app: an internal '
      + 'load balancer is only made in subnets with the tag kubernetes.io/role/internal-elb = 1. Check that at least two private subnets '
      + 'have it, in different zones, then acknowledge this warning');
  }
  const grouped = needs.of('POD_SECURITY_GROUPS');
  if (grouped && cluster.made && cluster.autoMode && isBefore(cluster.version, 36)) {
    Annotations.of(grouped).addWarningV2('cdk-order-pipeline:podSecurityGroupIgnored', 'podSecurityGroup has no effect in EKS Auto Mode before '
      + `Kubernetes 1.36, and this cluster has ${cluster.version}: pods get the cluster security group only, and reach nothing that is `
      + 'open to their own. Update the cluster, or leave podSecurityGroup out');
  }
}

function isBefore(version: string | undefined, minor: number): boolean {
  const found = /^1\.(\d+)$/.exec(version ?? '');
  return found !== null && Number(found[1]) < minor;
}

/** The parts of clusters in the construct tree. It does not distinguish several clusters: a missing warning is better than a wrong one. */
class Supplies {
  private resources?: CfnResource[];

  constructor(private readonly cluster: EksCluster) {}

  public addon(name: string, configuration = ''): boolean {
    return this.any('AWS::EKS::Addon', new RegExp(`"addonName":"[^"]*${name}`, 'i'), new RegExp(configuration));
  }

  public chart(name: string): boolean {
    return this.any('Custom::AWSCDK-EKS-HelmChart', new RegExp(`"(Chart|Release)":"[^"]*${name}`, 'i'));
  }

  public object(kind: string, name: string): boolean {
    return this.any('Custom::AWSCDK-EKS-KubernetesResource', new RegExp(`"kind":"${kind}"`), new RegExp(`"name":"${name}"`));
  }

  private any(type: string, ...patterns: RegExp[]): boolean {
    this.resources ??= this.cluster.construct.node.root.node.findAll().filter((construct) => CfnResource.isCfnResource(construct));
    return this.resources.some((resource) => {
      if (resource.cfnResourceType !== type) { return false; }
      const text = textOf(resource);
      return patterns.every((pattern) => pattern.test(text));
    });
  }
}

/** Returns the properties of a resource in one line. Manifests are strings in it: their quotes lose the backslashes. */
function textOf(resource: CfnResource): string {
  // Custom resources have no public access to their properties.
  const template: unknown = (resource as unknown as { _toCloudFormation(): object })._toCloudFormation();
  return JSON.stringify(Stack.of(resource).resolve(template)).replace(/\\/g, '').replace(/"(AddonName)":/, '"addonName":');
}
