import { existsSync, mkdirSync, rmSync, symlinkSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';

/** The scopes of the AWS SDK for JavaScript, which the Node.js runtime of Lambda brings. */
const SCOPES = ['@aws-sdk', '@smithy'];

/**
 * Folders like `/var/runtime/node_modules` in AWS: they have the AWS SDK of the project, and nothing else of it. The project is where the
 * assembly is, or the working directory, with all folders above; the nearest comes first.
 */
export function sdkFolders(assemblyDir: string, own: string): string[] {
  rmSync(own, { recursive: true, force: true });
  const projects = [...new Set([...upwards(assemblyDir), ...upwards(process.cwd())])];
  const installed = projects.map((folder) => SCOPES.map((scope) => join(folder, 'node_modules', scope)).filter((scope) => existsSync(scope)));
  return installed.filter((scopes) => scopes.length > 0).map((scopes, index) => {
    const folder = join(own, String(index), 'node_modules');
    mkdirSync(folder, { recursive: true });
    for (const scope of scopes) symlinkSync(scope, join(folder, scope.split(/[\\/]/).at(-1) ?? ''), 'junction');
    return folder;
  });
}

function upwards(folder: string): string[] {
  const here = resolve(folder);
  const above = dirname(here);
  return above === here ? [here] : [here, ...upwards(above)];
}
