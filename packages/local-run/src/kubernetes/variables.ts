import type { Container, KubernetesObject, ManifestObject, PodTemplate, SourceRef, ValueFrom } from './objects.ts';
import { sameNamespace } from './objects.ts';
import type { Unresolved } from './unresolved.ts';
import { UnresolvedError } from '../assembly/intrinsics.ts';
import { LOOPBACK } from '../processes/ports.ts';

/** A container in its place: what it belongs to, and how that is called in messages. */
export interface Place {
  readonly owner: KubernetesObject;
  readonly template: PodTemplate | undefined;
  readonly what: string;
}

/** Reads the variables of containers, from their values, from config maps, secrets and fields. */
export class Variables {
  readonly #objects: readonly ManifestObject[];
  readonly #unresolved: Unresolved;

  constructor(objects: readonly ManifestObject[], unresolved: Unresolved) {
    this.#objects = objects;
    this.#unresolved = unresolved;
  }

  of(container: Container, place: Place): Record<string, string> {
    const environment: Record<string, string> = {};
    for (const { prefix = '', configMapRef, secretRef } of container.envFrom ?? []) {
      const data = configMapRef ? this.#data('ConfigMap', configMapRef, place) : secretRef ? this.#data('Secret', secretRef, place) : {};
      for (const [key, value] of Object.entries(data ?? {})) environment[prefix + key] = this.#unresolved.needed(value);
    }
    for (const { name, value, valueFrom } of container.env ?? []) {
      const found = valueFrom ? this.#valueFrom(valueFrom, container, place) : String(value ?? '');
      if (found !== undefined) environment[name] = this.expand(found, environment);
    }
    return environment;
  }

  /** A text with the values of `$(NAME)`, as far as they are known. */
  expand(text: string, environment: Readonly<Record<string, string>>): string {
    return this.#unresolved.needed(text).replace(/\$\$|\$\((\w+)\)/g, (whole, key: string | undefined) => (key === undefined ? '$' : environment[key] ?? whole));
  }

  #valueFrom(from: ValueFrom, container: Container, place: Place): string | undefined {
    const reference = from.configMapKeyRef ?? from.secretKeyRef;
    if (reference) {
      const kind = from.configMapKeyRef ? 'ConfigMap' : 'Secret';
      const value = this.#data(kind, reference, place)?.[reference.key];
      if (value === undefined && !reference.optional) throw new UnresolvedError(`${place.what}: ${kind} ${reference.name} has no key ${reference.key}.`);
      return value;
    }
    const path = from.fieldRef?.fieldPath;
    const resource = /^(limits|requests)\.(.+)$/.exec(from.resourceFieldRef?.resource ?? '');
    const amount = resource && container.resources?.[resource[1] as 'limits' | 'requests']?.[resource[2] ?? ''];
    const value = path === undefined ? amount ?? undefined : fieldOf(path, place);
    if (value !== undefined) return String(value);
    throw new UnresolvedError(`${place.what}: the local run does not know ${path ?? from.resourceFieldRef?.resource ?? 'where a variable comes from'}.`);
  }

  #data(kind: 'ConfigMap' | 'Secret', reference: SourceRef, { owner, what }: Place): Record<string, string> | undefined {
    const objects = this.#objects.map(({ object }) => object).filter((object) => object.kind === kind && sameNamespace(object, owner));
    const found = objects.find(({ metadata }) => metadata?.name === reference.name);
    if (!found && !reference.optional) throw new UnresolvedError(`${what}: no manifest of this run has the ${kind} ${reference.name}.`);
    if (!found || kind === 'ConfigMap') return found?.data;
    const decoded = Object.entries(found.data ?? {}).map(([key, value]) => [key, Buffer.from(value, 'base64').toString()]);
    return { ...Object.fromEntries(decoded), ...found.stringData };
  }
}

function fieldOf(path: string, { owner: { metadata: { name = '', namespace = 'default' } = {} }, template }: Place): string | undefined {
  const [, kind, key = ''] = /^metadata\.(labels|annotations)\['(.+)'\]$/.exec(path) ?? [];
  if (kind !== undefined) return template?.metadata?.[kind as 'labels' | 'annotations']?.[key] ?? '';
  const fields: Readonly<Record<string, string>> = {
    'metadata.name': name,
    'metadata.namespace': namespace,
    'metadata.uid': `${name}-local`,
    'spec.serviceAccountName': template?.spec?.serviceAccountName ?? 'default',
    'spec.nodeName': 'local',
    'status.podIP': LOOPBACK,
    'status.podIPs': LOOPBACK,
    'status.hostIP': LOOPBACK,
  };
  return fields[path];
}
