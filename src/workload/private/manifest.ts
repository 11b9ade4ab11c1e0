import { Token } from 'aws-cdk-lib';

/** A Kubernetes object. */
export type Manifest = { [key: string]: unknown };

/** Returns the name of an object in errors; undefined for a name that is only known at deployment. */
export function identityOf({ kind, metadata }: Manifest): string | undefined {
  const { name, namespace } = metadata as { name?: string; namespace?: string };
  return Token.isUnresolved(name) ? undefined : `${kind} '${name}'${namespace ? ` of namespace '${namespace}'` : ''}`;
}

/** Returns the parts of an object that make it this object for Kubernetes. */
export function keyOf({ apiVersion, kind, metadata }: Manifest): string {
  const { name, namespace } = (metadata ?? {}) as { name?: string; namespace?: string };
  return [apiVersion, kind, namespace ?? '', name].join(' ');
}

/** A file with objects that belong together. */
export interface ManifestFile {
  readonly name: string;
  readonly items: Manifest[];
}

/** Objects of one service are in one file, others in a file of their own. */
export function filesOf(manifests: Manifest[]): ManifestFile[] {
  const files = new Map<string, Manifest[]>();
  for (const [index, manifest] of manifests.entries()) {
    const { name, labels } = manifest.metadata as { name: string; labels?: { [key: string]: string } };
    const service = labels?.['app.kubernetes.io/name'] ?? `${String(manifest.kind).toLowerCase()}-${name}`;
    const file = `${Token.isUnresolved(service) ? `object-${index}` : service}.yaml`;
    files.set(file, [...files.get(file) ?? [], manifest]);
  }
  return [...files].map(([name, items]) => ({ name, items }));
}
