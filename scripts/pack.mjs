#!/usr/bin/env node
// Packs the compiled library from a staging folder that has only what a user needs, with a package.json that has only what a user
// needs: workspaces, overrides, scripts and test configuration of the repository stay here. The packages of the other languages embed
// that very tarball.
//
//   node scripts/pack.mjs <outdir>                                                  prints the path of the tarball
//   node scripts/pack.mjs --target <python|java|dotnet|go> [--code-only] <outdir>   prints the path of the language's folder
//
// Java and Go know no range of versions of a dependency, only a least version. Their packages are therefore made against the oldest
// versions of the peer range; made against the ones installed here, they would drag every user up to these.
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { gzipSync } from 'node:zlib';
import { publishedManifest, readJson, root, runQuietly, withAbsoluteLinks, writeJson } from './lib/packing.mjs';

const PUBLISHED_FILES = ['LICENSE', 'NOTICE'];
const PUBLISHED_PAGES = ['README.md', 'CHANGELOG.md'];
const JSII_FIELDS = ['stability', 'jsii'];
const TARGETS = ['python', 'java', 'dotnet', 'go'];
const TARGETS_WITHOUT_RANGES = ['java', 'go'];

const bin = (name) => createRequire(join(root, 'package.json')).resolve(`${name}/bin/${name}`);

/** The project to begin with: `cp -r node_modules/cdk-order-pipeline/starter my-shop`. */
function stageStarter(folder, { name, version }) {
  cpSync(join(root, 'starter'), folder, { recursive: true, filter: (path) => !/[\\/](node_modules|cdk\.out|package-lock\.json|\.local)$/.test(path) });
  if (version === '0.0.0') { return; }
  const manifest = readJson(join(folder, 'package.json'));
  manifest.devDependencies[name] = `^${version}`;
  writeJson(join(folder, 'package.json'), manifest);
}

