import module from 'node:module';
import type { ResolveFnOutput, ResolveHookContext } from 'node:module';
import { delimiter, dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';

const MISSING = 'ERR_MODULE_NOT_FOUND';

/** Modules from which the packages of the folders in `NODE_PATH` are found. */
function parents(): string[] {
  return (process.env.NODE_PATH ?? '').split(delimiter).filter((folder) => folder !== '').map((folder) => pathToFileURL(join(dirname(folder), 'index.js')).href);
}

function isMissingPackage(specifier: string, error: unknown): boolean {
  return (error as { code?: unknown } | null)?.code === MISSING && !/^(\.|\/|[a-z]+:)/i.test(specifier);
}

/** `NODE_PATH` counts for `require` only. In AWS Lambda, `import` finds the SDK and layers, too. */
export function importFromNodePath(): void {
  // An import by name would fail where it is missing.
  if (typeof module.registerHooks !== 'function') {
    // Node.js before 22.15 runs hooks in a thread of its own.
    module.register(import.meta.url);
    return;
  }
  module.registerHooks({
    resolve(specifier, context, next) {
      try {
        return next(specifier, context);
      } catch (error) {
        if (!isMissingPackage(specifier, error)) throw error;
        for (const parentURL of parents()) {
          try {
            return next(specifier, { ...context, parentURL });
          } catch (other) {
            if (!isMissingPackage(specifier, other)) throw other;
          }
        }
        throw error;
      }
    },
  });
}

type Next = (specifier: string, context?: Partial<ResolveHookContext>) => ResolveFnOutput | Promise<ResolveFnOutput>;

/** The hook of that thread. */
export async function resolve(specifier: string, context: ResolveHookContext, next: Next): Promise<ResolveFnOutput> {
  try {
    return await next(specifier, context);
  } catch (error) {
    if (!isMissingPackage(specifier, error)) throw error;
    for (const parentURL of parents()) {
      try {
        return await next(specifier, { ...context, parentURL });
      } catch (other) {
        if (!isMissingPackage(specifier, other)) throw other;
      }
    }
    throw error;
  }
}
