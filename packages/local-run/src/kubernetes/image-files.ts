import { statSync } from 'node:fs';
import { basename, dirname, join, posix } from 'node:path';
import type { Copy, Instruction, Stage } from './dockerfile.ts';
import type { ImageAsset } from '../assembly/assembly.ts';

/** A place that a path of the image may come from. */
interface Origin {
  /** Its path on this machine. @default - a command makes it in a folder that nothing is copied to */
  readonly path?: string;
  /** The lines that copy it, from the last stage back to the build context. */
  readonly copies: readonly Copy[];
  /** The stage that the last of these lines is in. */
  readonly stage: Stage;
}

const BUILDS = /build|compile|tsc|webpack|vite|esbuild|rollup|make|mvn|gradle|\bgo\b|cargo/;
const INSTALLS = /install|\bci\b|\byarn\b|\bpip3?\b|\bbundle\b|sync/;
const SYSTEM_PACKAGES = /\bapt(-get)?\b|\bapk\b|\byum\b|\bdnf\b/;

/** The files of an image on this machine: those of its build context, as its Dockerfile copies them. Nothing is built. */
export class ImageFiles {
  readonly #stage: Stage;
  readonly #asset: ImageAsset;

  constructor(stage: Stage, asset: ImageAsset) {
    this.#stage = stage;
    this.#asset = asset;
  }

  /** The file or folder on this machine that has this absolute path in the image; undefined if there is none. */
  find(path: string, kind: 'file' | 'folder' | 'any' = 'any'): string | undefined {
    return this.#origins(path).map((origin) => origin.path).find((candidate) => candidate !== undefined && isThere(candidate, kind));
  }

  /** Whether a line of the Dockerfile copies this absolute path, from the build context or from a stage. */
  expects(path: string): boolean {
    return this.#origins(path).length > 0;
  }

  /** The path in the build context of a file that is not there, the lines of the Dockerfile that should bring it, and the remedy. */
  missing(path: string): { readonly file: string; readonly reason: string; readonly isBelow: boolean } {
    const { directory, dockerFile } = this.#asset;
    const [origin] = this.#origins(path);
    if (!origin) {
      const other = this.#stage.copies.find((copy) => copy.from === 'other image');
      const made = `no line of ${dockerFile} copies it, so it is part of the image ${baseOf(this.#stage)} or made by a command`;
      return { file: path, isBelow: false, reason: other ? `${this.#at(other.instruction)} takes files from another image` : made };
    }
    const { runs } = origin.stage;
    const run = runs.findLast(({ rest }) => BUILDS.test(rest)) ?? runs.at(-1);
    const copy = origin.copies.find(({ from }) => from !== undefined) ?? origin.copies[0];
    const made = run && `${this.#at(run)} makes it, and the local run does not build images`;
    return {
      file: origin.path?.slice(directory.length + 1) ?? path,
      isBelow: origin.path !== undefined,
      reason: [copy && `${this.#at(copy.instruction)} copies it`, made].filter(Boolean).join(', '),
    };
  }

  /** The command of the Dockerfile that makes files, such as those of packages, with its line; undefined if it has none. */
  installs(): string | undefined {
    const runs = allRuns(this.#stage);
    const run = runs.find(({ rest }) => INSTALLS.test(rest) && !SYSTEM_PACKAGES.test(rest)) ?? runs.at(-1);
    return run && this.#at(run);
  }

  #at({ line, name, rest }: Instruction): string {
    return `${this.#asset.dockerFile}:${line} \`${name} ${rest}\``;
  }

  /** The places in the order in which Docker would find them: the last line that copies wins. */
  #origins(path: string): Origin[] {
    if (!copiesFiles(this.#stage)) {
      // An image that copies nothing has its folder as its content, as far as anybody knows.
      const inner = within(this.#stage.workingDirectory, path);
      return inner === undefined ? [] : [{ path: join(this.#asset.directory, inner), copies: [], stage: this.#stage }];
    }
    return this.#originsIn(this.#stage, path, []);
  }

  #originsIn(stage: Stage, path: string, copies: readonly Copy[]): Origin[] {
    const copied = stage.copies.toReversed().flatMap((copy) => {
      const inner = within(copy.destination, path);
      return inner === undefined ? [] : copy.sources.flatMap((source) => this.#originsOf(copy, source, inner, [...copies, copy], stage));
    });
    const all = [...copied, ...(stage.parent ? this.#originsIn(stage.parent, path, copies) : [])];
    if (stage.workingDirectory === '/' || !copiesFiles(stage)) return all;
    // A command makes files beside those that are copied to its working directory, and a build on this machine does the same.
    const beside = within(stage.workingDirectory, path);
    return beside === undefined ? all : [...all, { path: join(this.#asset.directory, beside), copies, stage }];
  }

  #originsOf({ from }: Copy, source: string, inner: string, copies: readonly Copy[], stage: Stage): Origin[] {
    if (from === 'other image') return [];
    if (from) {
      const origins = innerPaths(source, inner).flatMap((path) => this.#originsIn(from, posix.resolve('/', path), copies));
      return origins.length > 0 ? origins : [{ copies, stage: from }];
    }
    const place = join(this.#asset.directory, source);
    const isNamed = inner === '' || inner === basename(source);
    // A file is copied as itself. The name of a folder is not part of what is copied.
    if (isThere(place, 'file')) return isNamed ? [{ path: place, copies, stage }] : [];
    const paths = isThere(place, 'folder') ? [join(source, inner)] : innerPaths(source, inner);
    return paths.map((path) => ({ path: join(this.#asset.directory, path), copies, stage }));
  }
}

/** The image that all stages of a stage build on. */
export function baseOf(stage: Stage): string {
  return stage.parent ? baseOf(stage.parent) : stage.base ?? 'scratch';
}

/** The commands of a stage, of those that it builds on, and of those that it copies from. */
function allRuns({ runs, parent, copies }: Stage): Instruction[] {
  const before = [parent, ...copies.map(({ from }) => (typeof from === 'object' ? from : undefined))].filter((stage) => stage !== undefined);
  return [...new Set([...before.flatMap(allRuns), ...runs])];
}

function copiesFiles({ copies, parent }: Stage): boolean {
  return copies.length > 0 || parent !== undefined && copiesFiles(parent);
}

/** The path below a folder; undefined if it is not there. */
function within(folder: string, path: string): string | undefined {
  if (path === folder) return '';
  const prefix = folder === '/' ? '/' : `${folder}/`;
  return path.startsWith(prefix) ? path.slice(prefix.length) : undefined;
}

/** The paths that a source of `COPY` may have for a path below the destination: a file is copied as itself, a folder with its content. */
function innerPaths(source: string, inner: string): string[] {
  if (/[*?[]/.test(source)) return [join(dirname(source), inner)].filter((path) => inner !== '' && matches(path, source));
  return inner === '' || inner === basename(source) ? [source, join(source, inner)] : [join(source, inner)];
}

function matches(path: string, pattern: string): boolean {
  const expression = posix.normalize(pattern).replace(/[.+^${}()|\\]/g, '\\$&').replace(/\*/g, '[^/]*').replace(/\?/g, '[^/]');
  return new RegExp(`^${expression}$`).test(path);
}

function isThere(path: string, kind: 'file' | 'folder' | 'any'): boolean {
  const found = statSync(path, { throwIfNoEntry: false });
  return found !== undefined && (kind === 'any' || kind === 'file' === found.isFile());
}
