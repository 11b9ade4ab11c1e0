#!/usr/bin/env node
// Packs the compiled local run from a staging folder, with a package.json that has only what a user needs.
//
//   node scripts/pack-local-run.mjs <outdir>        prints the path of the tarball
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { publishedManifest, readJson, root, runQuietly, withAbsoluteLinks } from './lib/packing.mjs';

const source = join(root, 'packages', 'local-run');
const FIELDS = ['bin', 'exports', 'type', 'files'];

const [outdir, ...rest] = process.argv.slice(2);
if (outdir === undefined || rest.length > 0) {
  console.error('usage: node scripts/pack-local-run.mjs <outdir>');
  process.exit(2);
}
if (!existsSync(join(source, 'lib', 'bin.js'))) {
  console.error('pack: the local run is not compiled: run `node scripts/setup.mjs` first');
  process.exit(1);
}
const folder = mkdtempSync(join(tmpdir(), 'cdk-local-run-pack-'));
try {
  const { version } = readJson(join(root, 'package.json'));
  const manifest = { ...publishedManifest(readJson(join(source, 'package.json')), FIELDS), version };
  cpSync(join(source, 'lib'), join(folder, 'lib'), { recursive: true, filter: (path) => !/\.(tsbuildinfo|setup-stamp)$/.test(path) });
  cpSync(join(root, 'LICENSE'), join(folder, 'LICENSE'));
  writeFileSync(join(folder, 'README.md'), withAbsoluteLinks(readFileSync(join(source, 'README.md'), 'utf8'), manifest, 'packages/local-run'));
  writeFileSync(join(folder, 'package.json'), `${JSON.stringify(manifest, undefined, 2)}\n`);
  const target = resolve(outdir);
  mkdirSync(target, { recursive: true });
  runQuietly('npm', ['pack', '--silent', '--ignore-scripts', '--pack-destination', target], folder);
  console.log(join(target, `${manifest.name}-${manifest.version}.tgz`));
} finally {
  rmSync(folder, { recursive: true, force: true });
}
