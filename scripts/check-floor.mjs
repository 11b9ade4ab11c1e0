#!/usr/bin/env node
// Compiles the library against the oldest versions that its peer range promises. The repository itself is built and tested
// with newer ones, so without this check a use of something newer would only be found by a user.
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const { peerDependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const floor = Object.fromEntries(Object.entries(peerDependencies).map(([name, range]) => [name, range.replace('^', '')]));
const folder = mkdtempSync(join(tmpdir(), 'cdk-order-pipeline-floor-'));

function run(command, args) {
  const result = spawnSync(command, args, { cwd: folder, stdio: 'inherit' });
  if (result.status !== 0) {
    throw new Error(`${command} ${args.join(' ')} failed (exit code ${result.status ?? result.signal})`);
  }
}

try {
  console.log(`compiling src/ against ${Object.entries(floor).map(([name, version]) => `${name}@${version}`).join(' and ')}`);
  cpSync(join(root, 'src'), join(folder, 'src'), { recursive: true });
  cpSync(join(root, 'tsconfig.json'), join(folder, 'tsconfig.json'));
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ name: 'floor', private: true, dependencies: floor }));
  run('npm', ['install', '--no-audit', '--no-fund', '--loglevel=error']);
  run(process.execPath, [join(root, 'node_modules', 'typescript', 'bin', 'tsc'), '-p', 'tsconfig.json', '--noEmit', '--typeRoots', join(root, 'node_modules', '@types'), '--types', 'node']);
  console.log('ok');
} finally {
  rmSync(folder, { recursive: true, force: true });
}
