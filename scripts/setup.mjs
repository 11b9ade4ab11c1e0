#!/usr/bin/env node
// Makes a fresh clone ready before `npm start` and `npm test`: installs the dependencies and compiles the library when
// either is missing or older than what it is made from. Plain JavaScript on Node built-ins, because nothing is installed
// yet when it runs, and the machine's own Node may be older than the one the project brings.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const bin = (name) => join(root, 'node_modules', '.bin', process.platform === 'win32' ? `${name}.cmd` : name);

const [major, minor] = process.versions.node.split('.').map(Number);
if (major < 20 || (major === 20 && minor < 19)) {
  console.error(`Node.js ${process.versions.node} is too old: install 20.19 or newer (the project brings its own Node.js 24 from there on).`);
  process.exit(1);
}

/** Runs a command, shows its output only if it fails, and stops the whole set-up with its message then. */
function step(label, command, args) {
  const started = Date.now();
  process.stdout.write(`${label} ... `);
  const path = `${join(root, 'node_modules', '.bin')}${process.platform === 'win32' ? ';' : ':'}${process.env.PATH}`;
  // A caller's npm flags (npm_config_*, such as --omit=dev) must not leak into the install that the project needs whole.
  const env = { ...process.env, PATH: path, npm_config_yes: 'true', NODE_ENV: '' };
  const result = spawnSync(command, args, { cwd: root, env, encoding: 'utf8', shell: process.platform === 'win32', maxBuffer: 1 << 28 });
  if (result.status !== 0) {
    console.log('failed');
    console.error(`${result.stdout ?? ''}${result.stderr ?? ''}${result.error ? `${result.error.message}\n` : ''}`);
    console.error(`${label} failed: ${command} ${args.join(' ')} (exit code ${result.status ?? result.signal})`);
    process.exit(1);
  }
  console.log(`${((Date.now() - started) / 1000).toFixed(1)} s`);
}

function filesBelow(directory) {
  return readdirSync(join(root, directory), { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
    .sort();
}

const modified = (path) => (existsSync(join(root, path)) ? statSync(join(root, path)).mtimeMs : 0);

// npm writes this hidden lock file last, so it also tells an interrupted install from a finished one.
if (modified('node_modules/.package-lock.json') < modified('package-lock.json')) {
  step('installing dependencies (once, about half a minute)', 'npm', ['ci', '--no-audit', '--no-fund', '--include=dev', '--loglevel=error']);
}

// The reference app imports the compiled packages by their public entries, as any user of them does.
compiled('the construct library', ['src', 'package.json', 'package-lock.json'], 'lib/index.js', '.setup-stamp', 'jsii', ['--silence-warnings=reserved-word']);
compiled(
  'the local run', ['packages/local-run/src', 'packages/local-run/tsconfig.build.json', 'package-lock.json'],
  'packages/local-run/lib/index.js', 'packages/local-run/lib/.setup-stamp', 'tsc', ['-p', 'packages/local-run/tsconfig.build.json'],
);

/** Compiles what is missing or older than its sources. Their digest tells, as the times of files in a clone do not. */
function compiled(label, sources, output, stamp, command, args) {
  const hash = createHash('sha256');
  for (const source of sources) {
    for (const file of statSync(join(root, source)).isDirectory() ? filesBelow(source) : [join(root, source)]) {
      hash.update(file.slice(root.length)).update(readFileSync(file));
    }
  }
  const digest = hash.digest('hex');
  const file = join(root, stamp);
  if (existsSync(join(root, output)) && existsSync(file) && readFileSync(file, 'utf8') === digest) return;
  // What is not compiled any more must not be found any more.
  rmSync(dirname(join(root, output)), { recursive: true, force: true });
  step(`compiling ${label}`, bin(command), args);
  writeFileSync(file, digest);
}
