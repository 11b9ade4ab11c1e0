import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { readJson } from '../assembly/assembly.ts';
import { LocalRunError } from '../errors.ts';

const LAST_LINES = 40;

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
  const child = spawn(command, {
    cwd: appDir,
    shell: true,
    signal,
    // In a process group of its own, so that a Ctrl-C reaches it through the signal above only.
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
  const how = await new Promise<string | undefined>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, killed) => resolve(code === 0 ? undefined : killed ?? `exit code ${code}`));
  });
  if (how === undefined) return;
  const lines = output.trimEnd().split('\n').slice(-LAST_LINES).join('\n');
  throw new LocalRunError(`The synthesis of ${appDir} failed (${command}, ${how}):\n${lines}`);
}
