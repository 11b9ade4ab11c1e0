import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { delimiter, dirname } from 'node:path';
import { codeOf } from '../errors.ts';
import { guardProcess } from './guard.ts';
import { signal } from './identity.ts';
import type { Leftovers } from './leftovers.ts';

export interface Program {
  readonly command: readonly string[];
  readonly folder: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly logFile: string;
}

export interface Exit {
  /** In words, for a sentence: "with code 1". */
  readonly how: string;
  readonly code: number | null;
  /** The program could not even be started; trying again is of no use. */
  readonly notFound?: string;
}

/** The program is not there, or not one. */
const HOPELESS = new Set(['ENOENT', 'EACCES', 'ENOEXEC']);

/** One child process in a group of its own, with its output in a file. */
export class RunningProgram {
  readonly #child: ChildProcess;
  readonly exited: Promise<Exit>;
  ended = false;
  #stopped: Promise<void> | undefined;

  constructor(program: Program, leftovers: Leftovers) {
    const [name = '', ...args] = program.command;
    const output = openSync(program.logFile, 'a');
    // `node` is the Node.js that runs this, whatever the machine has.
    this.#child = spawn(name === 'node' ? process.execPath : name, args, {
      cwd: program.folder,
      env: { ...baseEnvironment(), ...program.environment },
      detached: true,
      stdio: ['ignore', output, output],
    });
    closeSync(output);
    const { pid } = this.#child;
    const release = pid === undefined ? () => undefined : guardProcess(-pid, 'SIGTERM');
    if (pid !== undefined) leftovers.add(pid);
    this.exited = new Promise((resolve) => {
      const end = (exit: Exit) => {
        this.ended = true;
        if (pid !== undefined) {
          // What the program has started and left behind goes with it, as in a container.
          signal(-pid, 'SIGKILL');
          leftovers.remove(pid);
        }
        release();
        resolve(exit);
      };
      this.#child.once('error', (error) => {
        const code = codeOf(error) ?? '';
        end({ how: `because ${name} could not be started (${code})`, code: null, ...(HOPELESS.has(code) && { notFound: name }) });
      });
      this.#child.once('exit', (code, name_) => end({ how: name_ === null ? `with code ${code}` : `by ${name_}`, code }));
    });
  }

  get pid(): number | undefined {
    return this.ended ? undefined : this.#child.pid;
  }

  /** Sends a signal to the program alone, as a crash or the kernel would. */
  kill(name: NodeJS.Signals): void {
    if (!this.ended) this.#child.kill(name);
  }

  /** Asks all of its processes to end, and ends them when the time is over. */
  stop(graceSeconds: number): Promise<void> {
    // Once, also if several ask for it: a second signal means at once.
    return this.#stopped ??= this.#stop(graceSeconds);
  }

  async #stop(graceSeconds: number): Promise<void> {
    const { pid } = this;
    if (pid === undefined) return void await this.exited;
    signal(-pid, 'SIGTERM');
    const timer = setTimeout(() => signal(-pid, 'SIGKILL'), graceSeconds * 1000);
    await this.exited;
    clearTimeout(timer);
  }
}

/** Little of the caller's environment, so that a program runs here as it does in its container. */
function baseEnvironment(): NodeJS.ProcessEnv {
  const kept = ['HOME', 'TMPDIR', 'LANG', 'SystemRoot', 'TEMP'].map((name) => [name, process.env[name]] as const).filter(([, value]) => value !== undefined);
  return { ...Object.fromEntries(kept), TZ: 'UTC', PATH: [dirname(process.execPath), process.env.PATH].filter(Boolean).join(delimiter) };
}

/** The line that names an error, in the words of Node.js, Python and Java. A stack of calls follows it. */
const NAMES_ERROR = /^\s*(?:[\w.]+\.)?\w*(?:Error|Exception)\b[^:]*: |Cannot find (?:module|package) /;
/** A stack of calls is no longer than this. */
const STACK_LINES = 30;

/** The end of a log that is read: it may have grown for days. */
const END_BYTES = 64 * 1024;

function readEnd(file: string): string {
  const open = openSync(file, 'r');
  try {
    const { size } = fstatSync(open);
    const bytes = Buffer.alloc(Math.min(size, END_BYTES));
    readSync(open, bytes, 0, bytes.length, size - bytes.length);
    return bytes.toString('utf8');
  } finally {
    closeSync(open);
  }
}

/** The last lines of a log. The one that names the error is the first of them if it stands before them. */
export function lastLines(file: string, count: number): string[] {
  try {
    const lines = readEnd(file).trimEnd().split('\n').filter((line) => line.trim() !== '');
    const last = lines.slice(-count);
    const error = lines.slice(-STACK_LINES).findLast((line) => NAMES_ERROR.test(line));
    return error === undefined || last.includes(error) ? last : [error, ...last.slice(1)];
  } catch {
    return [];
  }
}
