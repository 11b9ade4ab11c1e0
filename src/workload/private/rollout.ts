import { createHash } from 'crypto';
import { CfnResource, Lazy, Stack } from 'aws-cdk-lib';
import type { Construct } from 'constructs';
import type { Manifest } from './manifest';

/** The length of a hash in names and logical ids. */
export const HASH_LENGTH = 10;

/** Returns a hash of a value whose tokens are resolved. */
export function hashOf(value: unknown): string {
  return createHash('sha256').update(JSON.stringify(value)).digest('hex').slice(0, HASH_LENGTH);
}

/**
 * Makes a waiting resource wait again for each version of an object.
 *
 * Another version is another resource: if it fails, CloudFormation deletes it, and the rollback doesn't wait for the former version.
 * A rollback that fails would leave a stack that needs help by hand. Values that only the deployment knows can't be in a logical id, so
 * they are in a property.
 */
export function waitForEachVersion(waiting: Construct, object: Manifest): void {
  const stack = Stack.of(waiting);
  const hash = () => hashOf(stack.resolve(object));
  for (const resource of waiting.node.findAll().filter((child) => CfnResource.isCfnResource(child))) {
    const id = stack.getLogicalId(resource);
    resource.overrideLogicalId(Lazy.uncachedString({ produce: () => `${id.slice(0, 255 - HASH_LENGTH)}${hash()}` }));
    resource.addPropertyOverride('Version', Lazy.uncachedAny({ produce: () => version(hash(), stack.resolve(stack.toJsonString(object))) }));
  }
}

/** A text is known at synthesis; otherwise it is a list of texts and references. Pseudo parameters such as the region never change. */
function version(hash: string, json: string | { 'Fn::Join': [string, unknown[]] }): unknown {
  const parts = typeof json === 'string' ? [] : json['Fn::Join'][1];
  const references = parts.filter(part => typeof part === 'object' && !String((part as { Ref?: string }).Ref).startsWith('AWS::'));
  return references.length > 0 ? { 'Fn::Join': ['-', [hash, ...references]] } : hash;
}
