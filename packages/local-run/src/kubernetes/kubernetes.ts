import { posix } from 'node:path';
import type { ImageAsset } from '../assembly/assembly.ts';
import { messageOf } from '../errors.ts';
import { UnresolvedError } from '../assembly/intrinsics.ts';
import type { Model, Resource } from '../assembly/model.ts';
import { readImage } from './dockerfile.ts';
import type { ContainerSpec, PodSpec, Probe, ServiceSpec } from '../processes/specs.ts';
import type { RunContext } from '../service.ts';

/** The part of Kubernetes objects that is read; everything in a manifest may be missing or wrong. */
interface KubernetesObject {
  readonly kind?: string;
  readonly metadata?: { readonly name?: string; readonly namespace?: string; readonly labels?: Record<string, string> };
  readonly spec?: Record<string, unknown>;
  readonly data?: Record<string, string>;
  readonly stringData?: Record<string, string>;
}

interface Container {
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
  readonly lifecycle?: { readonly preStop?: { readonly sleep?: { readonly seconds?: number }; readonly exec?: unknown; readonly httpGet?: unknown } };
}

interface SourceRef { readonly name: string; readonly optional?: boolean }
interface ValueFrom {
  readonly configMapKeyRef?: SourceRef & { readonly key: string };
  readonly secretKeyRef?: SourceRef & { readonly key: string };
  readonly fieldRef?: { readonly fieldPath: string };
  readonly resourceFieldRef?: { readonly resource: string };
}
interface RawProbe {
  readonly httpGet?: { readonly path?: string; readonly port: string | number };
  readonly tcpSocket?: { readonly port: string | number };
  readonly initialDelaySeconds?: number;
  readonly periodSeconds?: number;
  readonly timeoutSeconds?: number;
  readonly failureThreshold?: number;
}
interface PodTemplate {
  readonly metadata?: { readonly labels?: Record<string, string> };
  readonly spec?: {
    readonly containers?: readonly Container[];
    readonly initContainers?: readonly Container[];
    readonly terminationGracePeriodSeconds?: number;
    readonly serviceAccountName?: string;
  };
}

/** Objects that mean something only to a cluster. */
const WITHOUT_COUNTERPART = new Set([
  'Namespace', 'ServiceAccount', 'Role', 'RoleBinding', 'ClusterRole', 'ClusterRoleBinding', 'NetworkPolicy', 'PodDisruptionBudget', 'PriorityClass',
  'ResourceQuota', 'LimitRange', 'NodePool', 'NodeClass', 'EC2NodeClass', 'IngressClass', 'IngressClassParams', 'StorageClass', 'CustomResourceDefinition',
  'VerticalPodAutoscaler', 'ServiceMonitor', 'PodMonitor', 'TriggerAuthentication', 'ClusterTriggerAuthentication', 'SecurityGroupPolicy',
  'TargetGroupBinding',
]);

/** Reads every Kubernetes manifest of the stacks into what can be started. */
export class KubernetesReader {
  readonly #context: RunContext;
  /** The Services of the manifests. */
  readonly services: ServiceSpec[] = [];
  readonly #unresolved: UnresolvedError[] = [];
  readonly #objects: { readonly object: KubernetesObject; readonly resource: Resource }[] = [];

  constructor(context: RunContext) {
    this.#context = context;
  }

  read(model: Model): void {
    // Jobs run one after another: in the order of the deployment.
    for (const resource of model.inDeploymentOrder('Custom::AWSCDK-EKS-KubernetesResource')) this.#collect(resource);
    for (const { object, resource } of this.#objects) {
      try {
        this.#take(object, resource);
      } catch (error) {
        if (!(error instanceof UnresolvedError)) throw error;
        this.#context.warn(`${object.kind} ${object.metadata?.name} is not started: ${error.message}`);
      }
    }
  }

