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
