import { cp, mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { build } from 'esbuild';
import { billOfMaterials, bundledPackages, thirdPartyNotices } from './bundled-packages.ts';
import { readSchemas } from './migrate/files.ts';

const SERVICES = import.meta.dirname;
const APP = dirname(SERVICES);
const OUTPUT = join(APP, 'dist', 'app');

/** The content of the two images of a profile. */
export interface ImageContent {
  /** The files of the programs, below `services/`, by name: `outbox-relay` is the file `outbox-relay.js` in the image. */
  readonly entries: Readonly<Record<string, string>>;
  /** The same for the image of the migration, beside `migrate.js`. @default - none */
  readonly tools?: Readonly<Record<string, string>>;
  /** The database schemas, folders of `migrations/`, with those that they need. The migration applies these and no others. */
  readonly schemas: readonly string[];
}

/** The folders of one bundle. */
export interface BundledImages {
  /** The build context of the image with all programs of `entries`. */
  readonly services: string;
  /** The build context of the image of the migration. The pods of the services have neither its program nor any SQL file. */
  readonly migration: string;
  /** The source maps of both, a folder for each. They are in no image: see `scripts/source-lines.ts`. */
  readonly sourceMaps: string;
}

/**
 * Makes the folders of both images. Each has the Dockerfile and its files below `app/`: the JavaScript of its programs, the licences of the
 * packages in it, and the list of these packages (CycloneDX). The same sources give the same bytes, so an image changes with its code only.
 */
export async function bundleImages(target: string, { entries, tools, schemas }: ImageContent): Promise<BundledImages> {
  await mkdir(dirname(target), { recursive: true });
  // Made beside and moved, so that neither a failed nor a concurrent build leaves half of one.
  const draft = await mkdtemp(`${target}-`);
  try {
    await Promise.all([
      bundle(draft, 'services', entries),
      bundle(draft, 'migration', { migrate: 'migrate/main.ts', ...tools }),
      copyData(join(draft, 'migration', 'app'), schemas),
    ]);
    await replaceFolder(draft, target);
  } finally {
    await rm(draft, { recursive: true, force: true });
  }
  return { services: join(target, 'services'), migration: join(target, 'migration'), sourceMaps: join(target, 'source-maps') };
}

/** Makes the build context of one image, and its source maps beside it. */
async function bundle(draft: string, name: string, entries: Readonly<Record<string, string>>): Promise<void> {
  const app = join(draft, name, 'app');
  const maps = join(draft, 'source-maps', name);
  await Promise.all([app, maps].map((folder) => mkdir(folder, { recursive: true })));
  const { metafile, outputFiles } = await build({
    entryPoints: Object.fromEntries(Object.entries(entries).map(([program, path]) => [program, join(SERVICES, path)])),
    // Never written: the paths in the source maps start from here, wherever the images are made.
    outdir: OUTPUT,
    bundle: true,
    // Code that several programs have in common is there once.
    splitting: true,
    platform: 'node',
    format: 'esm',
    target: 'node24',
    // Not minified: the stack of an error has the names of the sources, and the compressed image would be 0.3 % smaller.
    sourcemap: 'external',
    sourcesContent: false,
    legalComments: 'none',
    logLevel: 'error',
    metafile: true,
    write: false,
    // Nothing in the files may depend on where the clone is.
    absWorkingDir: APP,
    // What bundled CommonJS packages expect to find.
    banner: {
      js: [
        'import { createRequire as __createRequire } from \'node:module\';',
        'const require = __createRequire(import.meta.url);',
        'const __filename = import.meta.filename, __dirname = import.meta.dirname;',
      ].join(' '),
    },
  });
  const packages = await bundledPackages(metafile, APP);
  await Promise.all([
    ...outputFiles.map(({ path, contents }) => writeFile(join(path.endsWith('.map') ? maps : app, basename(path)), contents)),
    writeFile(join(app, 'package.json'), '{ "type": "module" }\n'),
    writeFile(join(app, 'THIRD-PARTY-NOTICES.txt'), thirdPartyNotices(packages)),
    writeFile(join(app, 'sbom.cdx.json'), billOfMaterials(`cdk-order-pipeline-${name}`, packages)),
    cp(join(SERVICES, 'Dockerfile'), join(draft, name, 'Dockerfile')),
  ]);
}

/** Copies the files of the schemas to the same paths, so that the migration finds them in the image as here, and the first products. */
async function copyData(app: string, schemas: readonly string[]): Promise<void> {
  const sql = (await readSchemas(APP, schemas)).flatMap(({ name, repeatable }) => [join('migrations', name), ...repeatable.map((file) => file.path)]);
  for (const path of [...sql, join('data', 'catalog.json')]) await cp(join(APP, path), join(app, path), { recursive: true });
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
