import { Names, Size, Stack, Token, Tokenization } from 'aws-cdk-lib';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as eks from 'aws-cdk-lib/aws-eks';
import * as iam from 'aws-cdk-lib/aws-iam';
import { Construct, IDependable } from 'constructs';
import type { Manifest } from './manifest';
import { podPrincipal } from './pod-identity';
import { invalid, requireBlocks, requireInteger } from '../../private/validation';
import type { KubernetesAccess } from '../kubernetes-access';
import type { KubernetesContainerOptions } from '../kubernetes-container-options';
import type { WorkloadImage } from '../workload-image';

export interface PodOptions extends KubernetesContainerOptions {
  readonly kubernetes: KubernetesAccess;
  readonly image: WorkloadImage;
  /** The length leaves room for a suffix within the 63 characters of a Kubernetes name. */
  readonly maxNameLength: number;
  readonly port?: number;
  readonly managementPort?: number;
}

/** The common parts of a Deployment and a Job: identity, network and container. */
export class KubernetesPod {
  public readonly serviceName: string;
  public readonly role: iam.IRole;
  public readonly selector: { [key: string]: string };
  /** The pod identity association. Pods get credentials only if it exists when they are admitted. */
  public readonly identity: eks.CfnPodIdentityAssociation;

  constructor(private readonly scope: Construct, private readonly options: PodOptions) {
    this.serviceName = options.serviceName
      ?? Names.uniqueResourceName(scope, { maxLength: options.maxNameLength, separator: '-' }).toLowerCase();
    validateName(scope, this.serviceName, options.maxNameLength);
    requireInteger(scope, 'port', options.port, 1, 65535);
    validateEnvironment(scope, options);
    requireInteger(scope, 'managementPort', options.managementPort, 1, 65535);
    options.egressPorts?.forEach(port => requireInteger(scope, 'egressPorts', port, 1, 65535));
    for (const { ports, cidrs } of options.egressRules ?? []) {
      if (ports.length === 0) { throw invalid(scope, 'ports of egressRules must have at least one port: for Kubernetes, none means all ports'); }
      ports.forEach(port => requireInteger(scope, 'ports of egressRules', port, 1, 65535));
      requireBlocks(scope, 'cidrs of egressRules', cidrs);
    }
    requireBlocks(scope, 'httpsCidrs', options.httpsCidrs);
    if (options.cpu !== undefined && (Token.isUnresolved(options.cpu) || !(options.cpu >= 0.001))) {
      throw invalid(scope, `cpu is in vCPUs and must be at least 0.001 and no token, got ${Tokenization.stringifyNumber(options.cpu)}`);
    }

    requireInteger(scope, 'userId', options.userId, 1, 2 ** 31 - 1);
    if (options.ephemeralStorage && temporary(options.ephemeralStorage) < 1) {
      throw invalid(scope, `ephemeralStorage must be more than the ${LOGS_MEBIBYTES} MiB for logs, got ${options.ephemeralStorage.toMebibytes()} MiB`);
    }

    this.selector = { 'app.kubernetes.io/name': this.serviceName };
    this.role = options.role ?? new iam.Role(scope, 'Role', {
      assumedBy: podPrincipal(options.kubernetes.clusterName, options.kubernetes.namespace, this.serviceName),
    });
    this.identity = new eks.CfnPodIdentityAssociation(scope, 'PodIdentity', {
      clusterName: options.kubernetes.clusterName,
      namespace: options.kubernetes.namespace,
      serviceAccount: this.serviceName,
      roleArn: this.role.roleArn,
      targetRoleArn: options.targetRole?.roleArn,
    });
    if (options.targetRole) {
      const actions = ['sts:AssumeRole', 'sts:TagSession'];
      this.role.addToPrincipalPolicy(new iam.PolicyStatement({ actions, resources: [options.targetRole.roleArn] }));
    }
  }

  /** The identity of the pods in AWS. */
  public get grantPrincipal(): iam.IPrincipal {
    return (this.options.targetRole ?? this.role).grantPrincipal;
  }

  /** The connections of the pods' network interfaces. */
  public get connections(): ec2.Connections {
    return this.options.podSecurityGroup?.connections ?? this.options.kubernetes.connections;
  }

