import { readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join, normalize } from 'node:path';

/** A TypeScript file, with its path from the root. */
export interface Source {
  readonly path: string;
  readonly text: string;
  readonly lines: readonly string[];
  /** The files of the repository that it imports, as their paths, and packages, as their names. */
  readonly imports: readonly string[];
  readonly isTest: boolean;
}

/** Folders that commands write. The stacks of the reference app are in one that is called like the output of the packages. */
const GENERATED = new Set(['node_modules', 'lib', 'dist', 'cdk.out', 'coverage']);
const isOurs = (path: string) => path === 'reference-app/lib' || !(GENERATED.has(basename(path)) || basename(path).startsWith('.'));
const ROOTS = ['src', 'test', 'examples', 'starter', 'packages', 'reference-app'];

/** The files below a folder whose names match. */
export function filesBelow(folder: string, name: RegExp): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return isOurs(path) ? filesBelow(path, name) : [];
    return name.test(entry.name) ? [path] : [];
  });
}

/** The folders directly below a folder that hold a file, each with a `/` at the end. */
export function roomsOf(folder: string): string[] {
  const folders = readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isDirectory()).map(({ name }) => join(folder, name));
  return folders.filter((path) => isOurs(path) && filesBelow(path, /./).length > 0).map((path) => `${path}/`);
}

export function read(path: string): { path: string; text: string } {
  return { path, text: readFileSync(path, 'utf8') };
}

/** Imports and exports, dynamic imports, and modules that run in a process or thread of their own. */
const IMPORT = /^(?:import|export)\b[^;'"]*?\bfrom '([^']+)'|\bimport\('([^']+)'\)|^import '([^']+)'|\bsibling\([^,]+, '([^']+)'\)/gm;

function imported(from: string, specifier: string): string {
  const path = specifier.replace(/^cdk-local-run$/, 'packages/local-run/src/index').replace(/^cdk-local-run\//, 'packages/local-run/src/');
  if (path === specifier && !specifier.startsWith('.')) return specifier;
  const file = path === specifier ? normalize(join(dirname(from), path)) : path;
  return /\.[a-z]+$/.test(file) ? file : `${file}.ts`;
}

export function sources(): Source[] {
  return ROOTS.flatMap((root) => filesBelow(root, /\.ts$/)).map(read).map(({ path, text }) => ({
    path,
    text,
    lines: text.trimEnd().split('\n'),
    imports: [...text.matchAll(IMPORT)].map(([, from, dynamic, bare, thread]) => imported(path, from ?? dynamic ?? bare ?? `./${thread}`)),
    isTest: /(\.test|\/testing)\.ts$|(^|\/)(test|conformance|oracle)\//.test(path),
  }));
}

/** The names of the values that a file exports. Types are part of the signatures of values. */
export function exportsOf({ text }: Source): string[] {
  const declared = text.matchAll(/^export (?:declare )?(?:abstract )?(?:async )?(?:function\*?|class|const|let) ([A-Za-z_$][\w$]*)/gm);
  const destructured = text.matchAll(/^export const \{([^}]+)\}/gm);
  const names = [...destructured].flatMap(([, list]) => list!.split(',').map((name) => name.trim().split(/\s*:\s*/).at(-1)!));
  return [...[...declared].map(([, name]) => name!), ...names];
}

/** The first paragraphs of the doc comments of a file, with the numbers of their lines. */
export function docComments({ text }: Source): { line: number; first: string; whole: string }[] {
  return [...text.matchAll(/\/\*\*([^]*?)\*\//g)].map((match) => {
    const whole = match[1]!.split('\n').map((line) => line.replace(/^\s*\*?\s?/, '')).join('\n').trim();
    return { line: lineOf(text, match.index), first: whole.replace(/(^|\n)@[^]*$/, '').split('\n\n')[0]!.trim(), whole };
  });
}

/** The number of the line at a position. */
export function lineOf(text: string, position: number): number {
  return text.slice(0, position).split('\n').length;
}
