import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { sibling } from '../sibling.ts';

/** A guard that has nothing to guard ends at once. On a busy machine its start alone may take a moment. */
const LONGEST_FAREWELL_MS = 10_000;
/** The pause before the start of another guard, if one has ended sooner than this: it may not be able to start at all. */
const PAUSE_MS = 1_000;

/**
 * The children of a run must not outlive it, even if it is killed with SIGKILL and cannot stop them itself. One small process of its
 * own session (`guard-process.ts`) knows every child; when its pipe closes without a farewell, it stops them.
 */
let guard: ChildProcess | undefined;
const endings = new Set<Promise<void>>();
const guarded = new Map<number, NodeJS.Signals>();

function tell(line: string): void {
  const stdin = guard?.stdin;
  if (stdin?.writable) stdin.write(line);
}

function start(): void {
  const began = performance.now();
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', sibling(import.meta.url, 'guard-process')], {
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
    // Neither inherited options (a debugger's, a test runner's) nor the caller's folder concern it.
    env: { PATH: process.env.PATH ?? '' },
    cwd: '/',
  });
  child.on('error', () => undefined);
  child.stdin?.on('error', () => undefined);
  child.once('exit', () => {
    // It was killed: the children that are left need another.
    if (guard !== child) return;
    guard = undefined;
    if (performance.now() - began >= PAUSE_MS) restart();
    else setTimeout(restart, PAUSE_MS).unref();
  });
  child.unref();
  (child.stdin as unknown as { unref?(): void } | null)?.unref?.();
  guard = child;
  for (const [pid, name] of guarded) tell(`+ ${pid} ${name}\n`);
}

function restart(): void {
  if (!guard && guarded.size > 0) start();
}

/**
 * From now on `pid` is stopped if this process dies. A negative id means the process group.
 * The returned function ends that; call it when the child has exited, since its id may be used again.
 */
export function guardProcess(pid: number, name: NodeJS.Signals): () => void {
  guarded.set(pid, name);
  if (!guard) start();
  else tell(`+ ${pid} ${name}\n`);
  return () => {
    if (!guarded.delete(pid)) return;
    tell(`- ${pid}\n`);
    if (guarded.size === 0) {
      // Nothing to guard: it ends with the last child.
      if (guard) end(guard);
      guard = undefined;
    }
  };
}

/** The id of the process that guards the children, while there are any. */
export function guardPid(): number | undefined {
  return guard?.pid;
}

/** Resolves when no guard is left that has nothing to guard, so that a stopped run leaves no process at all. */
export async function guardEnded(): Promise<void> {
  await Promise.all(endings);
}

function end(child: ChildProcess): void {
  // One that could not even be started has no end.
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const ending = new Promise<void>((resolve) => {
    const timer = setTimeout(() => child.kill('SIGKILL'), LONGEST_FAREWELL_MS);
    child.once('exit', () => {
      clearTimeout(timer);
      resolve();
    });
  }).finally(() => endings.delete(ending));
  endings.add(ending);
  child.ref();
  child.stdin?.end();
}
