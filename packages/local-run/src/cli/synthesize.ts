import { spawn } from 'node:child_process';
import type { ChildProcessByStdio } from 'node:child_process';
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import type { Readable } from 'node:stream';
import { readJson } from '../assembly/assembly.ts';
import { LocalRunError } from '../errors.ts';
import { guardProcess } from '../processes/guard.ts';
import { signal as signalProcess } from '../processes/identity.ts';

const LAST_LINES = 40;
/** The time that an app has for its end after an abort. */
const GRACE_MS = 5_000;

/** The settings of an app, as far as a synthesis needs them. */
interface Settings {
  readonly app?: string;
  /** Runs before the app. */
  readonly build?: string;
  readonly context?: object;
}

/**
 * Runs a CDK app as the CDK command line does: the build and the app of its cdk.json, with the lookups in cdk.context.json, the context of
 * cdk.json and `more`, and the output folder in the environment.
 */
export async function synthesize(appDir: string, outDir: string, signal: AbortSignal, more: object = {}): Promise<void> {
  const file = join(appDir, 'cdk.json');
  const { app, build, context = {} } = readJson<Settings>(file, 'The settings of the CDK app');
  if (typeof app !== 'string') throw new LocalRunError(`${file} has no app: give the command that runs it, such as "app": "node app.js".`);
  const lookups = join(appDir, 'cdk.context.json');
  const known = existsSync(lookups) ? readJson<object>(lookups, 'The context of the CDK app') : {};
  const environment = { CDK_OUTDIR: outDir, CDK_CONTEXT_JSON: JSON.stringify({ ...known, ...context, ...more }) };
  // The files of earlier syntheses would lie beside the new assets forever.
  rmSync(outDir, { recursive: true, force: true });
  mkdirSync(outDir, { recursive: true });
  for (const command of build === undefined ? [app] : [build, app]) await runCommand(command, appDir, environment, signal);
}

async function runCommand(
  command: string, appDir: string, environment: Readonly<Record<string, string>>, signal: AbortSignal,
): Promise<void> {
  signal.throwIfAborted();
  const child = spawn(command, {
    cwd: appDir,
    shell: true,
    // In a process group of its own, so that its programs are stopped together, and a Ctrl-C reaches them through the signal above only.
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      ...process.env,
      PATH: [dirname(process.execPath), process.env.PATH].join(delimiter),
      ...environment,
    },
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text: string) => (output += text));
  const stopped = stopOnAbort(child, signal);
  const how = await new Promise<string | undefined>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, killed) => resolve(code === 0 ? undefined : killed ?? `exit code ${code}`));
  }).finally(stopped);
  signal.throwIfAborted();
  if (how === undefined) return;
  const lines = output.trimEnd().split('\n').slice(-LAST_LINES).join('\n');
  throw new LocalRunError(`The synthesis of ${appDir} failed (${command}, ${how}):\n${lines}`);
}

/**
 * An abort ends the whole process group of a child, and so does the end of this process. The returned function has to be called when the
 * child has ended.
 */
function stopOnAbort({ pid, stdout, stderr }: ChildProcessByStdio<null, Readable, Readable>, signal: AbortSignal): () => void {
  // It could not be started.
  if (pid === undefined) return () => undefined;
  const release = guardProcess(-pid, 'SIGTERM');
  let timer: NodeJS.Timeout | undefined;
  const stop = () => {
    signalProcess(-pid, 'SIGTERM');
    timer = setTimeout(() => {
      signalProcess(-pid, 'SIGKILL');
      // A program that has left the group may hold them open.
      for (const stream of [stdout, stderr]) stream.destroy();
    }, GRACE_MS);
  };
  signal.addEventListener('abort', stop, { once: true });
  return () => {
    signal.removeEventListener('abort', stop);
    clearTimeout(timer);
    // The shell may have ended before its programs.
    if (signal.aborted) signalProcess(-pid, 'SIGKILL');
    release();
  };
}
