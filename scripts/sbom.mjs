#!/usr/bin/env node
// Writes the software bill of materials of the packed library (CycloneDX, by `npm sbom`): `node scripts/sbom.mjs <outdir>`.
//
// The package brings no dependency of its own. Its two peers are the user's; they are listed in the version that the build was
// tested with.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const outdir = resolve(process.argv[2] ?? 'dist/sbom');
const workspace = mkdtempSync(join(tmpdir(), 'cdk-order-pipeline-sbom-'));
const readJson = (file) => JSON.parse(readFileSync(file, 'utf8'));
const execute = (command, args, cwd) => execFileSync(command, args, { cwd, encoding: 'utf8', shell: process.platform === 'win32' });

try {
  const tarball = execute(process.execPath, [join(root, 'scripts', 'pack.mjs'), workspace], root).trim();
  const { name, version, peerDependencies } = readJson(join(root, 'package.json'));
  const folder = join(workspace, name);
  mkdirSync(folder);
  execute('tar', ['-xzf', tarball, '--strip-components=1', '-C', folder], workspace);
  const offline = ['--legacy-peer-deps', '--offline', '--no-audit', '--no-fund', '--ignore-scripts'];
  execute('npm', ['install', '--package-lock-only', '--silent', ...offline], folder);
  const bom = JSON.parse(execute('npm', [
    'sbom', '--sbom-format=cyclonedx', '--sbom-type=library', '--package-lock-only', '--omit=peer', '--legacy-peer-deps',
  ], folder));

  bom.metadata.component.hashes = [{ alg: 'SHA-512', content: createHash('sha512').update(readFileSync(tarball)).digest('hex') }];
  const [library] = bom.dependencies;
  for (const peer of Object.keys(peerDependencies)) {
    const { version: tested, license, description } = readJson(join(root, 'node_modules', peer, 'package.json'));
    const ref = `${peer}@${tested}`;
    bom.components.push({
      'bom-ref': ref, 'type': 'library', 'name': peer, 'version': tested, 'scope': 'required', description,
      'purl': `pkg:npm/${peer}@${tested}`, 'licenses': [{ license: { id: license } }],
      'properties': [{ name: 'cdk:npm:peer:range', value: peerDependencies[peer] }],
    });
    library.dependsOn.push(ref);
    bom.dependencies.push({ ref, dependsOn: [] });
  }

  mkdirSync(outdir, { recursive: true });
  const file = join(outdir, `${name}-${version}.cdx.json`);
  writeFileSync(file, `${JSON.stringify(bom, undefined, 2)}\n`);
  console.log(file);
} finally {
  rmSync(workspace, { recursive: true, force: true });
}
