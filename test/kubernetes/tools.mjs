// The programs of the check, built from the pinned Go modules beside this file, and the definitions of foreign objects. They are kept in
// a cache, in folders named after the content of the module's files and the version of Go.
import { execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

const PROGRESS = 30_000;

/** The definition of SecurityGroupPolicy. KEDA's definitions are in its module, whose checksum is in keda/go.sum. */
const VPC_RESOURCE_CONTROLLER = {
  path: 'github.com/aws/amazon-vpc-resource-controller-k8s', version: 'v1.8.2', sum: 'h1:S6fvZf7+Xjho4LLo2AdxT3x9yaOJ37Ly/eGQd+ASWi4=',
};
const KEDA = 'github.com/kedacore/keda/v2';

const folderOf = (name) => join(import.meta.dirname, name);
const goMod = (name) => readFileSync(join(folderOf(name), 'go.mod'), 'utf8');
const goSum = (name) => readFileSync(join(folderOf(name), 'go.sum'), 'utf8');

/** No other version of Go is downloaded, and the programs need no C library. */
const environment = { ...process.env, GOTOOLCHAIN: 'local', CGO_ENABLED: '0', GOWORK: 'off' };

/** The version of a module that a go.mod requires, without the `v`. */
export function versionOf(name, path) {
  return new RegExp(`\\s${path} v(\\S+)`).exec(goMod(name))[1];
}

/** The reason why the check can't run on this machine, or undefined if it can. */
export function missingTool(needed) {
  const say = (command, args) => {
    try { return execFileSync(command, args, { env: environment, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim(); } catch { return undefined; }
  };
  const wanted = needed.map((name) => /^go ([\d.]+)$/m.exec(goMod(name))[1]).sort(byVersion).at(-1);
  const found = /^go([\d.]+)/.exec(say('go', ['env', 'GOVERSION']) ?? '')?.[1];
  if (process.platform === 'win32') { return 'it runs on Linux and macOS only'; }
  if (found === undefined) { return `Go ${wanted} or newer is not installed`; }
  if (byVersion(found, wanted) < 0) { return `Go ${found} is too old: install ${wanted} or newer`; }
  if (say('python3', ['--version']) === undefined) { return 'Python 3 is not installed, and the handler that applies manifests is written in it'; }
  return undefined;
}

function byVersion(one, other) {
  const [left, right] = [one, other].map((version) => version.split('.').map(Number));
  return (left[0] - right[0]) || ((left[1] ?? 0) - (right[1] ?? 0)) || ((left[2] ?? 0) - (right[2] ?? 0));
}

/** The folder that keeps the built programs. */
export function cacheFolder() {
  return process.env.CDK_ORDER_PIPELINE_CACHE ?? join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'cdk-order-pipeline', 'kubernetes');
}

/** Builds the programs of a module, unless the cache has them, and returns their folder. */
export async function programsOf(name, { say }) {
  const go = execFileSync('go', ['env', 'GOVERSION', 'GOOS', 'GOARCH'], { env: environment, encoding: 'utf8' });
  const flags = ['-trimpath', '-ldflags', linkerFlags(name)];
  const digest = createHash('sha256').update([goMod(name), goSum(name), go, ...flags].join('\n')).digest('hex').slice(0, 16);
  const folder = join(cacheFolder(), `${name}-${digest}`);
  if (existsSync(folder)) { return folder; }

  mkdirSync(cacheFolder(), { recursive: true });
  const building = mkdtempSync(join(cacheFolder(), `building-${name}-`));
  try {
    const seconds = await goBuild(name, ['build', '-v', ...flags, '-o', `${building}/`, 'tool'], say);
    say(`built ${name} in ${seconds} s, kept in ${folder}`);
    // Another check may have built the same meanwhile.
    if (!existsSync(folder)) { renameSync(building, folder); }
  } finally {
    rmSync(building, { recursive: true, force: true });
  }
  for (const old of readdirSync(cacheFolder()).filter((entry) => entry.startsWith(`${name}-`) && !folder.endsWith(entry))) {
    rmSync(join(cacheFolder(), old), { recursive: true, force: true });
  }
  return folder;
}

/** Without these, the servers answer that they are of version 0. */
function linkerFlags(name) {
  if (name !== 'servers') { return '-s -w'; }
  const version = versionOf(name, 'k8s.io/kubernetes');
  const [major, minor] = version.split('.');
  const set = Object.entries({ gitVersion: `v${version}`, gitMajor: major, gitMinor: minor });
  return ['-s -w', ...set.map(([field, value]) => `-X k8s.io/component-base/version.${field}=${value}`)].join(' ');
}

/** Runs go, and says how far it is: the first build takes minutes. */
function goBuild(name, args, say) {
  const started = Date.now();
  const seconds = () => Math.round((Date.now() - started) / 1000);
  say(`building ${name} from its Go modules: ${name === 'keda' ? 'about ten minutes' : 'minutes'} the first time`);
  return new Promise((succeed, fail) => {
    const go = spawn('go', args, { cwd: folderOf(name), env: environment, stdio: ['ignore', 'ignore', 'pipe'] });
    const stop = () => go.kill();
    process.once('exit', stop);
    let packages = 0;
    let output = '';
    go.stderr.setEncoding('utf8').on('data', (text) => {
      packages += text.split('\n').length - 1;
      output = (output + text).slice(-4000);
    });
    const timer = setInterval(() => say(`  ${packages} packages after ${seconds()} s`), PROGRESS);
    go.on('error', fail);
    go.on('close', (code) => {
      clearInterval(timer);
      process.off('exit', stop);
      if (code === 0) { succeed(seconds()); } else { fail(new Error(`go ${args[0]} of ${name} ended with ${code}:\n${output}`)); }
    });
  });
}

/** The files with the definitions of KEDA's objects and of SecurityGroupPolicy. */
export function definitionFiles() {
  const { path, version, sum } = VPC_RESOURCE_CONTROLLER;
  const kedaVersion = `v${versionOf('keda', KEDA)}`;
  const sums = { [KEDA]: new RegExp(`^${KEDA} ${kedaVersion} (h1:\\S+)$`, 'm').exec(goSum('keda'))[1], [path]: sum };
  const answer = execFileSync('go', ['mod', 'download', '-json', `${KEDA}@${kedaVersion}`, `${path}@${version}`], {
    cwd: folderOf('keda'), env: environment, encoding: 'utf8',
  });
  return JSON.parse(`[${answer.trim().replace(/\n}\n{/g, '\n},\n{')}]`).flatMap(({ Path, Sum, Dir }) => {
    if (Sum !== sums[Path]) { throw new Error(`${Path} has the checksum ${Sum}, not ${sums[Path]}`); }
    const bases = join(Dir, 'config', 'crd', 'bases');
    return readdirSync(bases).map((file) => join(bases, file));
  });
}

/** The folder of a module that a go.mod requires, which is downloaded already. */
export function moduleFolder(name, path) {
  return execFileSync('go', ['list', '-m', '-f', '{{.Dir}}', path], { cwd: folderOf(name), env: environment, encoding: 'utf8' }).trim();
}

/** Lays the programs that aws-cdk-lib's handler runs into a folder for its PATH: kubectl, and an `aws` that only writes the kubeconfig. */
export function layHandlerPrograms(folder, servers, stub) {
  mkdirSync(folder);
  copyFileSync(stub, join(folder, 'aws'));
  copyFileSync(join(servers, 'kubectl'), join(folder, 'kubectl'));
}
