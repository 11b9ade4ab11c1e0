// Synthesizes the apps of the repository into folders of the given one: the profiles of the reference app, the examples and the starter.
// It is a process of its own, because the constructs print their warnings.
//
//   node assemblies.mjs <folder>
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import recommendedFlags from 'aws-cdk-lib/recommended-feature-flags.json' with { type: 'json' };
import cdk from 'aws-cdk-lib';
import ts from 'typescript';
import library from '../../lib/index.js';
import { loadProfiles } from '../../reference-app/profiles/index.ts';

const root = join(import.meta.dirname, '..', '..');
const [folder] = process.argv.slice(2);

/** A folder for an assembly, named after its app. */
const outdirOf = (name) => join(folder, name.replace(/\W+/g, '-'));

// Images that are built nowhere.
const image = join(folder, 'image');
mkdirSync(image, { recursive: true });
writeFileSync(join(image, 'Dockerfile'), 'FROM scratch\n');
for (const [name, profile] of await loadProfiles()) {
  const app = new cdk.App({ context: recommendedFlags, analyticsReporting: false, outdir: outdirOf(`reference-app ${name}`) });
  await profile.addStacks(app, async () => ({ services: library.WorkloadImage.fromDirectory(image), migration: library.WorkloadImage.fromDirectory(image) }));
  app.synth();
}

// Each program in its folder, with the context of its cdk.json, as the command line of CDK runs it.
const examples = readdirSync(join(root, 'examples')).filter((file) => file.endsWith('.ts')).map((file) => join('examples', file));
for (const file of [...examples, join('starter', 'app.ts')]) {
  const place = join(root, file, '..');
  const settings = join(place, 'cdk.json');
  process.env.CDK_CONTEXT_JSON = JSON.stringify(existsSync(settings) ? JSON.parse(readFileSync(settings, 'utf8')).context : recommendedFlags);
  process.env.CDK_OUTDIR = outdirOf(file);
  process.chdir(place);
  const { outputText } = ts.transpileModule(readFileSync(join(root, file), 'utf8'), { compilerOptions: { module: ts.ModuleKind.CommonJS, target: ts.ScriptTarget.ES2022 } });
  const exported = {};
  new Function('require', 'exports', '__dirname', outputText)(createRequire(join(root, file)), exported, place);
  exported.app.synth();
}
