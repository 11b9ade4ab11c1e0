import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import type { Stack } from 'aws-cdk-lib';
import { Template } from 'aws-cdk-lib/assertions';

interface Resource { readonly Type: string; readonly Properties?: { readonly Version?: unknown } }

/** A resource that waits for a version of an object has a hash of the version at the end of its id, and is made anew on purpose. */
function nameOf(id: string, { Type, Properties }: Resource): string {
  const versioned = Type === 'Custom::AWSCDK-EKS-KubernetesObjectValue' && Properties?.Version !== undefined;
  return versioned ? id.replace(/[0-9a-f]{10}$/, '<version>') : id;
}

/**
 * Compares the logical ids of a stack with those that were promised in a JSON file.
 *
 * CloudFormation replaces a resource whose logical id changes: a queue loses its messages, a database its data.
 * A new construct gets its file by `UPDATE_LOGICAL_IDS=1 npx jest …`; the file is committed and reviewed like code.
 */
export function expectLogicalIds(stack: Stack, manifest: string): void {
  const resources: { [logicalId: string]: Resource } = Template.fromStack(stack).toJSON().Resources;
  const actual = Object.fromEntries(Object.keys(resources).sort().map((id) => [nameOf(id, resources[id]!), resources[id]!.Type]));
  if (process.env.UPDATE_LOGICAL_IDS) {
    writeFileSync(manifest, `${JSON.stringify(actual, undefined, 2)}\n`);
  }

  if (!existsSync(manifest)) {
    throw new Error(`${manifest} is missing; make it with UPDATE_LOGICAL_IDS=1`);
  }
  const promised: { [logicalId: string]: string } = JSON.parse(readFileSync(manifest, 'utf8'));
  const lost = Object.keys(promised).filter((id) => actual[id] !== promised[id]);
  const added = Object.keys(actual).filter((id) => !(id in promised));
  if (lost.length > 0) {
    throw new Error('This is a breaking change: CloudFormation deletes these resources of deployed stacks, with their data, and makes '
      + `others instead.\n  lost: ${lost.join(', ')}\n  new: ${added.join(', ') || 'none'}\n`
      + `Keep the ids of the constructs. Only for a new major version: UPDATE_LOGICAL_IDS=1 rewrites ${manifest}`);
  }
  if (added.length > 0) {
    throw new Error(`These logical ids are not promised yet, and can't change after a release: ${added.join(', ')}. `
      + `If you mean it, UPDATE_LOGICAL_IDS=1 adds them to ${manifest}`);
  }
}
