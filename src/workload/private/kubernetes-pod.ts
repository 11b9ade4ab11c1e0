import { Names, Stack, Token, Tokenization } from 'aws-cdk-lib';
import * as eks from 'aws-cdk-lib/aws-eks';
import * as iam from 'aws-cdk-lib/aws-iam';
import { Construct } from 'constructs';
import { invalid, requireInteger } from '../../private/validation';
import type { KubernetesAccess } from '../kubernetes-access';
import type { KubernetesContainerOptions } from '../kubernetes-container-options';
import type { WorkloadImage } from '../workload-image';

type Manifest = { [key: string]: unknown };

export interface PodOptions extends KubernetesContainerOptions {
  readonly kubernetes: KubernetesAccess;
  readonly image: WorkloadImage;
  /** Leaves room for a suffix within the 63 characters of a Kubernetes name. */
  readonly maxNameLength: number;
  readonly port?: number;
}

/** What a Deployment and a Job have in common: identity, network and container. */
export class KubernetesPod {
  public readonly serviceName: string;
  public readonly role: iam.IRole;
  public readonly selector: { [key: string]: string };
  /** The service account's link to the role. Pods get credentials only if it is there when they are admitted. */
  public readonly identity: eks.CfnPodIdentityAssociation;

  constructor(private readonly scope: Construct, private readonly options: PodOptions) {
    this.serviceName = options.serviceName
      ?? Names.uniqueResourceName(scope, { maxLength: options.maxNameLength, separator: '-' }).toLowerCase();
    validateName(scope, this.serviceName, options.maxNameLength);
    requireInteger(scope, 'port', options.port, 1, 65535);
    options.egressPorts?.forEach(port => requireInteger(scope, 'egressPorts', port, 1, 65535));
    if (options.cpu !== undefined && (Token.isUnresolved(options.cpu) || !(options.cpu >= 0.001))) {
      throw invalid(scope, `cpu is in vCPUs and must be at least 0.001 and no token, got ${Tokenization.stringifyNumber(options.cpu)}`);
    }

    this.selector = { 'app.kubernetes.io/name': this.serviceName };
    this.role = options.role ?? new iam.Role(scope, 'Role', { assumedBy: podPrincipal(options.kubernetes, this.serviceName) });
    this.identity = new eks.CfnPodIdentityAssociation(scope, 'PodIdentity', {
      clusterName: options.kubernetes.clusterName,
      namespace: options.kubernetes.namespace,
      serviceAccount: this.serviceName,
      roleArn: this.role.roleArn,
    });
  }

  public metadata(name = this.serviceName): Manifest {
    return { name, namespace: this.options.kubernetes.namespace, labels: this.selector };
  }

  public serviceAccount(): Manifest {
    return { apiVersion: 'v1', kind: 'ServiceAccount', metadata: this.metadata(), automountServiceAccountToken: false };
  }

  /** Nothing comes in but what `ingress` allows; out go name resolution, credentials, AWS APIs and `egressPorts`. */
  public networkPolicy(ingress: Manifest[]): Manifest {
    const tcp = (port: number) => ({ protocol: 'TCP', port });
    return {
      apiVersion: 'networking.k8s.io/v1',
      kind: 'NetworkPolicy',
      metadata: this.metadata(),
      spec: {
        podSelector: { matchLabels: this.selector },
        policyTypes: ['Ingress', 'Egress'],
        ingress,
        egress: [
          { ports: [{ protocol: 'UDP', port: 53 }, tcp(53)] },
          { ports: [tcp(443), ...(this.options.egressPorts ?? []).map(tcp)] },
          // The pod identity agent, which hands out the role's credentials.
          { to: [{ ipBlock: { cidr: '169.254.170.23/32' } }, { ipBlock: { cidr: 'fd00:ec2::23/128' } }], ports: [tcp(80)] },
        ],
      },
    };
  }

  public template(container: Manifest, spec: Manifest): Manifest {
    const { command, environment, cpu, memory, port } = this.options;
    const image = this.options.image.bind(this.scope);
    const variables: { [key: string]: string } = {
      SERVICE_NAME: this.serviceName,
      // EKS Pod Identity, unlike roles for service accounts, doesn't tell the SDK the region.
      AWS_REGION: Stack.of(this.scope).region,
      ...port === undefined ? {} : { PORT: Tokenization.stringifyNumber(port) },
      ...environment,
    };
    return {
      metadata: { labels: this.selector },
      spec: {
        serviceAccountName: this.serviceName,
        automountServiceAccountToken: false,
        enableServiceLinks: false,
        securityContext: {
          // A number, because the kubelet can't tell that a user of another name isn't root.
          runAsNonRoot: true,
          runAsUser: 1000,
          runAsGroup: 1000,
          fsGroup: 1000,
          seccompProfile: { type: 'RuntimeDefault' },
        },
        ...image.architecture === undefined ? {} : { nodeSelector: { 'kubernetes.io/arch': image.architecture } },
        ...spec,
        containers: [{
          name: 'main',
          image: image.imageUri,
          ...command === undefined ? {} : { command },
          env: Object.entries(variables).map(([name, value]) => ({ name, value })),
          resources: {
            requests: { cpu: `${Math.round((cpu ?? 0.25) * 1000)}m`, memory: `${memory?.toMebibytes() ?? 256}Mi` },
            limits: { memory: `${memory?.toMebibytes() ?? 256}Mi` },
          },
          securityContext: {
            allowPrivilegeEscalation: false,
            readOnlyRootFilesystem: true,
            capabilities: { drop: ['ALL'] },
          },
          volumeMounts: [{ name: 'tmp', mountPath: '/tmp' }],
          ...container,
        }],
        volumes: [{ name: 'tmp', emptyDir: { sizeLimit: '256Mi' } }],
      },
    };
  }
}

/** Only the service account of this name, in this cluster and namespace. */
function podPrincipal(kubernetes: KubernetesAccess, serviceAccount: string): iam.IPrincipal {
  return new iam.ServicePrincipal('pods.eks.amazonaws.com', {
    conditions: {
      StringEquals: {
        'aws:RequestTag/eks-cluster-name': kubernetes.clusterName,
        'aws:RequestTag/kubernetes-namespace': kubernetes.namespace,
        'aws:RequestTag/kubernetes-service-account': serviceAccount,
      },
    },
  }).withSessionTags();
}

function validateName(scope: Construct, name: string, maxLength: number) {
  if (!Token.isUnresolved(name) && !(/^[a-z][-a-z0-9]*[a-z0-9]$/.test(name) && name.length <= maxLength)) {
    throw invalid(scope, `serviceName must be 2 to ${maxLength} lower-case letters, digits and hyphens, start with a letter`
      + ` and not end with a hyphen, got '${name}'`);
  }
}