  /** The constructs that must exist before the pods are admitted, or they start without credentials. */
  public get prerequisites(): IDependable[] {
    const { targetRole } = this.options;
    // A role of another stack exists already, or is made first by the order of the stacks.
    const sameStack = targetRole && Stack.of(targetRole) === Stack.of(this.scope);
    return [this.identity, this.role, ...sameStack ? [targetRole] : []];
  }

  public metadata(name = this.serviceName): Manifest {
    return { name, namespace: this.options.kubernetes.namespace, labels: this.selector };
  }

  public serviceAccount(): Manifest {
    return { apiVersion: 'v1', kind: 'ServiceAccount', metadata: this.metadata(), automountServiceAccountToken: false };
  }

  /**
   * The labels of the pods. With the security group in them, another group is another pod: a pod gets its groups when it starts.
   */
  private get podLabels(): { [key: string]: string } {
    const { podSecurityGroup } = this.options;
    return { ...this.selector, ...podSecurityGroup && { 'cdk-order-pipeline/security-group': podSecurityGroup.securityGroupId } };
  }

  /** Gives the pods their own security group, if they have one. It must exist before the pods. */
  public securityGroupPolicy(): Manifest[] {
    const { podSecurityGroup, kubernetes } = this.options;
    if (!podSecurityGroup) { return []; }
    const groups = [podSecurityGroup, ...kubernetes._securityGroups()].map(({ securityGroupId }) => securityGroupId);
    return [{
      apiVersion: 'vpcresources.k8s.aws/v1beta1',
      kind: 'SecurityGroupPolicy',
      metadata: this.metadata(),
      spec: { podSelector: { matchLabels: this.podLabels }, securityGroups: { groupIds: [...new Set(groups)] } },
    }];
  }

  /** Allows only the incoming connections of `ingress`, and outgoing ones for names, credentials, HTTPS and those of the options. */
  public networkPolicy(ingress: Manifest[]): Manifest {
    const tcp = (port: number) => ({ protocol: 'TCP', port });
    const blocks = (cidrs: string[]) => cidrs.map((cidr) => ({ ipBlock: { cidr } }));
    const { egressPorts = [], egressRules = [], httpsCidrs } = this.options;
    const anywhere = [...httpsCidrs ? [] : [443], ...egressPorts];
    return {
      apiVersion: 'networking.k8s.io/v1',
      kind: 'NetworkPolicy',
      metadata: this.metadata(),
      spec: {
        podSelector: { matchLabels: this.selector },
        policyTypes: ['Ingress', 'Egress'],
        // The API server drops an empty list, and each later apply would find a difference. `policyTypes` is enough to deny everything.
        ...ingress.length > 0 ? { ingress } : {},
        egress: [
          { ports: [{ protocol: 'UDP', port: 53 }, tcp(53)] },
          // A rule without ports would allow all of them.
          ...anywhere.length > 0 ? [{ ports: anywhere.map(tcp) }] : [],
          ...httpsCidrs ? [{ to: blocks(httpsCidrs), ports: [tcp(443)] }] : [],
          // The pod identity agent, which returns the credentials of the role.
          { to: blocks(['169.254.170.23/32', 'fd00:ec2::23/128']), ports: [tcp(80)] },
          ...egressRules.map(({ ports, cidrs }) => ({ to: blocks(cidrs), ports: ports.map(tcp) })),
        ],
      },
    };
  }

  private nodeSelector(architecture?: string): Manifest {
    const { nodePool, nodeSelector } = this.options;
    const labels = {
      ...architecture !== undefined && { 'kubernetes.io/arch': architecture },
      ...nodePool !== undefined && { 'karpenter.sh/nodepool': nodePool },
    };
    for (const [label, value] of Object.entries(labels)) {
      if (nodeSelector?.[label] !== undefined && nodeSelector[label] !== value) {
        throw invalid(this.scope, `nodeSelector has ${label} = '${nodeSelector[label]}', and ${label === 'karpenter.sh/nodepool' ? 'nodePool is' : 'the image is for'
        } '${value}': leave one of them out`);
      }
    }
    const all = { ...labels, ...nodeSelector };
    return Object.keys(all).length === 0 ? {} : { nodeSelector: all };
  }

