import { Token } from 'aws-cdk-lib';

/** An object of Kubernetes. */
export type Manifest = { [key: string]: unknown };

/** What an object is called in errors; nothing for a name that is only known at deployment. */
export function identityOf({ kind, metadata }: Manifest): string | undefined {
  const { name, namespace } = metadata as { name?: string; namespace?: string };
  return Token.isUnresolved(name) ? undefined : `${kind} '${name}'${namespace ? ` of namespace '${namespace}'` : ''}`;
}
