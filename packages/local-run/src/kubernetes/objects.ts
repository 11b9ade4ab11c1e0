import type { Resource } from '../assembly/model.ts';

/** The part of Kubernetes objects that is read; everything in a manifest may be missing or wrong. */
export interface KubernetesObject {
  readonly kind?: string;
  readonly metadata?: { readonly name?: string; readonly namespace?: string; readonly labels?: Record<string, string> };
  readonly spec?: Record<string, unknown>;
  readonly data?: Record<string, string>;
  readonly stringData?: Record<string, string>;
}

export interface Container {
  readonly name?: string;
  readonly image?: string;
  readonly command?: readonly string[];
  readonly args?: readonly string[];
  readonly workingDir?: string;
  readonly env?: readonly { readonly name: string; readonly value?: unknown; readonly valueFrom?: ValueFrom }[];
  readonly envFrom?: readonly { readonly prefix?: string; readonly configMapRef?: SourceRef; readonly secretRef?: SourceRef }[];
  readonly ports?: readonly { readonly name?: string; readonly containerPort: number }[];
  readonly resources?: { readonly limits?: Record<string, unknown>; readonly requests?: Record<string, unknown> };
  readonly startupProbe?: RawProbe;
  readonly readinessProbe?: RawProbe;
  readonly livenessProbe?: RawProbe;
  readonly lifecycle?: { readonly preStop?: PreStop };
  /** `Always` makes an init container one that stays beside the others. */
  readonly restartPolicy?: string;
  readonly volumeMounts?: readonly { readonly name: string; readonly mountPath?: string }[];
}

interface PreStop { readonly sleep?: { readonly seconds?: number }; readonly exec?: unknown; readonly httpGet?: unknown }
export interface SourceRef { readonly name: string; readonly optional?: boolean }
export interface ValueFrom {
  readonly configMapKeyRef?: SourceRef & { readonly key: string };
  readonly secretKeyRef?: SourceRef & { readonly key: string };
  readonly fieldRef?: { readonly fieldPath: string };
  readonly resourceFieldRef?: { readonly resource: string };
}
export interface RawProbe {
  readonly httpGet?: { readonly path?: string; readonly port: string | number };
  readonly tcpSocket?: { readonly port: string | number };
  readonly exec?: unknown;
  readonly grpc?: unknown;
  readonly initialDelaySeconds?: number;
  readonly periodSeconds?: number;
  readonly timeoutSeconds?: number;
  readonly failureThreshold?: number;
}
export interface PodTemplate {
  readonly metadata?: { readonly labels?: Record<string, string>; readonly annotations?: Record<string, string> };
  readonly spec?: {
    readonly containers?: readonly Container[];
    readonly initContainers?: readonly Container[];
    readonly terminationGracePeriodSeconds?: number;
    readonly serviceAccountName?: string;
    /** Each has its name, and its source under the name of its kind. */
    readonly volumes?: readonly ({ readonly name: string } & Readonly<Record<string, unknown>>)[];
  };
}

/** An object of a manifest, with the resource that has the manifest. */
export interface ManifestObject {
  readonly object: KubernetesObject;
  readonly resource: Resource;
}

export function sameNamespace(one: KubernetesObject, other: KubernetesObject): boolean {
  return (one.metadata?.namespace ?? 'default') === (other.metadata?.namespace ?? 'default');
}

/** A port with its name, if it has one. */
export function named<Port extends object>(name: string | undefined, port: Port): Port & { readonly name?: string } {
  return name === undefined ? port : { name, ...port };
}

/** Kinds that mean something only to a cluster. */
export const WITHOUT_COUNTERPART = new Set([
  'Namespace', 'ServiceAccount', 'Role', 'RoleBinding', 'ClusterRole', 'ClusterRoleBinding', 'NetworkPolicy', 'PodDisruptionBudget', 'PriorityClass',
  'ResourceQuota', 'LimitRange', 'NodePool', 'NodeClass', 'EC2NodeClass', 'IngressClass', 'IngressClassParams', 'StorageClass', 'CustomResourceDefinition',
  'VerticalPodAutoscaler', 'ServiceMonitor', 'PodMonitor', 'TriggerAuthentication', 'ClusterTriggerAuthentication', 'SecurityGroupPolicy',
  'TargetGroupBinding',
]);

/** Kinds that are not made, with their meaning for the run. */
export const CONSEQUENCES_BY_KIND: Readonly<Record<string, string>> = {
  Ingress: 'no request comes through it; ask its Services at their own ports',
  Gateway: 'no request comes through it; ask the Services behind it at their own ports',
  HTTPRoute: 'no request comes through it; ask its Services at their own ports',
  GRPCRoute: 'no request comes through it; ask its Services at their own ports',
  CronJob: 'its job does not run at its times',
  DaemonSet: 'its containers do not run',
  ReplicaSet: 'its containers do not run; a Deployment with the same template does',
  Pod: 'its containers do not run; a Deployment with the same template does',
  PersistentVolumeClaim: 'a container that mounts it does not find its files',
  PersistentVolume: 'a container that mounts it does not find its files',
  ExternalSecret: 'the Secret that it makes is not there, so a workload that needs it is not started',
  SecretProviderClass: 'a container that mounts it does not find its files',
};

/** The meaning of any other kind. */
export const CONSEQUENCE_OF_OTHERS = 'nothing in this run acts on it';
