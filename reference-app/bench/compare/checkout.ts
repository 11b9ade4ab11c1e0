import { execFile, execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { UsageError } from '../options.ts';

/** The folder of this repository. */
export const REPOSITORY = fileURLToPath(new URL('../../../', import.meta.url));

/** A state of the repository that can be run. */
export interface Checkout {
  readonly folder: string;
  /** The commit in short, or `working tree`. */
  readonly name: string;
  remove(): void;
}

interface LockFile {
  readonly packages: Readonly<Record<string, { readonly version?: string; readonly link?: boolean; readonly optional?: boolean }>>;
}

/** The folders of installed packages: that of the root, and what its workspaces need in another version. */
const INSTALLED = ['node_modules', 'reference-app/node_modules', 'packages/local-run/node_modules'];

/** This repository as it is, compiled. */
export async function workingTree(): Promise<Checkout> {
  await setUp(REPOSITORY);
  return { folder: REPOSITORY, name: 'working tree', remove: () => undefined };
}

/**
 * A copy of a commit in a temporary folder, compiled. It uses the packages that are installed here, if they are those of its lock file;
 * otherwise it gets its own.
 *
 * @throws UsageError if there is no such commit
 */
export async function checkOut(ref: string, option: '--before' | '--after'): Promise<Checkout> {
  const git = (...args: string[]) => execFileSync('git', ['-C', REPOSITORY, ...args], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  const commit = commitOf(ref, option, git);
  const folder = mkdtempSync(join(tmpdir(), 'bench-compare-'));
  const remove = () => rmSync(folder, { recursive: true, force: true });
  try {
    // An archive and no worktree: nothing of it stays in the repository, however this ends.
    const archive = execFileSync('git', ['-C', REPOSITORY, 'archive', commit], { maxBuffer: 1 << 30 });
    execFileSync('tar', ['-x', '-C', folder], { input: archive });
    if (hasPackagesOf(join(folder, 'package-lock.json'))) for (const place of INSTALLED) sharePackages(place, folder);
    await setUp(folder);
    return { folder, name: git('rev-parse', '--short', commit), remove };
  } catch (error) {
    remove();
    throw error;
  }
}

function commitOf(ref: string, option: string, git: (...args: string[]) => string): string {
  try {
    return git('rev-parse', '--verify', '--end-of-options', `${ref}^{commit}`);
  } catch {
    throw new UsageError(`${option} expects a commit, a branch or a tag of this repository, not '${ref}'.`);
  }
}

/** The last release, or undefined before the first one. */
export function lastRelease(): string | undefined {
  try {
    return execFileSync('git', ['-C', REPOSITORY, 'describe', '--tags', '--abbrev=0', '--match', 'v*'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  } catch {
    return undefined;
  }
}

/** Whether all packages of a lock file are installed here. Others that are installed, too, do not matter. */
function hasPackagesOf(lockFile: string): boolean {
  const { packages } = JSON.parse(readFileSync(lockFile, 'utf8')) as LockFile;
  const { packages: here } = JSON.parse(readFileSync(join(REPOSITORY, 'node_modules/.package-lock.json'), 'utf8')) as LockFile;
  return Object.entries(packages).every(([path, { version, link, optional }]) =>
    link === true || optional === true || !path.includes('node_modules/') || here[path]?.version === version);
}

/**
 * The packages that are installed here, without a second copy of their bytes where the disk can do so. Not links to folders: a bundler
 * would find the packages in another place than the lock file says. The links of workspaces lead to the workspaces of the copy.
 */
function sharePackages(place: string, folder: string): void {
  const from = join(REPOSITORY, place);
  if (!existsSync(from)) return;
  const to = join(folder, place);
  try {
    execFileSync('cp', ['-RPl', from, to], { stdio: 'ignore' });
  } catch {
    rmSync(to, { recursive: true, force: true });
    execFileSync('cp', ['-RP', from, to]);
  }
  // The list of what is installed has to be younger than the lock file: that tells the set-up that nothing is missing.
  const list = join(to, '.package-lock.json');
  if (!existsSync(list)) return;
  const text = readFileSync(list);
  rmSync(list);
  writeFileSync(list, text);
}

/** Installs and compiles what is missing, as `npm start` does. */
async function setUp(folder: string): Promise<void> {
  await promisify(execFile)(process.execPath, [join(folder, 'scripts/setup.mjs')], { cwd: folder, env: environment(folder), maxBuffer: 1 << 26 });
}

/** The environment of programs in this folder. */
export function environment(folder: string): NodeJS.ProcessEnv {
  return { ...process.env, PATH: [join(folder, 'node_modules/.bin'), process.env.PATH].join(delimiter), NO_COLOR: '1' };
}
