import { statSync } from 'node:fs';
import { basename, dirname, join, posix } from 'node:path';
import type { ImageAsset } from '../assembly/assembly.ts';
import type { Copy, Instruction, Stage } from './dockerfile.ts';

/** A place in the build context that a path of the image may come from. */
interface Origin {
  /** Its path on this machine. */
  readonly path: string;
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
    return this.#origins(path).find((origin) => isThere(origin.path, kind))?.path;
  }

  /** Whether a line of the Dockerfile copies this absolute path, from the build context or from a stage. */
  expects(path: string): boolean {
    return this.#origins(path).length > 0;
  }

  /** The path in the build context of a file that is not there, and the lines of the Dockerfile that should bring it. */
  missing(path: string): { readonly file: string; readonly reason: string } {
    const { directory, dockerFile } = this.#asset;
    const at = (instruction: Instruction) => this.#at(instruction);
    const [origin] = this.#origins(path);
    if (!origin) {
      const base = baseOf(this.#stage);
      const other = this.#stage.copies.find((copy) => copy.from === 'other image');
      return {
        file: path,
        reason: other ? `${at(other.instruction)} takes files from another image` : `no line of ${dockerFile} copies it, so it is part of the image ${base} or made by a command`,
      };
    }
    const { runs } = origin.stage;
    const run = runs.findLast(({ rest }) => BUILDS.test(rest)) ?? runs.at(-1);
    const copy = origin.copies.find(({ from }) => from !== undefined) ?? origin.copies[0];
    const made = run && `${at(run)} makes it, and the local run does not build images`;
    return {
      file: origin.path.slice(directory.length + 1),
      reason: [copy && `${at(copy.instruction)} copies it`, made].filter(Boolean).join(', '),
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
    const origins = stage.copies.toReversed().flatMap((copy) => {
      const { from, sources, destination } = copy;
      const inner = within(destination, path);
      if (inner === undefined || from === 'other image') return [];
      return sources.flatMap((source) => {
        const trail = [...copies, copy];
        if (from) return innerPaths(source, inner).flatMap((sourcePath) => this.#originsIn(from, posix.resolve('/', sourcePath), trail));
        return innerPaths(source, inner)
          .map((sourcePath) => ({ path: join(this.#asset.directory, sourcePath), copies: trail, stage }))
          // The name of a folder is not part of what is copied.
          .filter(({ path: found }) => inner === '' || found !== join(this.#asset.directory, source) || !isThere(found, 'folder'));
      });
    });
    return [...origins, ...(stage.parent ? this.#originsIn(stage.parent, path, copies) : [])];
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
