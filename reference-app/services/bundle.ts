import { cp, mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { build } from 'esbuild';
import { readSchemas } from './migrate/files.ts';

const SERVICES = import.meta.dirname;
const APP = dirname(SERVICES);

/** The content of the image of a profile. */
export interface ImageContent {
  /** The files of the programs, below `services/`, by name: `outbox-relay` is the file `outbox-relay.js` in the image. */
  readonly entries: Readonly<Record<string, string>>;
  /** The database schemas, folders of `migrations/`, with those that they need. The migration applies these and no others. */
  readonly schemas: readonly string[];
}

/**
 * Makes the folder that is the services' image: one JavaScript file per process, the SQL files of its schemas, the first data and the
 * Dockerfile. The same sources give the same bytes, so the asset's hash changes with the code only.
 */
export async function bundleServices(target: string, { entries, schemas }: ImageContent): Promise<string> {
  await mkdir(dirname(target), { recursive: true });
  // Made beside and moved, so that neither a failed nor a concurrent build leaves half of one.
  const draft = await mkdtemp(`${target}-`);
  try {
    await build({
      entryPoints: Object.fromEntries(Object.entries(entries).map(([name, path]) => [name, join(SERVICES, path)])),
      outdir: draft,
      bundle: true,
      platform: 'node',
      format: 'esm',
      target: 'node24',
      sourcemap: true,
      legalComments: 'none',
      logLevel: 'error',
      // Paths in the source maps must not depend on where the clone is.
      sourceRoot: '/app',
      absWorkingDir: APP,
      // What bundled CommonJS packages expect to find.
      banner: {
        js: [
          'import { createRequire as __createRequire } from \'node:module\';',
          'const require = __createRequire(import.meta.url);',
          'const __filename = import.meta.filename, __dirname = import.meta.dirname;',
          'process.setSourceMapsEnabled(true);',
        ].join(' '),
      },
    });
    await copySql(draft, schemas);
    await mkdir(join(draft, 'data'));
    await cp(join(APP, 'data', 'catalog.json'), join(draft, 'data', 'catalog.json'));
    await cp(join(SERVICES, 'Dockerfile'), join(draft, 'Dockerfile'));
    await writeFile(join(draft, 'package.json'), '{ "type": "module" }\n');
    await replaceFolder(draft, target);
  } finally {
    await rm(draft, { recursive: true, force: true });
  }
  return target;
}

/** Copies the files of the schemas to the same paths, so that the migration finds them in the image as here. */
async function copySql(draft: string, schemas: readonly string[]): Promise<void> {
  for (const { name, repeatable } of await readSchemas(APP, schemas)) {
    for (const path of [join('migrations', name), ...repeatable.map((file) => file.path)]) await cp(join(APP, path), join(draft, path), { recursive: true });
  }
}

async function replaceFolder(from: string, to: string): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    const old = `${from}.old`;
    await rename(to, old).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error;
    });
    try {
      await rename(from, to);
      return;
    } catch (error) {
      // A build at the same moment was faster: its folder goes out of the way too.
      if (attempt >= 5 || !['ENOTEMPTY', 'EEXIST'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
    } finally {
      await rm(old, { recursive: true, force: true });
    }
  }
}
