import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';

/**
 * The path of a module that a process or a thread of its own runs. It stands beside the module with the address `here` (its
 * `import.meta.url`), and is TypeScript in the repository and JavaScript in the package, as that is.
 */
export function sibling(here: string, name: string): string {
  return fileURLToPath(new URL(`${name}${extname(fileURLToPath(here))}`, here));
}