  #collect(resource: Resource): void {
    const before = this.#unresolved.length;
    const text = resource.stack.evaluator.resolveLeniently(resource.source.Properties?.['Manifest'], `${resource.path}.Manifest`, (error) => {
      this.#unresolved.push(error);
      return `\u27e6${this.#unresolved.length - 1}\u27e7`;
    });
    try {
      const objects = JSON.parse(String(text)) as KubernetesObject | KubernetesObject[];
      for (const object of Array.isArray(objects) ? objects : [objects]) this.#objects.push({ object, resource });
    } catch (error) {
      const reason = this.#unresolved[before]?.message ?? messageOf(error);
      this.#context.warn(`The Kubernetes manifest ${resource.constructPath} cannot be read and is left out: ${reason}`);
    }
  }

  /** A value that is really used now: if the template could not say it, this is the error. */
  #needed(value: string): string {
    const index = /\u27e6(\d+)\u27e7/.exec(value)?.[1];
    if (index !== undefined) throw this.#unresolved[Number(index)] ?? new UnresolvedError(`${value} is not known.`);
    return value;
  }

  #take(object: KubernetesObject, resource: Resource): void {
    const { kind = '', metadata = {}, spec = {} } = object;
    const name = metadata.name ?? resource.id;
    switch (kind) {
      case 'Deployment':
      case 'StatefulSet': {
        const pod = this.#pod(object, spec['template'] as PodTemplate | undefined, `${kind} ${name}`);
        if (pod) this.#context.workloads.add({ kind, name, replicas: this.#replicas(object), pod });
        break;
      }
      case 'Job': {
        const pod = this.#pod(object, spec['template'] as PodTemplate | undefined, `Job ${name}`);
        const deadline = spec['activeDeadlineSeconds'];
        if (pod) {
          this.#context.workloads.addJob({
            name, pod, backoffLimit: Number(spec['backoffLimit'] ?? 6), deadlineSeconds: deadline === undefined ? undefined : Number(deadline),
          });
        }
        break;
      }
      case 'Service': {
        const ports = (spec['ports'] ?? []) as { name?: string; port: number; targetPort?: string | number }[];
        this.services.push({
          name,
          namespace: metadata.namespace ?? 'default',
          selector: (spec['selector'] ?? {}) as Record<string, string>,
          ports: ports.map((port) => ({ ...(port.name !== undefined && { name: port.name }), port: port.port, targetPort: port.targetPort ?? port.port })),
        });
        break;
      }
      case 'HorizontalPodAutoscaler':
      case 'ScaledObject':
      case 'ConfigMap':
      case 'Secret':
        // Read where a workload refers to it. What is for the cluster itself, such as the settings of its network plugin, nobody reads here.
        if (metadata.namespace === 'kube-system') this.#leaveOut(kind);
        break;
      default:
        if (WITHOUT_COUNTERPART.has(kind)) this.#leaveOut(kind);
        else this.#context.warn(`The local run cannot make ${kind || 'an object without kind'} ${name} (Kubernetes manifest ${resource.constructPath}).`);
    }
  }

  #leaveOut(kind: string): void {
    this.#context.leaveOut(kind);
  }

  /** An autoscaler owns the number of replicas; the smallest that it would run is what runs here. */
  #replicas(object: KubernetesObject): number {
    for (const { object: scaler } of this.#objects) {
      const target = scaler.spec?.['scaleTargetRef'] as { kind?: string; name?: string } | undefined;
      if (target?.name !== object.metadata?.name || (target?.kind ?? 'Deployment') !== object.kind || !sameNamespace(scaler, object)) continue;
      if (scaler.kind === 'HorizontalPodAutoscaler') return this.#number(scaler.spec?.['minReplicas'] ?? 1);
      if (scaler.kind !== 'ScaledObject') continue;
      const least = this.#number(scaler.spec?.['minReplicaCount'] ?? 0);
      if (least === 0) {
        // KEDA scales to zero while the queue is empty; without it here, somebody has to take the first message.
        this.#context.warn(`${object.kind} ${object.metadata?.name} scales to zero by KEDA, which does not run here: one replica runs all the time.`);
      }
      return Math.max(1, least);
    }
    return this.#number(object.spec?.['replicas'] ?? 1);
  }

  #number(value: unknown): number {
    return Number(this.#needed(String(value)));
  }

  #pod(owner: KubernetesObject, template: PodTemplate | undefined, what: string): PodSpec | undefined {
    const spec = template?.spec ?? {};
    const read = (containers: readonly Container[] = []) => containers.map((container) => this.#container(container, owner, template, what));
    const containers = read(spec.containers);
    const initContainers = read(spec.initContainers);
    if (containers.length === 0 || containers.includes(undefined) || initContainers.includes(undefined)) return undefined;
    return {
      containers: containers.filter((container) => container !== undefined),
      initContainers: initContainers.filter((container) => container !== undefined),
      terminationGracePeriodSeconds: this.#timeToStop(spec, what),
      labels: template?.metadata?.labels ?? {},
    };
  }

  /**
   * What a process gets from SIGTERM on. Kubernetes counts the sleep of a `preStop` hook, in which load balancers and Services find out, in the
   * grace period; here the balancer knows at once, and nobody sleeps.
   */
  #timeToStop({ containers = [], terminationGracePeriodSeconds: whole = 30 }: NonNullable<PodTemplate['spec']>, what: string): number {
    const hooks = containers.map(({ lifecycle }) => lifecycle?.preStop ?? {});
    if (hooks.some(({ exec, httpGet }) => exec ?? httpGet)) this.#context.warn(`${what} has a preStop hook that is not only a sleep: the local run does not call it.`);
    return Math.max(1, whole - Math.max(0, ...hooks.map(({ sleep }) => Number(sleep?.seconds ?? 0))));
  }

  #container(container: Container, owner: KubernetesObject, template: PodTemplate | undefined, what: string): ContainerSpec | undefined {
    const name = container.name ?? 'main';
    const image = this.#needed(container.image ?? '');
    const asset = this.#asset(image);
    if (!asset) {
      this.#context.warn(`${what} is not started: its container ${name} runs the image ${image}, which is no asset of this assembly and cannot be run without a container engine.`);
      return undefined;
    }
    const config = readImage(asset);
    const environment = { ...config.environment, ...this.#environment(container, owner, template, what) };
    const expand = (word: string) => this.#needed(word).replace(/\$\$|\$\((\w+)\)/g, (whole, key: string | undefined) => (key === undefined ? '$' : environment[key] ?? whole));
    const words = [...container.command ?? config.entrypoint, ...container.args ?? (container.command ? [] : config.command)].map(expand);
    if (words.length === 0) {
      this.#context.warn(`${what} is not started: its container ${name} has no command, and neither has ${asset.dockerFile} in ${asset.directory}.`);
      return undefined;
    }
    return {
      name,
      // Paths in the image mean the folder that the image is made from.
      command: words.map((word) => withinFolder(word, config.workingDirectory, asset.directory)),
      folder: asset.directory,
      environment,
      ports: (container.ports ?? []).map((port) => ({ ...(port.name !== undefined && { name: port.name }), port: Number(port.containerPort) })),
      ...probe('startupProbe', container.startupProbe),
      ...probe('readinessProbe', container.readinessProbe),
      ...probe('livenessProbe', container.livenessProbe),
    };
  }

  #asset(image: string): ImageAsset | undefined {
    const [, tag = ''] = /:([^:/@]+)(?:@.*)?$/.exec(image) ?? [];
    return this.#context.assembly.images.get(tag);
  }

  #environment(container: Container, owner: KubernetesObject, template: PodTemplate | undefined, what: string): Record<string, string> {
    const environment: Record<string, string> = {};
    for (const { prefix = '', configMapRef, secretRef } of container.envFrom ?? []) {
      const data = configMapRef ? this.#data('ConfigMap', configMapRef, owner, what) : secretRef ? this.#data('Secret', secretRef, owner, what) : {};
      for (const [key, value] of Object.entries(data ?? {})) environment[prefix + key] = this.#needed(value);
    }
    for (const { name, value, valueFrom } of container.env ?? []) {
      const found = valueFrom ? this.#valueFrom(valueFrom, container, owner, template, what) : String(value ?? '');
      if (found === undefined) continue;
      environment[name] = this.#needed(found).replace(/\$\$|\$\((\w+)\)/g, (whole, key: string | undefined) => (key === undefined ? '$' : environment[key] ?? whole));
    }
    return environment;
  }

  #valueFrom(from: ValueFrom, container: Container, owner: KubernetesObject, template: PodTemplate | undefined, what: string): string | undefined {
    const reference = from.configMapKeyRef ?? from.secretKeyRef;
    if (reference) {
      const kind = from.configMapKeyRef ? 'ConfigMap' : 'Secret';
      const value = this.#data(kind, reference, owner, what)?.[reference.key];
      if (value === undefined && !reference.optional) throw new UnresolvedError(`${what}: ${kind} ${reference.name} has no key ${reference.key}.`);
      return value;
    }
    const path = from.fieldRef?.fieldPath;
    const label = /^metadata\.(labels|annotations)\['(.+)'\]$/.exec(path ?? '')?.[2];
    if (label !== undefined) return template?.metadata?.labels?.[label] ?? '';
    switch (path) {
      case 'metadata.name': return owner.metadata?.name ?? '';
      case 'metadata.namespace': return owner.metadata?.namespace ?? 'default';
      case 'metadata.uid': return `${owner.metadata?.name}-local`;
      case 'spec.serviceAccountName': return template?.spec?.serviceAccountName ?? 'default';
      case 'spec.nodeName': return 'local';
      case 'status.podIP': case 'status.podIPs': case 'status.hostIP': return '127.0.0.1';
    }
    const resource = /^(limits|requests)\.(.+)$/.exec(from.resourceFieldRef?.resource ?? '');
    const amount = resource && container.resources?.[resource[1] as 'limits' | 'requests']?.[resource[2] ?? ''];
    if (amount !== undefined && amount !== null) return String(amount);
    throw new UnresolvedError(`${what}: the local run does not know ${path ?? from.resourceFieldRef?.resource ?? 'where a variable comes from'}.`);
  }

  #data(kind: 'ConfigMap' | 'Secret', reference: SourceRef, owner: KubernetesObject, what: string): Record<string, string> | undefined {
    const found = this.#objects.find(({ object }) => object.kind === kind && object.metadata?.name === reference.name && sameNamespace(object, owner))?.object;
    if (!found && !reference.optional) throw new UnresolvedError(`${what}: no manifest of this run has the ${kind} ${reference.name}.`);
    if (!found || kind === 'ConfigMap') return found?.data;
    const decoded = Object.entries(found.data ?? {}).map(([key, value]) => [key, Buffer.from(value, 'base64').toString()]);
    return { ...Object.fromEntries(decoded), ...found.stringData };
  }
}

function sameNamespace(one: KubernetesObject, other: KubernetesObject): boolean {
  return (one.metadata?.namespace ?? 'default') === (other.metadata?.namespace ?? 'default');
}

function withinFolder(word: string, workingDirectory: string, folder: string): string {
  if (workingDirectory === '/' || !word.startsWith(`${workingDirectory}/`)) return word;
  return posix.join(folder, word.slice(workingDirectory.length));
}

function probe<Name extends string>(name: Name, raw: RawProbe | undefined): { readonly [key in Name]?: Probe } {
  const target = raw?.httpGet ?? raw?.tcpSocket;
  if (!raw || !target) return {};
  return {
    [name]: {
      kind: raw.httpGet ? 'http' : 'tcp',
      path: raw.httpGet?.path ?? '/',
      port: target.port,
      initialDelaySeconds: raw.initialDelaySeconds ?? 0,
      periodSeconds: raw.periodSeconds ?? 10,
      timeoutSeconds: raw.timeoutSeconds ?? 1,
      failureThreshold: raw.failureThreshold ?? 3,
    },
  } as { readonly [key in Name]: Probe };
}
