import { UnresolvedError } from './intrinsics.ts';
import type { Resource } from './model.ts';

/** Makes each resource. One that needs a value which cannot be known on this machine is left out, with a warning. */
export function makeEach<T>(resources: readonly Resource[], warn: (sentence: string) => void, make: (resource: Resource) => T): T[] {
  return resources.flatMap((resource) => {
    try {
      return [make(resource)];
    } catch (error) {
      if (!(error instanceof UnresolvedError)) throw error;
      warn(`${resource.constructPath} (${resource.type}) is left out: ${error.message}`);
      return [];
    }
  });
}
