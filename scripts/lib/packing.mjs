// What the two packages of this repository have in common when they are packed.
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { delimiter, dirname, join, posix } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');

const PUBLISHED_FIELDS = [
  'name', 'version', 'description', 'keywords', 'homepage', 'bugs', 'repository', 'license', 'author', 'main', 'types', 'engines',
  'dependencies', 'bundledDependencies', 'peerDependencies', 'publishConfig',
];

export const readJson = (file) => JSON.parse(readFileSync(file, 'utf8'));
export const writeJson = (file, value) => writeFileSync(file, `${JSON.stringify(value, undefined, 2)}\n`);

/** Runs a command; what it says goes to stderr, because stdout is for the path that the caller reads. */
export function runQuietly(command, args, cwd) {
  const env = { ...process.env, PATH: `${join(root, 'node_modules', '.bin')}${delimiter}${process.env.PATH}` };
  const result = spawnSync(command, args, { cwd, env, stdio: ['ignore', 2, 2], shell: process.platform === 'win32' });
  if (result.status !== 0) {
    throw new Error(`${command} ${args.join(' ')} failed (exit code ${result.status ?? result.signal ?? result.error?.message})`);
  }
}

/** The fields of a package.json that users need: workspaces, overrides, scripts and test configuration of the repository are not among them. */
export function publishedManifest(manifest, moreFields = []) {
  return Object.fromEntries([...PUBLISHED_FIELDS, ...moreFields].filter((field) => manifest[field] !== undefined).map((field) => [field, manifest[field]]));
}

/** Makes relative links of a page in `folder` absolute: registries and editors have no repository to look in. */
export function withAbsoluteLinks(markdown, { repository, version }, folder = '') {
  const at = `${repository.url.replace(/\.git$/, '')}/blob/${version === '0.0.0' ? 'main' : `v${version}`}`;
  const code = /(^```[^]*?^```|`[^`\n]*`)/m;
  const absolute = (part) => part.replace(/\]\((?![a-z]+:|#)([^)]*)/g, (_, path) => `](${at}/${posix.join(folder, path)}`);
  return markdown.split(code).map((part, index) => (index % 2 === 1 ? part : absolute(part))).join('');
}
