import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, openSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { LocalRunError, messageOf } from '../errors.ts';
import type { Account } from './account.ts';
import { guardProcess } from '../processes/guard.ts';
import { isAlive, processStart, signal } from '../processes/identity.ts';
import { freePort, LOOPBACK } from '../processes/ports.ts';

const START_DEADLINE_MS = 60_000;
const STOP_DEADLINE_MS = 30_000;
const POLL_MS = 25;

export interface ServerOptions {
  /** The name of the port in errors: that of its option. */
  readonly name: string;
  readonly binary: string;
  readonly account: Account | undefined;
  readonly data: string;
  readonly port: number;
  readonly logFile: string;
  readonly settings: () => Record<string, string>;
  readonly login: { readonly user: string; readonly password: string };
}

export interface Server {
  readonly port: number;
  pid(): number | undefined;
  /** Ends it at once, with all its processes, as if its machine had lost its power. It is not started again. */
  crash(): Promise<void>;
  stop(): Promise<void>;
}

/** The environment of PostgreSQL's own programs: nothing of ours (PGDATA and the like) may reach them. */
export function bareEnvironment(): NodeJS.ProcessEnv {
  return { PATH: process.env.PATH ?? '', LC_ALL: 'C', TZ: 'UTC', ...(process.env.SystemRoot && { SystemRoot: process.env.SystemRoot }) };
}

/** Starts a PostgreSQL server on its data folder, waits until it answers, and starts it again if it dies unasked. */
export async function startServer(options: ServerOptions): Promise<Server> {
  let child: ChildProcess | undefined;
  let release: () => void = () => undefined;
  let stopping = false;
  let restart: Promise<unknown> | undefined;

  async function start(port: number): Promise<void> {
    await stopLeftover(options.data);
    const output = openSync(options.logFile, 'a');
    const started = spawn(options.binary, [
      '-D', options.data, '-p', String(port),
      ...Object.entries({ listen_addresses: LOOPBACK, unix_socket_directories: '', ...options.settings() }).flatMap(([key, value]) => ['-c', `${key}=${value}`]),
    ], {
      ...options.account,
      cwd: '/',
      // A session of its own: Ctrl-C in the terminal is for the run, which stops the database last.
      detached: true,
      stdio: ['ignore', output, output],
      env: bareEnvironment(),
    });
    closeSync(output);
    child = started;
    const exited = new Promise<string>((resolve) => {
      started.once('error', (error) => resolve(error.message));
      started.once('exit', (code, name) => resolve(`it ended with ${name ?? `code ${code}`}`));
    });
    if (started.pid === undefined) throw new Error(`PostgreSQL did not start: ${await exited}`);
    const end = guardProcess(started.pid, 'SIGINT');
    release = end;
    let reason: string | undefined;
    void exited.then((text) => {
      end();
      reason = text;
    });
    const deadline = Date.now() + START_DEADLINE_MS;
    while (!await answers(port, options.login)) {
      if (reason !== undefined) throw new Error(`PostgreSQL (${options.name}) did not start, ${reason}: ${lastLines(options.logFile)}`);
      if (Date.now() > deadline) {
        signal(started.pid, 'SIGQUIT');
        throw new Error(`PostgreSQL (${options.name}) does not answer after ${START_DEADLINE_MS / 1000} s: ${lastLines(options.logFile)}`);
      }
      await delay(POLL_MS);
    }
    void exited.then(() => {
      if (!stopping && child === started) restart = startAgain(port);
    });
  }

  async function startAgain(port: number): Promise<void> {
    for (let wait = 100; !stopping; wait = Math.min(wait * 2, 5_000)) {
      try {
        return await start(port);
      } catch {
        // The children of a killed server need a moment to notice, and hold its shared memory until then.
        await delay(wait);
      }
    }
  }

  let port = options.port;
  for (let attempt = 1; ; attempt++) {
    port = await freePort(options.name, options.port);
    try {
      await start(port);
      break;
    } catch (error) {
      const lostRace = /could not bind|Address already in use/.test(messageOf(error));
      if (!lostRace || attempt >= 5) throw error;
    }
  }

  return {
    port,
    pid: () => (child && isRunning(child) ? child.pid : undefined),
    async crash() {
      stopping = true;
      await restart;
      if (child?.pid === undefined || !isRunning(child)) return;
      const ended = once(child, 'exit');
      const processes = [child.pid, ...childrenOf(child.pid)];
      for (const pid of processes) signal(pid, 'SIGKILL');
      await ended;
      while (processes.some((pid) => processStart(pid) !== undefined)) await delay(POLL_MS);
      release();
    },
    async stop() {
      stopping = true;
      await restart;
      const running = child;
      if (running?.pid === undefined || !isRunning(running)) return;
      const exited = once(running, 'exit');
      // SIGINT is PostgreSQL's fast shutdown: sessions end, a checkpoint is written, nothing has to be recovered.
      for (const name of ['SIGINT', 'SIGQUIT', 'SIGKILL'] as const) {
        running.kill(name);
        const timer = new AbortController();
        const late = delay(STOP_DEADLINE_MS, false, { signal: timer.signal }).catch(() => false);
        const done = await Promise.race([exited.then(() => true), late]);
        timer.abort();
        if (done) break;
      }
      release();
    },
  };
}

function isRunning({ exitCode, signalCode }: ChildProcess): boolean {
  return exitCode === null && signalCode === null;
}

/** The processes that a server has for its connections and its work. On other systems than Linux they end by themselves when it is gone. */
function childrenOf(pid: number): number[] {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').map(Number).filter((child) => child > 0);
  } catch {
    return [];
  }
}

/** A standby never says that it is ready to accept connections (only "read-only" ones), so a client asks. */
async function answers(port: number, login: ServerOptions['login']): Promise<boolean> {
  const client = new pg.Client({ host: LOOPBACK, port, database: 'postgres', connectionTimeoutMillis: 5_000, ...login });
  client.on('error', () => undefined);
  try {
    await client.connect();
    await client.query('select 1');
    return true;
  } catch {
    return false;
  } finally {
    await client.end().catch(() => undefined);
  }
}

/**
 * Stops a server that a killed run has left on this data folder. A `postmaster.pid` whose process is gone needs nothing:
 * PostgreSQL handles it, unless another process has got that id, which it would take for a server.
 */
async function stopLeftover(data: string): Promise<void> {
  const file = join(data, 'postmaster.pid');
  if (!existsSync(file)) return;
  const [first = '', folder, startTime] = readFileSync(file, 'utf8').split('\n');
  const pid = Number(first);
  if (!isServer(pid, data, folder, Number(startTime))) {
    rmSync(file, { force: true });
    return;
  }
  for (const name of ['SIGINT', 'SIGQUIT', 'SIGKILL'] as const) {
    signal(pid, name);
    const deadline = Date.now() + 10_000;
    while (isAlive(pid) && processStart(pid) !== undefined) {
      if (Date.now() > deadline) break;
      await delay(POLL_MS);
    }
    if (processStart(pid) === undefined) return;
  }
  throw new LocalRunError(`An earlier PostgreSQL (process ${pid}) still uses ${data} and does not stop: end it and start again.`);
}

function isServer(pid: number, data: string, folder: string | undefined, startTime: number): boolean {
  if (folder !== data || processStart(pid) === undefined) return false;
  if (process.platform !== 'linux') return true;
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(data) && startTime > 0;
  } catch {
    return false;
  }
}

export function lastLines(file: string, count = 5): string {
  try {
    return readFileSync(file, 'utf8').trimEnd().split('\n').slice(-count).join(' | ');
  } catch {
    return '(no log)';
  }
}
