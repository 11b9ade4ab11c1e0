// The programs that a check starts: none of them is left when it ends, however it ends.
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, openSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { eventually } from './api.mjs';

const READY_SECONDS = 120;
const LINES = 15;

const running = new Set();

/** Ends all programs at once. */
export function killPrograms(signal = 'SIGKILL') {
  for (const { child } of running) { child.kill(signal); }
}

process.on('exit', () => killPrograms());

/** Programs that end with this process, however it ends. */
export class Programs {
  #closing = [];

  constructor(folder) {
    this.folder = folder;
    mkdirSync(folder, { recursive: true });
  }

  /** Starts a program; its output goes to a file. */
  start(name, command, args, env = process.env) {
    const log = join(this.folder, `${name}.log`);
    const output = openSync(log, 'a');
    const child = spawn(command, args, { env, stdio: ['ignore', output, output] });
    const program = { name, child, log };
    running.add(program);
    child.on('error', (error) => { program.error = error; });
    child.on('exit', (code, signal) => {
      program.ended = code ?? signal;
      running.delete(program);
    });
    return program;
  }

  /** Waits until `look` finds something; an error with the end of its log if the program ends before. */
  async ready(program, look) {
    const found = await eventually(async () => {
      if (program.ended !== undefined || program.error) { throw new Error(`${program.name} ended with ${program.error?.message ?? program.ended}:\n${lastLines(program.log)}`); }
      return look().catch(() => undefined);
    }, { seconds: READY_SECONDS });
    if (found === undefined) { throw new Error(`${program.name} was not ready after ${READY_SECONDS} s:\n${lastLines(program.log)}`); }
    return found;
  }

  /** Ends one program. */
  async end({ child, ended }) {
    if (ended !== undefined) { return; }
    const exit = new Promise((resolve) => { child.once('exit', resolve); });
    child.kill('SIGTERM');
    await exit;
  }

  /** Calls `close` before the programs are stopped. */
  atEnd(close) {
    this.#closing.push(close);
  }

  async stop() {
    for (const close of this.#closing) { await close(); }
    const ended = [...running].map(({ child }) => new Promise((resolve) => { child.once('exit', resolve); }));
    killPrograms('SIGTERM');
    const timer = setTimeout(() => killPrograms(), 3000);
    await Promise.all(ended);
    clearTimeout(timer);
  }
}

function lastLines(file) {
  return readFileSync(file, 'utf8').trimEnd().split('\n').slice(-LINES).join('\n');
}

/** Ports below those that the system gives to outgoing connections, so that none is taken between this look and its use. */
export async function freePorts(count) {
  const ports = new Set();
  while (ports.size < count) {
    const port = 20_000 + randomBytes(2).readUInt16BE() % 12_000;
    if (await isFree(port)) { ports.add(port); }
  }
  return [...ports];
}

function isFree(port) {
  return new Promise((resolve) => {
    const server = createServer().once('error', () => resolve(false)).listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}
