// What the scripts share that try the packages as a user would: folders outside of the repository, the environment of a user, and
// programs that run there.
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');

export const readJson = (file) => JSON.parse(readFileSync(file, 'utf8'));

/** The oldest versions that a package.json promises to work with. */
export const floorOf = ({ peerDependencies }) => Object.fromEntries(Object.entries(peerDependencies).map(([name, range]) => [name, range.replace('^', '')]));

/** Calls `use` with a new folder in the temp folder, which is removed afterwards, however that ends. */
export async function withFolder(name, keep, use) {
  const folder = mkdtempSync(join(tmpdir(), `cdk-order-pipeline-${name}-`));
  const remove = () => rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
  const stop = (signal) => { if (!keep) { remove(); } process.exit(signal === 'SIGINT' ? 130 : 143); };
  process.once('SIGINT', stop).once('SIGTERM', stop);
  try {
    return await use(folder);
  } finally {
    process.off('SIGINT', stop).off('SIGTERM', stop);
    if (keep) { console.log(`kept: ${folder}`); } else { remove(); }
  }
}

/** The environment without what npm and this repository put into it: their programs, flags and settings are not a user's. */
export function callersEnvironment() {
  const path = process.env.PATH.split(delimiter).filter((folder) => folder !== '' && !resolve(folder).startsWith(root) && !folder.includes('node-gyp-bin'));
  const others = Object.entries(process.env).filter(([name]) => !/^(npm_|INIT_CWD$|NODE_ENV$|NODE_OPTIONS$|CDK_)/i.test(name));
  return {
    ...Object.fromEntries(others),
    PATH: [dirname(process.execPath), ...path].join(delimiter),
    // Nothing asks the internet for news, and a Node.js that is newer than a library is no finding.
    CDK_DISABLE_CLI_TELEMETRY: 'true',
    JSII_SILENCE_WARNING_UNTESTED_NODE_VERSION: 'true',
    JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION: 'true',
  };
}

/** The environment of somebody who has a registry and nothing else: an empty home, and the caller's registry settings and cache of npm. */
export function npmUserEnvironment(home) {
  const setting = (name) => execFileSync('npm', ['config', 'get', name], { cwd: home, env: callersEnvironment(), encoding: 'utf8', shell: process.platform === 'win32' }).trim();
  const settings = { npm_config_cache: setting('cache'), npm_config_userconfig: setting('userconfig') };
  return { ...callersEnvironment(), ...settings, HOME: home, USERPROFILE: home };
}

/** Runs a command and returns its standard output; the error has the end of all that it printed. */
export function run(command, args, { cwd, env, timeoutMinutes = 10 }) {
  return new Promise((succeed, fail) => {
    const child = spawn(command, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'], shell: process.platform === 'win32', timeout: timeoutMinutes * 60_000 });
    let out = '';
    let all = '';
    child.stdout.setEncoding('utf8').on('data', (text) => { out += text; all += text; });
    child.stderr.setEncoding('utf8').on('data', (text) => { all += text; });
    child.on('error', (error) => fail(new Error(`${command}: ${error.message}`)));
    child.on('close', (code, signal) => {
      if (code === 0) { succeed(out); return; }
      // Node.js shows the line of an error, which is a whole file where the code is minified.
      const lines = all.trimEnd().split('\n').filter((line) => line.trim() !== '').map((line) => line.slice(0, 300));
      fail(new Error([`\`${[command, ...args].join(' ')}\` ended with ${code ?? signal}`, ...lines.slice(-40)].join('\n')));
    });
  });
}

/** Whether the machine has a program. */
export async function has(command, args, env) {
  return run(command, args, { cwd: tmpdir(), env, timeoutMinutes: 1 }).then(() => true, () => false);
}

/** Steps with a line each; a failing one is noted, and the others still run. */
export class Steps {
  passed = 0;
  failures = [];

  /** Returns what `work` does, or undefined when it fails. `work` may return `{ note }`, which stands in its line. */
  async step(label, work) {
    const started = Date.now();
    try {
      const result = await work();
      this.passed++;
      console.log(`  ok    ${label.padEnd(64)} ${((Date.now() - started) / 1000).toFixed(1).padStart(6)} s${result?.note ? `  ${result.note}` : ''}`);
      return result ?? {};
    } catch (error) {
      this.failures.push({ label, message: error.message });
      console.log(`  FAIL  ${label.padEnd(64)} ${((Date.now() - started) / 1000).toFixed(1).padStart(6)} s`);
      return undefined;
    }
  }

  /** Prints the failures and the sum, and sets the exit code. @param name begins the line of the sum; without it, the sum stands alone */
  finish(name) {
    for (const { label, message } of this.failures) {
      console.error(`\nFAIL ${label}\n${message.replace(/^/gm, '  ')}`);
    }
    console.log(`\n${name === undefined ? '' : `${name}: `}${this.passed} passed, ${this.failures.length} failed`);
    if (this.failures.length > 0 || this.passed === 0) { process.exitCode = 1; }
  }
}

/** Throws one error of several problems. */
export function demand(problems) {
  if (problems.length > 0) { throw new Error(problems.join('\n')); }
}

/** The templates and the warnings of a cloud assembly. */
export function readAssembly(folder) {
  if (!existsSync(join(folder, 'manifest.json'))) { throw new Error('no cloud assembly was written'); }
  const files = readdirSync(folder).filter((file) => file.endsWith('.template.json')).sort();
  const templates = Object.fromEntries(files.map((file) => [file, readJson(join(folder, file))]));
  const artifacts = Object.values(readJson(join(folder, 'manifest.json')).artifacts ?? {});
  // Newer versions of aws-cdk-lib write the metadata of a stack to a file of its own.
  const metadata = artifacts.flatMap(({ metadata: inline, additionalMetadataFile: file }) => [inline ?? {}, file ? readJson(join(folder, file)) : {}]);
  const warnings = metadata.flatMap((paths) => Object.entries(paths)).flatMap(([path, entries]) => entries
    .filter(({ type }) => type === 'aws:cdk:warning' || type === 'aws:cdk:error')
    .map(({ data }) => `${path}: ${data}`));
  const resources = Object.values(templates).reduce((sum, { Resources }) => sum + Object.keys(Resources ?? {}).length, 0);
  if (resources === 0) { throw new Error('the templates have no resources'); }
  return { templates, warnings, resources };
}

/** Makes a folder and returns its path. */
export function folderIn(...path) {
  const folder = join(...path);
  mkdirSync(folder, { recursive: true });
  return folder;
}

/** The exact version of an installed package. */
export const versionIn = (folder, name) => readJson(join(folder, 'node_modules', name, 'package.json')).version;
