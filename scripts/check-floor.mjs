#!/usr/bin/env node
// Compiles the library against the oldest versions that its peer range promises, declarations included, and loads the result. The
// repository itself is built and tested with newer ones, so without this check a use of something newer would only be found by a user.
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
  const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc');
  const types = ['--typeRoots', join(root, 'node_modules', '@types'), '--types', 'node'];
  console.log(`compiling src/ against ${Object.entries(floor).map(([name, version]) => `${name}@${version}`).join(' and ')}`);
  cpSync(join(root, 'src'), join(folder, 'src'), { recursive: true });
  cpSync(join(root, 'tsconfig.json'), join(folder, 'tsconfig.json'));
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ name: 'floor', private: true, dependencies: floor }));
  run('npm', ['install', '--prefer-offline', '--no-audit', '--no-fund', '--loglevel=error']);
  run(process.execPath, [tsc, '-p', 'tsconfig.json', ...types]);
  // Types alone don't say that what is imported is there when the program runs.
  run(process.execPath, ['--eval', 'const names = Object.keys(require("./lib")); if (names.length < 10) { throw new Error(`exports: ${names}`); }']);
  console.log('type-checking a program that uses the declarations');
  writeFileSync(join(folder, 'program.ts'), "import * as library from './lib';\n\nexport const names: string[] = Object.keys(library);\n");
  run(process.execPath, [tsc, 'program.ts', '--ignoreConfig', '--noEmit', '--strict', '--target', 'es2022', '--module', 'node16', '--skipLibCheck', 'false', ...types]);
  console.log('ok');
} finally {
  rmSync(folder, { recursive: true, force: true });
}
