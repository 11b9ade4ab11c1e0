import { accessSync, constants, existsSync, statSync } from 'node:fs';
import { basename, delimiter, dirname, join, posix } from 'node:path';
import type { ImageFiles } from './image-files.ts';

/** A command of an image as it runs on this machine. */
export interface HostCommand {
  readonly command: readonly string[];
  readonly folder: string;
}

/** What a command lacks on this machine: the file that it runs, by its path in the image, or its program. */
export type Lack = { readonly file: string } | { readonly program: string };

/** Programs that only start another. Here the run itself ends children and passes signals on. */
const WRAPPERS = new Set(['tini', 'dumb-init', 'catatonit', 'docker-entrypoint.sh']);
const NODE_ENDINGS = ['', '.js', '.mjs', '.cjs', '/package.json', '/index.js'];
/** Interpreters, with their options that have a value of their own, and those after which no file follows. */
const INTERPRETERS: Readonly<Record<string, { readonly valued?: RegExp; readonly none?: RegExp; readonly endings?: readonly string[] }>> = {
  node: { valued: /^(-r|--require|--import|--loader|--experimental-loader|-C|--conditions|--env-file)$/, none: /^(-e|--eval|-p|--print|-pe|-i|-v|--version|--run|--test|-)(=|$)/, endings: NODE_ENDINGS },
  python: { valued: /^-[WX]$/, none: /^(-m|-c|-V|--version|-)$/ },
  ruby: { valued: /^-[rI]$/, none: /^(-e|-)$/ },
  java: { valued: /^(-cp|-classpath|--class-path|-p|--module-path)$/, none: /^[^-]|^-(m|-module|version)$/ },
  sh: { none: /^-\w*c$/ },
};
const ALSO: Readonly<Record<string, string>> = { nodejs: 'node', python3: 'python', bash: 'sh', ash: 'sh', dash: 'sh' };

/** The command and the folder on this machine, or what it lacks. The first word is the program, relative paths belong to the working directory. */
export function onThisMachine(words: readonly string[], workingDirectory: string, files: ImageFiles, contextFolder: string): HostCommand | Lack {
  const [program = '', ...args] = withoutWrappers(words, workingDirectory, files);
  const script = scriptIn(program, args);
  const found = script && find(script, workingDirectory, files);
  if (script && found === undefined) return { file: posix.resolve(workingDirectory, script.word) };
  const folder = (found && script ? folderOf(found, script.word, workingDirectory) : undefined) ?? files.find(workingDirectory, 'folder') ?? contextFolder;
  const executable = programOn(program, workingDirectory, files);
  if (typeof executable === 'object') return executable;
  const host = (word: string) => hostPath(word, workingDirectory, files, folder);
  return { folder, command: [executable, ...args.map((word, index) => (found !== undefined && index === script?.index && join(folder, word) !== found ? found : host(word)))] };
}

/** The path on this machine of an absolute path of the image. Other words stay as they are. */
export function hostPath(word: string, workingDirectory: string, files: ImageFiles, folder: string): string {
  if (!word.startsWith('/') || word === '/') return word;
  const below = workingDirectory !== '/' && (word === workingDirectory || word.startsWith(`${workingDirectory}/`));
  return files.find(posix.normalize(word)) ?? (below ? join(folder, word.slice(workingDirectory.length)) : word);
}

function withoutWrappers(words: readonly string[], workingDirectory: string, files: ImageFiles): readonly string[] {
  const [first = '', ...rest] = words;
  if (!WRAPPERS.has(basename(first)) || rest.length === 0 || files.find(posix.resolve(workingDirectory, first), 'file') !== undefined) return words;
  const next = rest.findIndex((word) => !word.startsWith('-'));
  return next === -1 ? words : withoutWrappers(rest.slice(next), workingDirectory, files);
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

function find({ word, endings }: Script, workingDirectory: string, files: ImageFiles): string | undefined {
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

function programOn(program: string, workingDirectory: string, files: ImageFiles): string | Lack {
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
  return [dirname(process.execPath), ...(process.env['PATH'] ?? '').split(delimiter)].some((folder) => {
    try {
      accessSync(join(folder, name), constants.X_OK);
      return statSync(join(folder, name)).isFile();
    } catch {
      return false;
    }
  });
}
