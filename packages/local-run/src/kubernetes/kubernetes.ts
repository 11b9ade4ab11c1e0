import { UnresolvedError } from '../assembly/intrinsics.ts';
import type { Model, Resource } from '../assembly/model.ts';
import { messageOf } from '../errors.ts';
import type { ServiceSpec } from '../processes/specs.ts';
import type { RunContext } from '../service.ts';
import { CONSEQUENCE_OF_OTHERS, CONSEQUENCES_BY_KIND, named, sameNamespace, WITHOUT_COUNTERPART } from './objects.ts';
import type { KubernetesObject, ManifestObject, PodTemplate } from './objects.ts';
import { PodReader } from './pods.ts';
import { Unresolved } from './unresolved.ts';

interface JobFields { readonly template?: PodTemplate; readonly backoffLimit?: unknown; readonly activeDeadlineSeconds?: unknown }
interface ServicePort { readonly name?: string; readonly port: number; readonly targetPort?: string | number }

/** Reads every Kubernetes manifest of the stacks into what can be started. */
export class KubernetesReader {
  readonly #context: RunContext;
  /** The Services of the manifests. */
  readonly services: ServiceSpec[] = [];
  readonly #unresolved = new Unresolved();
  readonly #objects: ManifestObject[] = [];
  readonly #pods: PodReader;

  constructor(context: RunContext) {
    this.#context = context;
    this.#pods = new PodReader(context, this.#objects, this.#unresolved);
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
    const before = this.#unresolved.count;
    const text = resource.stack.evaluator.resolveLeniently(resource.source.Properties?.Manifest, `${resource.path}.Manifest`, (error) =>
      this.#unresolved.placeholder(error));
    try {
      const objects = JSON.parse(String(text)) as KubernetesObject | KubernetesObject[];
      for (const object of Array.isArray(objects) ? objects : [objects]) this.#objects.push({ object, resource });
    } catch (error) {
      const reason = this.#unresolved.since(before)?.message ?? messageOf(error);
      this.#context.warn(`The Kubernetes manifest ${resource.constructPath} cannot be read and is left out: ${reason}`);
    }
  }

  #take(object: KubernetesObject, resource: Resource): void {
    const { kind = '', metadata = {} } = object;
    const name = metadata.name ?? resource.id;
    switch (kind) {
      case 'Deployment':
      case 'StatefulSet':
      case 'Job': return this.#takeProgram(object, kind, name);
      case 'Service': return this.#takeService(object, name);
      case 'HorizontalPodAutoscaler':
      case 'ScaledObject':
      case 'ConfigMap':
      case 'Secret':
        // Read where a workload refers to it. Those for the cluster itself, such as the settings of its network plugin, nobody reads here.
        if (metadata.namespace === 'kube-system') this.#leaveOut();
        break;
      default:
        if (WITHOUT_COUNTERPART.has(kind)) this.#leaveOut();
        else this.#nameAsNotMade(kind, name, resource);
    }
  }

  #takeProgram(object: KubernetesObject, kind: 'Deployment' | 'StatefulSet' | 'Job', name: string): void {
    const { workloads } = this.#context;
    if (workloads.leftOut(name)) return;
    const { template, backoffLimit = 6, activeDeadlineSeconds } = (object.spec ?? {}) as JobFields;
    const pod = this.#pods.read({ owner: object, template, what: `${kind} ${name}` });
    if (!pod) return;
    if (kind !== 'Job') return workloads.add({ kind, name, replicas: this.#replicas(object), pod });
    const [, ...others] = pod.containers;
    if (others.length > 0) {
      this.#context.warn(`Job ${name} runs its first container only, and not ${others.map((container) => container.name).join(', ')}.`);
    }
    const deadlineSeconds = activeDeadlineSeconds === undefined ? undefined : Number(activeDeadlineSeconds);
    workloads.addJob({ name, pod, backoffLimit: Number(backoffLimit), deadlineSeconds });
  }

  #takeService({ metadata = {}, spec = {} }: KubernetesObject, name: string): void {
    const ports = (spec.ports ?? []) as ServicePort[];
    this.services.push({
      name,
      namespace: metadata.namespace ?? 'default',
      selector: (spec.selector ?? {}) as Record<string, string>,
      ports: ports.map(({ name: portName, port, targetPort }) => named(portName, { port, targetPort: targetPort ?? port })),
    });
  }

  #nameAsNotMade(kind: string, name: string, { constructPath }: Resource): void {
    const means = CONSEQUENCES_BY_KIND[kind] ?? CONSEQUENCE_OF_OTHERS;
    this.#context.warn(`The local run cannot make ${kind || 'an object without kind'} ${name} (Kubernetes manifest ${constructPath}): ${means}.`);
  }

  #leaveOut(): void {
    this.#context.leaveOut('Kubernetes objects for the cluster itself: namespaces, accounts, policies and the like');
  }

  /** An autoscaler owns the number of replicas; the smallest that it would run is what runs here. */
  #replicas(object: KubernetesObject): number {
    for (const { object: scaler } of this.#objects) {
      const target = scaler.spec?.scaleTargetRef as { kind?: string; name?: string } | undefined;
      const isScaled = target?.name === object.metadata?.name && (target?.kind ?? 'Deployment') === object.kind && sameNamespace(scaler, object);
      if (!isScaled) continue;
      if (scaler.kind === 'HorizontalPodAutoscaler') return this.#number(scaler.spec?.minReplicas ?? 1);
      if (scaler.kind !== 'ScaledObject') continue;
      const least = this.#number(scaler.spec?.minReplicaCount ?? 0);
      if (least === 0) {
        // KEDA scales to zero while the queue is empty; without it here, somebody has to take the first message.
        this.#context.warn(`${object.kind} ${object.metadata?.name} scales to zero by KEDA, which does not run here: one replica runs all the time.`);
      }
      return Math.max(1, least);
    }
    return this.#number(object.spec?.replicas ?? 1);
  }

  #number(value: unknown): number {
    return Number(this.#unresolved.needed(String(value)));
  }
}
