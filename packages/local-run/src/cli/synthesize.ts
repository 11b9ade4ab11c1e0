import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { delimiter, dirname } from 'node:path';
import { LocalRunError } from '../errors.ts';

const LAST_LINES = 40;

/**
 * Runs a CDK app as the CDK command line does: with the command of its cdk.json, the context of that file and `more`, and the output folder
 * in the environment.
 */
export async function synthesize(appDir: string, outDir: string, signal: AbortSignal, more: object = {}): Promise<void> {
  const { app, context = {} } = JSON.parse(readFileSync(`${appDir}/cdk.json`, 'utf8')) as { app: string; context?: object };
  // The files of earlier syntheses would lie beside the new assets forever.
  rmSync(outDir, { recursive: true, force: true });
  mkdirSync(outDir, { recursive: true });
  const child = spawn(app, {
    cwd: appDir,
    shell: true,
    signal,
    // In a process group of its own, so that a Ctrl-C reaches it through the signal above only.
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      ...process.env,
      PATH: [dirname(process.execPath), process.env.PATH].join(delimiter),
      CDK_OUTDIR: outDir,
      CDK_CONTEXT_JSON: JSON.stringify({ ...context, ...more }),
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
  throw new LocalRunError(`The synthesis of ${appDir} failed (${app}, ${how}):\n${lines}`);
}
