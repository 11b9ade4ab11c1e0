import { createHash, randomUUID } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as cdk from 'aws-cdk-lib';
import recommendedFlags from 'aws-cdk-lib/recommended-feature-flags.json' with { type: 'json' };
import { synthesize } from 'cdk-local-run/cli/synthesize';
import { WorkloadImage } from 'cdk-order-pipeline';
import type { Settings } from '../lib/settings.ts';
import { ORDER_PIPELINE_IMAGE } from '../profiles/order-pipeline/image.ts';
import { OrderPipelineStack } from '../profiles/order-pipeline/stack.ts';
import { bundleImages } from '../services/bundle.ts';

const APP = fileURLToPath(new URL('../', import.meta.url));
const REPOSITORY = fileURLToPath(new URL('../../', import.meta.url));
const CACHE = join(REPOSITORY, 'node_modules', '.cache', 'assemblies');

/** The default profile, synthesized as `npm start` does it. Test files of the same sources share one synthesis, and each has a copy. */
export async function synthesizeReferenceApp(folder: string): Promise<string> {
  const assembly = join(folder, 'assembly');
  const cached = join(CACHE, digestOfSources());
  if (!existsSync(cached)) {
    const draft = join(CACHE, `draft-${randomUUID()}`);
    await synthesize(APP, draft, new AbortController().signal);
    moveInto(draft, cached);
  }
  cpSync(cached, assembly, { recursive: true });
  return assembly;
}

/** The stack of the order pipeline with other settings. */
export async function synthesizeWith(folder: string, settings: Settings): Promise<string> {
  const { services, migration } = await bundleImages(join(folder, 'images'), ORDER_PIPELINE_IMAGE);
  const app = new cdk.App({ context: recommendedFlags, outdir: join(folder, 'assembly') });
  const images = { services: WorkloadImage.fromDirectory(services), migration: WorkloadImage.fromDirectory(migration) };
  new OrderPipelineStack(app, 'OrderPipeline', { images, settings });
  return app.synth().directory;
}

/** Everything that the synthesis reads: the folders of the app, the compiled library, and the versions of the packages. */
function digestOfSources(): string {
  const hash = createHash('sha256');
  const folders = ['bin', 'lib', 'profiles', 'services', 'migrations', 'data'].map((name) => join(APP, name));
  const files = [...[...folders, join(REPOSITORY, 'lib')].flatMap(filesBelow), join(APP, 'cdk.json'), join(REPOSITORY, 'package-lock.json')];
  for (const file of files) hash.update(file).update('\0').update(readFileSync(file)).update('\0');
  return hash.digest('hex');
}

function filesBelow(folder: string): string[] {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return files.map(({ parentPath, name }) => join(parentPath, name)).filter((file) => !/\.(test|d)\.ts$/.test(file)).sort();
}

/** Another test file may have synthesized at the same time: then its result stays. */
function moveInto(draft: string, cached: string): void {
  removeOld();
  try {
    renameSync(draft, cached);
  } catch (error) {
    rmSync(draft, { recursive: true, force: true });
    if (!existsSync(cached)) throw error;
  }
}

const DAY_MS = 86_400_000;

function removeOld(): void {
  mkdirSync(CACHE, { recursive: true });
  for (const name of readdirSync(CACHE)) {
    const path = join(CACHE, name);
    const { mtimeMs } = statSync(path, { throwIfNoEntry: false }) ?? { mtimeMs: Infinity };
    if (Date.now() - mtimeMs > DAY_MS) rmSync(path, { recursive: true, force: true });
  }
}