  public template(container: Manifest, spec: Manifest): Manifest {
    const { command, environment, cpu, memory, port, managementPort } = this.options;
    const { userId = 10001, ephemeralStorage = Size.mebibytes(512) } = this.options;
    const limits = { 'memory': mebibytes(memory?.toMebibytes() ?? 256), 'ephemeral-storage': mebibytes(ephemeralStorage.toMebibytes()) };
    const image = this.options.image.bind(this.scope);
    const variables: { [key: string]: string } = {
      SERVICE_NAME: this.serviceName,
      // EKS Pod Identity, unlike roles for service accounts, doesn't set the region for the SDK.
      AWS_REGION: Stack.of(this.scope).region,
      ...port === undefined ? {} : { PORT: Tokenization.stringifyNumber(port) },
      ...managementPort === undefined ? {} : { MANAGEMENT_PORT: Tokenization.stringifyNumber(managementPort) },
      ...environment,
    };
    return {
      metadata: { labels: this.podLabels },
      spec: {
        serviceAccountName: this.serviceName,
        automountServiceAccountToken: false,
        enableServiceLinks: false,
        securityContext: {
          // A number, because the kubelet can't check that a user with a name isn't root.
          runAsNonRoot: true,
          runAsUser: userId,
          runAsGroup: userId,
          fsGroup: userId,
          seccompProfile: { type: 'RuntimeDefault' },
        },
        ...this.nodeSelector(image.architecture),
        ...spec,
        containers: [{
          name: 'main',
          image: image.imageUri,
          ...command === undefined ? {} : { command },
          // The API server drops an empty value, and each later apply would find a difference.
          env: Object.entries(variables).map(([name, value]) => value === '' ? { name } : { name, value }),
          resources: {
            requests: { cpu: canonical(Math.round((cpu ?? 0.25) * 1000), 1000, '', 'm'), ...limits },
            limits,
          },
          securityContext: {
            allowPrivilegeEscalation: false,
            readOnlyRootFilesystem: true,
            capabilities: { drop: ['ALL'] },
          },
          volumeMounts: [{ name: 'tmp', mountPath: '/tmp' }],
          ...container,
        }],
        volumes: [{ name: 'tmp', emptyDir: { sizeLimit: mebibytes(temporary(ephemeralStorage)) } }],
      },
    };
  }
}

/** Returns a quantity as the API server writes it; otherwise each later apply would find a difference. */
function canonical(value: number, base: number, unit: string, part: string): string {
  return value % base === 0 ? `${value / base}${unit}` : `${value}${part}`;
}

function mebibytes(value: number): string {
  return canonical(value, 1024, 'Gi', 'Mi');
}

/** Room for the logs of a container, which the kubelet rotates at 50 MiB by default. */
const LOGS_MEBIBYTES = 128;

function temporary(ephemeralStorage: Size): number {
  return ephemeralStorage.toMebibytes() - LOGS_MEBIBYTES;
}

/** Refuses inputs that the API server refuses, or with which pods never get ready. */
function validateEnvironment(scope: Construct, { environment = {}, port }: PodOptions) {
  for (const name of Object.keys(environment)) {
    // Printable ASCII without `=`, which is the rule of Kubernetes.
    if (!Token.isUnresolved(name) && !/^[ -<>-~]+$/.test(name)) {
      throw invalid(scope, `environment has the name ${JSON.stringify(name)}: a name must not be empty and must be printable ASCII without '='`);
    }
  }
  if (port !== undefined && 'PORT' in environment) {
    throw invalid(scope, 'environment.PORT can\'t be given, as probes and Service would use another port: set port instead');
  }
  if (port !== undefined && 'MANAGEMENT_PORT' in environment) {
    throw invalid(scope, 'environment.MANAGEMENT_PORT can\'t be given, as probes would use another port: set managementPort instead');
  }
}

function validateName(scope: Construct, name: string, maxLength: number) {
  if (!Token.isUnresolved(name) && !(/^[a-z][-a-z0-9]*[a-z0-9]$/.test(name) && name.length <= maxLength)) {
    throw invalid(scope, `serviceName must be 2 to ${maxLength} lower-case letters, digits and hyphens, start with a letter`
      + ` and not end with a hyphen, got '${name}'`);
  }
}
