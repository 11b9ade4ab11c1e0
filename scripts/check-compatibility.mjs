#!/usr/bin/env node
// Fails when the compiled library breaks code that was written against the baseline of its public API.
//
//   node scripts/check-compatibility.mjs                                  the check; needs a compiled library and no network
//   node scripts/check-compatibility.mjs --accept                         before the first release: the API as it is becomes the baseline
//   node scripts/check-compatibility.mjs --accept --decision <file>       later: the same, because of that decision
//   node scripts/check-compatibility.mjs --accept --released [<version>]  after a release: the API of that release (default: the latest)
//
// Options for tests: --baseline <file>, --assembly <file>.
//
// jsii-diff by itself lets everything through: it only fails for what is marked stable, and skips the comparison without an error when
// it can't download the last release. So the baseline is a file of the repository, and every mark counts.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const BASELINE = join(root, 'test', 'compatibility', 'baseline.json');
const IGNORED = join(root, '.compatignore');
const UNRELEASED = '0.0.0';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    accept: { type: 'boolean', default: false },
    decision: { type: 'string' },
    released: { type: 'boolean', default: false },
    baseline: { type: 'string', default: BASELINE },
    assembly: { type: 'string', default: join(root, '.jsii') },
  },
});
const fromRoot = (path) => relative(root, path);
const fail = (message) => { console.error(message); process.exit(1); };

function readAssembly(file) {
  if (!existsSync(file)) { fail(`compat: ${fromRoot(file)} is missing: run \`npm run ${file === values.baseline ? 'compat:accept' : 'compile'}\` first`); }
  return JSON.parse(readFileSync(file, 'utf8'));
}

/** What a comparison reads of an assembly: neither texts nor places in the sources. */
function signatures(value, key) {
  if (key === 'docs') {
    const { stability, subclassable } = value;
    return stability === undefined && !subclassable ? undefined : { stability, subclassable };
  }
  if (key === 'locationInModule' || key === 'symbolId') { return undefined; }
  if (Array.isArray(value)) { return value.map((element) => signatures(element)); }
  if (typeof value !== 'object' || value === null) { return value; }
  return Object.fromEntries(Object.entries(value).map(([name, content]) => [name, signatures(content, name)]).filter(([, content]) => content !== undefined));
}

function baselineOf({ schema, name, version, jsiiVersion, author, description, homepage, license, repository, fingerprint, types, ...assembly }) {
  return { schema, name, version, jsiiVersion, author, description, homepage, license, repository, fingerprint,
    dependencies: assembly.dependencies, dependencyClosure: {}, usedFeatures: assembly.usedFeatures, types: signatures(types) };
}

/** A folder that jsii-diff takes for an installed package. */
function lay(folder, assembly) {
  mkdirSync(folder);
  writeFileSync(join(folder, '.jsii'), JSON.stringify(assembly));
  writeFileSync(join(folder, 'package.json'), JSON.stringify({
    name: assembly.name, version: assembly.version, jsii: {}, peerDependencies: assembly.dependencies,
  }));
}

function check() {
  const baseline = readAssembly(values.baseline);
  const folder = mkdtempSync(join(tmpdir(), 'cdk-order-pipeline-compat-'));
  try {
    symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'), 'junction');
    lay(join(folder, 'baseline'), baseline);
    lay(join(folder, 'current'), readAssembly(values.assembly));
    const jsiiDiff = createRequire(join(root, 'package.json')).resolve('jsii-diff/bin/jsii-diff');
    const { status, stdout, stderr, error } = spawnSync(process.execPath, [
      jsiiDiff, join(folder, 'baseline'), join(folder, 'current'), '--error-on', 'all', '--keys', '--ignore-file', IGNORED,
    ], { encoding: 'utf8', env: { ...process.env, JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION: 'true' } });
    const since = baseline.version === UNRELEASED ? 'the accepted baseline (nothing is released yet)' : `release ${baseline.version}`;
    if (status === 0) {
      console.log(`compat: the public API is compatible with ${since}`);
      return;
    }
    console.error(`${stdout}${stderr}${error?.message ?? ''}`.trim());
    fail(status !== 1 ? `compat: jsii-diff itself failed (exit code ${status})` : `
compat: the public API is no longer compatible with ${since}; code that compiles today would not compile any more.
  - Best: keep what was there (mark it @deprecated with a way out) and add the new beside it; a new prop is optional.
${baseline.version === UNRELEASED
    ? '  - Before the first release only: `npm run compat:accept` makes the API as it is the baseline; commit it with the change.'
    : `  - If it has to be: write a decision (docs/decisions), add the keys in brackets above to ${fromRoot(IGNORED)},
    and mark the commit as breaking (\`feat(scope)!: …\`), which raises the version.`}
See CONTRIBUTING.md, "Change the API".`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function accept() {
  let assembly = readAssembly(values.assembly);
  if (values.released) {
    const folder = mkdtempSync(join(tmpdir(), 'cdk-order-pipeline-release-'));
    const { status } = spawnSync('npm', ['install', '--prefix', folder, '--no-save', '--ignore-scripts', '--legacy-peer-deps', '--no-audit', '--no-fund',
      `${assembly.name}@${positionals[0] ?? 'latest'}`], { stdio: 'inherit', shell: process.platform === 'win32' });
    if (status !== 0) { fail(`compat: ${assembly.name}@${positionals[0] ?? 'latest'} is not on npm, or npm can't be reached`); }
    assembly = readAssembly(join(folder, 'node_modules', assembly.name, '.jsii'));
    rmSync(folder, { recursive: true, force: true });
  } else {
    const released = existsSync(values.baseline) && readAssembly(values.baseline).version !== UNRELEASED;
    const tags = spawnSync('git', ['tag', '--list', 'v*'], { cwd: root, encoding: 'utf8' }).stdout?.trim();
    if ((released || tags) && !(values.decision && existsSync(resolve(root, values.decision)))) {
      fail('compat: there is a release, and its users count on its API. Accepting another one needs a decision: --decision docs/decisions/NNN-….md');
    }
  }
  mkdirSync(dirname(values.baseline), { recursive: true });
  writeFileSync(values.baseline, `${JSON.stringify(baselineOf(assembly), undefined, 1)}\n`);
  console.log(`compat: ${fromRoot(values.baseline)} is the API of ${assembly.version === UNRELEASED ? 'the library as it is compiled' : assembly.version}`);
}

if (values.accept) { accept(); } else { check(); }
