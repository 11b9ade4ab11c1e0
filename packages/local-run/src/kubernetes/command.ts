import { accessSync, constants, existsSync, statSync } from 'node:fs';
import { basename, delimiter, dirname, join, posix } from 'node:path';
import type { ImageFiles } from './image-files.ts';

/** A command of an image as it runs on this machine. */
export interface HostCommand {
  readonly command: readonly string[];
  readonly folder: string;
}

/** The part of a command that is missing on this machine: the file that it runs, by its path in the image, or its program. */
export type Lack = { readonly file: string } | { readonly program: string };

/** Programs that only start another. Here the run itself ends children and passes signals on. */
const WRAPPERS = new Set(['tini', 'dumb-init', 'catatonit', 'docker-entrypoint.sh']);

interface Interpreter {
  /** The options that have a value of their own. */
  readonly valued?: RegExp;
  /** The options after which no file follows. */
  readonly none: RegExp;
  /** The endings that a file may have without being named. */
  readonly endings?: readonly string[];
}

const INTERPRETERS: Readonly<Record<string, Interpreter>> = {
  node: {
    valued: /^(-r|--require|--import|--loader|--experimental-loader|-C|--conditions|--env-file)$/,
    none: /^(-e|--eval|-p|--print|-pe|-i|-v|--version|--run|--test|-)(=|$)/,
    endings: ['', '.js', '.mjs', '.cjs', '/package.json', '/index.js'],
  },
  python: { valued: /^-[WX]$/, none: /^(-m|-c|-V|--version|-)$/ },
  ruby: { valued: /^-[rI]$/, none: /^(-e|-)$/ },
  java: { valued: /^(-cp|-classpath|--class-path|-p|--module-path)$/, none: /^[^-]|^-(m|-module|version)$/ },
  sh: { none: /^-\w*c$/ },
};
/** Other names of the same programs. */
const ALSO: Readonly<Record<string, string>> = { nodejs: 'node', python3: 'python', bash: 'sh', ash: 'sh', dash: 'sh' };

/** The place where a command runs in its image, and the files of the image. */
export interface Surroundings {
  readonly workingDirectory: string;
  readonly files: ImageFiles;
  /** The folder for a working directory that nothing is copied to. */
  readonly otherwise: string;
}

/** The command and its folder on this machine, or what it lacks there. */
export function onThisMachine(words: readonly string[], surroundings: Surroundings): HostCommand | Lack {
  const { workingDirectory, files, otherwise } = surroundings;
  const [program = '', ...args] = withoutWrappers(words, surroundings);
  const script = scriptIn(program, args);
  const found = script && find(script, surroundings);
  if (script && found === undefined) return { file: posix.resolve(workingDirectory, script.word) };
  const beside = script && found !== undefined ? folderOf(found, script.word, workingDirectory) : undefined;
  const folder = beside ?? files.find(workingDirectory, 'folder') ?? otherwise;
  const executable = executableOf(program, surroundings);
  if (typeof executable === 'object') return executable;
  const host = (word: string, index: number) => {
    const isElsewhere = found !== undefined && index === script?.index && join(folder, word) !== found;
    return isElsewhere ? found : hostPath(word, { ...surroundings, otherwise: folder });
  };
  return { folder, command: [executable, ...args.map(host)] };
}

/** The path on this machine of an absolute path of the image. Other words stay as they are. */
export function hostPath(word: string, { workingDirectory, files, otherwise }: Surroundings): string {
  if (!word.startsWith('/') || word === '/') return word;
  const below = workingDirectory !== '/' && (word === workingDirectory || word.startsWith(`${workingDirectory}/`));
  return files.find(posix.normalize(word)) ?? (below ? join(otherwise, word.slice(workingDirectory.length)) : word);
}

function withoutWrappers(words: readonly string[], surroundings: Surroundings): readonly string[] {
  const [first = '', ...rest] = words;
  const { workingDirectory, files } = surroundings;
  if (!WRAPPERS.has(basename(first)) || files.find(posix.resolve(workingDirectory, first), 'file') !== undefined) return words;
  const next = rest.findIndex((word) => !word.startsWith('-'));
  return next === -1 ? words : withoutWrappers(rest.slice(next), surroundings);
}

interface Script { readonly word: string; readonly index: number; readonly endings: readonly string[] }

/** The file that an interpreter runs; undefined if it runs none, or if the program is no interpreter that is known here. */
function scriptIn(program: string, args: readonly string[]): Script | undefined {
  const name = basename(program);
  const interpreter = INTERPRETERS[ALSO[name] ?? name];
  if (!interpreter) return undefined;
  for (let index = 0; index < args.length; index++) {
    const word = args[index] ?? '';
    if (word === '-jar' && args[index + 1] !== undefined) return { word: args[index + 1] ?? '', index: index + 1, endings: [''] };
    if (interpreter.none?.test(word)) return undefined;
    if (interpreter.valued?.test(word)) index += 1;
    else if (!word.startsWith('-')) return { word, index, endings: interpreter.endings ?? [''] };
  }
  return undefined;
}

function find({ word, endings }: Script, { workingDirectory, files }: Surroundings): string | undefined {
  const path = posix.resolve(workingDirectory, word);
  for (const ending of endings) {
    const found = files.find(path + ending, 'file');
    if (found !== undefined) return found.slice(0, found.length - ending.length);
  }
  // A file that is on every machine, such as a script of the system.
  return word.startsWith('/') && existsSync(word) ? word : undefined;
}

/** The folder that has a file at the same place as the working directory has it, so that what stands beside it is found, too. */
function folderOf(found: string, word: string, workingDirectory: string): string | undefined {
  const inner = posix.relative(workingDirectory, posix.resolve(workingDirectory, word));
  if (inner === '') return found;
  return found.endsWith(`/${inner}`) ? found.slice(0, -inner.length - 1) : undefined;
}

function executableOf(program: string, { workingDirectory, files }: Surroundings): string | Lack {
  if (!program.includes('/')) {
    const name = [program, ...Object.keys(ALSO).filter((other) => ALSO[other] === program)].find(isOnPath);
    return name ?? { program };
  }
  const path = posix.resolve(workingDirectory, program);
  const found = files.find(path, 'file') ?? (program.startsWith('/') && existsSync(program) ? program : undefined);
  if (found !== undefined) return found;
  const name = basename(program);
  if (isOnPath(name)) return name;
  return files.expects(path) ? { file: path } : { program };
}

function isOnPath(name: string): boolean {
  if (name === 'node') return true;
  return [dirname(process.execPath), ...(process.env.PATH ?? '').split(delimiter)].some((folder) => {
    try {
      accessSync(join(folder, name), constants.X_OK);
      return statSync(join(folder, name)).isFile();
    } catch {
      return false;
    }
  });
}
