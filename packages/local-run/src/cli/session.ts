import { LocalRunError } from '../errors.ts';
import type { LocalRun } from '../local-run.ts';
import { steps } from './screen.ts';
import type { Screen, Steps } from './screen.ts';
import { signal as signalProcess } from '../processes/identity.ts';

/** The exit code of a command that was interrupted, as shells have it: 128 and the number of SIGINT. */
export const INTERRUPTED = 130;

export interface Session {
  /** Starts the run. `signal` is aborted by the first Ctrl-C. */
  start(progress: Steps, signal: AbortSignal): Promise<LocalRun>;
  /** Everything between the start and the stop. Returns the exit code. */
  operate(run: LocalRun, signal: AbortSignal): Promise<number>;
}

/** Starts a run, operates it, and stops it in order, whatever happens. A second Ctrl-C stops it at once. Returns the exit code. */
export async function runSession(out: Screen, { start, operate }: Session): Promise<number> {
  const progress = steps(out);
  const interrupt = new AbortController();
  let run: LocalRun | undefined;
  const onSignal = () => {
    out.status([]);
    if (interrupt.signal.aborted) {
      out.line('Forced: killing what is left.');
      for (const pid of run?.workloads.flatMap((workload) => workload.pids()) ?? []) signalProcess(pid, 'SIGKILL');
      // The guard of the children stops the others, the databases among them, as soon as this process is gone.
      process.exit(INTERRUPTED);
    }
    interrupt.abort();
    out.line();
    out.line('Stopping; once more forces it.');
  };
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  for (const name of signals) process.on(name, onSignal);
  let code: number;
  try {
    run = await start(progress, interrupt.signal);
    code = await operate(run, interrupt.signal);
  } catch (error) {
    progress.fail();
    if (!interrupt.signal.aborted) out.line(out.paint('red', describeError(error)));
    code = interrupt.signal.aborted ? INTERRUPTED : 1;
  }
  out.status([]);
  try {
    await run?.stop();
    progress.end();
  } catch (error) {
    progress.fail();
    out.line(out.paint('red', describeError(error)));
    code ||= 1;
  }
  for (const name of signals) process.off(name, onSignal);
  return code;
}

/** An error that the user can put right is one sentence. Any other is a mistake of the program and needs its stack. */
function describeError(error: unknown): string {
  if (error instanceof LocalRunError) return error.message;
  return error instanceof Error ? error.stack ?? error.message : String(error);
}

/** Waits for the end of an attended run. */
export async function untilInterrupted(out: Screen, dataDir: string, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  out.line();
  out.line(`Running. Ctrl-C stops it; the data stay in ${dataDir}.`);
  await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}