/** Copies what is published to `folder`. */
function stage(folder) {
  if (!existsSync(join(root, '.jsii')) || !existsSync(join(root, 'lib', 'index.js'))) {
    throw new Error('the library is not compiled: run `npm run compile` (or `node scripts/setup.mjs`) first');
  }
  const manifest = publishedManifest(readJson(join(root, 'package.json')), JSII_FIELDS);
  const assembly = readJson(join(root, '.jsii'));
  if (assembly.version !== manifest.version) {
    throw new Error(`.jsii is of version ${assembly.version}, package.json of ${manifest.version}: run \`npm run compile\` first`);
  }
  mkdirSync(folder, { recursive: true });
  cpSync(join(root, 'lib'), join(folder, 'lib'), { recursive: true, filter: (path) => !path.endsWith('.tsbuildinfo') });
  // The source maps have the whole TypeScript in them, which is more than half of the package.
  for (const file of readdirSync(join(folder, 'lib'), { recursive: true }).filter((path) => path.endsWith('.js'))) {
    const path = join(folder, 'lib', file);
    writeFileSync(path, readFileSync(path, 'utf8').replace(/^\/\/# sourceMappingURL=data:.*\n?/m, ''));
  }
  for (const file of PUBLISHED_FILES.filter((name) => existsSync(join(root, name)))) {
    cpSync(join(root, file), join(folder, file));
  }
  for (const page of PUBLISHED_PAGES) {
    writeFileSync(join(folder, page), withAbsoluteLinks(readFileSync(join(root, page), 'utf8'), manifest));
  }
  stageStarter(join(folder, 'starter'), manifest);
  assembly.readme.markdown = withAbsoluteLinks(assembly.readme.markdown, manifest);
  writeFileSync(join(folder, '.jsii'), JSON.stringify(assembly));
  // The examples in the other languages, for their packages and for documentation sites; there after `npx projen rosetta`.
  for (const tablet of ['.jsii.tabl.json', '.jsii.tabl.json.gz'].filter((name) => existsSync(join(root, name)))) {
    const content = readFileSync(join(root, tablet));
    writeFileSync(join(folder, '.jsii.tabl.json.gz'), tablet.endsWith('.gz') ? content : gzipSync(content, { level: 9 }));
    break;
  }
  writeJson(join(folder, 'package.json'), manifest);
  return manifest;
}

function pack(folder, { name, version }, outdir) {
  mkdirSync(outdir, { recursive: true });
  runQuietly('npm', ['pack', '--silent', '--ignore-scripts', '--pack-destination', outdir], folder);
  return join(outdir, `${name.replace('@', '').replace('/', '-')}-${version}.tgz`);
}

/** Replaces the staged assembly with one that is compiled against the oldest versions of the peer range. */
function compileAgainstFloor(folder, manifest) {
  const floor = Object.fromEntries(Object.entries(manifest.peerDependencies).map(([name, range]) => [name, range.replace('^', '')]));
  const workshop = join(folder, '..', 'floor');
  mkdirSync(workshop);
  cpSync(join(root, 'src'), join(workshop, 'src'), { recursive: true });
  cpSync(join(folder, 'README.md'), join(workshop, 'README.md'));
  const tsconfig = readJson(join(root, 'tsconfig.json'));
  writeJson(join(workshop, 'tsconfig.json'), { ...tsconfig, compilerOptions: { ...tsconfig.compilerOptions, types: ['node'] } });
  const types = { '@types/node': readJson(join(root, 'node_modules', '@types', 'node', 'package.json')).version };
  // Of a range, the Java package takes the newest version of its build day, and of an exact version it makes one that excludes all
  // others; of a range of one version it makes a least version.
  const oneVersion = Object.fromEntries(Object.entries(floor).map(([name, version]) => [name, `>=${version} <${version.replace(/\d+$/, (patch) => Number(patch) + 1)}`]));
  writeJson(join(workshop, 'package.json'), { ...manifest, peerDependencies: oneVersion, devDependencies: { ...floor, ...types } });
  runQuietly('npm', ['install', '--prefer-offline', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'], workshop);
  runQuietly(process.execPath, [bin('jsii'), '--silence-warnings=reserved-word'], workshop);

  cpSync(join(workshop, '.jsii'), join(folder, '.jsii'));
  symlinkSync(join(workshop, 'node_modules'), join(folder, '..', 'node_modules'), 'junction');
}

function packLanguage(target, folder, manifest, outdir, codeOnly) {
  const tarball = pack(folder, manifest, join(folder, '..', 'tarball'));
  if (TARGETS_WITHOUT_RANGES.includes(target)) {
    compileAgainstFloor(folder, manifest);
  } else {
    symlinkSync(join(root, 'node_modules'), join(folder, '..', 'node_modules'), 'junction');
  }
  // What is embedded is the published package, ranges and all, whatever the folder was made against.
  const packCommand = `node -p "require('fs').cpSync(${JSON.stringify(tarball).replaceAll('"', "'")}, 'package.tgz') ?? 'package.tgz'"`;
  runQuietly(process.execPath, [
    bin('jsii-pacmak'), '-v', '--target', target, '--outdir', outdir, '--no-npmignore', '--pack-command', packCommand,
    ...(codeOnly ? ['--code-only'] : []), folder,
  ], folder);
  return join(outdir, target);
}

const { values: { target, 'code-only': codeOnly = false }, positionals } = parseArgs({
  allowPositionals: true, options: { 'target': { type: 'string' }, 'code-only': { type: 'boolean' } },
});
if (positionals.length !== 1 || (target !== undefined && !TARGETS.includes(target))) {
  console.error(`usage: node scripts/pack.mjs [--target <${TARGETS.join('|')}> [--code-only]] <outdir>`);
  process.exit(2);
}

const workspace = mkdtempSync(join(tmpdir(), 'cdk-order-pipeline-pack-'));
try {
  const folder = join(workspace, 'package');
  const manifest = stage(folder);
  const outdir = resolve(positionals[0]);
  console.log(target === undefined ? pack(folder, manifest, outdir) : packLanguage(target, folder, manifest, outdir, codeOnly));
} catch (error) {
  console.error(`pack: ${error.message}`);
  process.exitCode = 1;
} finally {
  rmSync(workspace, { recursive: true, force: true });
}
