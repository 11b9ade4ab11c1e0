import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { count } from '../count.ts';
import { LocalRunError } from '../errors.ts';
import type { LocalRun } from '../local-run.ts';
import { startLocal } from '../run.ts';
import { integer, namedEndpoint, namedParameter, namedPort, namedPorts, readArguments, UsageError } from './arguments.ts';
import { printAddresses, printTokenHelp, printWarnings, quote, showStep } from './report.ts';
import { screen } from './screen.ts';
import type { Screen, Steps } from './screen.ts';
import { INTERRUPTED, runSession, untilInterrupted } from './session.ts';
import { synthesize } from './synthesize.ts';

const HELP_COMMAND = 'cdk-local-run --help';

export const HELP = `Runs the stacks of a CDK app on this machine, without an AWS account and without Docker: queues, event buses and secrets as
local endpoints, databases as a real PostgreSQL, functions and containers as processes.

Usage: cdk-local-run [FOLDER] [options]

FOLDER is the output of \`cdk synth\`, or a CDK app (a folder with a cdk.json), which is synthesized first.
                                                                       [cdk.out if it is there, else this folder]
What runs
  --stack NAME         only this stack, with those it depends on; may be repeated  [all stacks]
  --parameter [STACK:]NAME=VALUE
                       the value of a parameter of the templates; may be repeated  [its default value]
  --without NAME       leave this workload or job out; issuer is for programs that take tokens of the issuer in their template;
                       may be repeated
  --replicas N         the most processes of each workload                         [as the template says]
  --endpoint NAME=URL  the address of a service that runs elsewhere, such as dynamodb=http://127.0.0.1:8000;
                       may be repeated                                             [calls to other services are refused]
  --open               programs that ask for tokens take every request             [they take those of the local issuer]
Data
  --data DIR           folder of databases, queues, archives and logs              [.cdk-local-run]
  --fresh              delete the data of earlier runs in that folder first; without it their data is kept

Addresses (all on 127.0.0.1)
  --port NAME=PORT     port of sqs, eventbridge, secretsmanager, sns, issuer, writer, reader, or of a Kubernetes Service; may be repeated
                                                                                   [chosen by the system]
Output
  --exit               stop as soon as every message is handled; the exit code says whether all went well
  --log                show the log of the run, too
  --help, --version
  Colours are used on a terminal only, and not if NO_COLOR is set.

Without --exit the stacks stay up until Ctrl-C, which stops them in order; a second Ctrl-C forces it.
The file \`environment\` in the data folder has the variables with which the AWS CLI and SDKs call this run:
  set -a; . .cdk-local-run/environment; set +a; aws events put-events --entries ...

Exit codes: 0 all well; 1 a workload cannot run, messages are dead letters, or the run broke; 2 wrong usage; 130 interrupted.

Examples
  npx cdk synth --quiet && npx cdk-local-run
  npx cdk-local-run ../shop --stack Shop --port writer=5432
  npx cdk-local-run cdk.out --fresh --exit
`;

export interface CommandOptions {
  readonly folder: string;
  readonly dataDir: string;
  readonly stacks?: readonly string[];
  readonly parameters: Readonly<Record<string, string>>;
  readonly without: readonly string[];
  readonly replicas?: number;
  readonly endpoints: Readonly<Record<string, string>>;
  readonly ports: Readonly<Record<string, number>>;
  readonly fresh: boolean;
  readonly open: boolean;
  readonly exit: boolean;
  readonly log: boolean;
}

export type Command = { readonly kind: 'run'; readonly options: CommandOptions } | { readonly kind: 'help' | 'version' };

export function parseCommand(args: readonly string[], cwd = process.cwd()): Command {
  const { values, positionals } = readArguments({
    args: [...args],
    allowPositionals: true,
    options: {
      stack: { type: 'string', multiple: true },
      parameter: { type: 'string', multiple: true },
      without: { type: 'string', multiple: true },
      replicas: { type: 'string' },
      endpoint: { type: 'string', multiple: true },
      data: { type: 'string' },
      fresh: { type: 'boolean' },
      open: { type: 'boolean' },
      port: { type: 'string', multiple: true },
      exit: { type: 'boolean' },
      log: { type: 'boolean' },
      help: { type: 'boolean', short: 'h' },
      version: { type: 'boolean', short: 'v' },
    },
  }, HELP_COMMAND);
  if (values.help) return { kind: 'help' };
  if (values.version) return { kind: 'version' };
  const [folder, second] = positionals;
  if (second !== undefined) throw new UsageError(`Unexpected argument '${second}': there is one folder, see ${HELP_COMMAND}.`);
  const asked = (values.port ?? []).map((text): [string, string, number] => ['port', ...namedPort(text)]);
  return {
    kind: 'run',
    options: {
      folder: resolve(cwd, folder ?? (existsSync(join(cwd, 'cdk.out', 'manifest.json')) ? 'cdk.out' : '.')),
      dataDir: resolve(cwd, values.data ?? '.cdk-local-run'),
      ...(values.stack && { stacks: values.stack }),
      parameters: Object.fromEntries((values.parameter ?? []).map(namedParameter)),
      without: values.without ?? [],
      ...(values.replicas !== undefined && { replicas: integer('replicas', values.replicas, 1, 100) }),
      endpoints: Object.fromEntries((values.endpoint ?? []).map(namedEndpoint)),
      ports: namedPorts(asked),
      fresh: values.fresh ?? false,
      open: values.open ?? false,
      exit: values.exit ?? false,
      log: values.log ?? false,
    },
  };
}

/** The command line of the package. Returns the exit code. */
export async function main(args: readonly string[]): Promise<number> {
  let command: Command;
  try {
    command = parseCommand(args);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    process.stderr.write(`${error.message}\n`);
    return 2;
  }
  if (command.kind === 'run') return session(command.options);
  process.stdout.write(command.kind === 'help' ? HELP : `${version()}\n`);
  return 0;
}

function version(): string {
  return (JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string }).version;
}

async function session(options: CommandOptions): Promise<number> {
  const out = screen(process.stdout);
  return runSession(out, {
    start: (progress, signal) => start(options, out, progress, signal),
    operate: async (run, signal) => {
      printWarnings(out, run);
      printAddresses(out, run);
      const environment = join(run.dataDir, 'environment');
      writeFileSync(environment, shellLines(run.environment), { mode: 0o600 });
      printTokenHelp(out, run);
      out.line(`Variables for the AWS CLI and SDKs: set -a; . ${quote(environment)}; set +a`);
      if (options.exit) await settled(run, signal);
      else await untilInterrupted(out, options.dataDir, signal);
      // Its addresses are those of this run only.
      rmSync(environment, { force: true });
      return signal.aborted && options.exit ? INTERRUPTED : verdict(run, out);
    },
  });
}

/** The variables as lines for a shell. `AWS_PROFILE` is unset: even an empty one is a name that the AWS CLI looks for in vain. */
function shellLines(environment: Readonly<Record<string, string>>): string {
  const { AWS_PROFILE: _, ...variables } = environment;
  // Last, where `node --env-file` passes over it.
  return [...Object.entries(variables).map(([name, value]) => `${name}=${quote(value)}`), 'unset AWS_PROFILE', ''].join('\n');
}

async function start(options: CommandOptions, out: Screen, progress: Steps, signal: AbortSignal): Promise<LocalRun> {
  let assemblyDir = options.folder;
  if (!existsSync(join(assemblyDir, 'manifest.json'))) {
    if (!existsSync(assemblyDir)) throw new LocalRunError(`There is no folder ${assemblyDir}: name the output of cdk synth, or a CDK app.`);
    if (!existsSync(join(assemblyDir, 'cdk.json'))) {
      throw new LocalRunError(`${assemblyDir} has neither a manifest.json (the output of cdk synth) nor a cdk.json (a CDK app): name the folder of one of them.`);
    }
    assemblyDir = join(options.dataDir, 'assembly');
    progress.begin('Synthesize the app');
    await synthesize(options.folder, assemblyDir, signal);
    progress.end();
  }
  return startLocal({
    assemblyDir,
    signal,
    dataDir: options.dataDir,
    fresh: options.fresh,
    open: options.open,
    parameters: options.parameters,
    without: options.without,
    otherEndpoints: options.endpoints,
    ports: options.ports,
    ...(options.stacks && { stacks: options.stacks }),
    ...(options.replicas !== undefined && { maxReplicas: options.replicas }),
    ...(options.log && { log: (level, message, fields) => out.line(out.paint('dim', `${level} ${message}${fields ? ` ${JSON.stringify(fields)}` : ''}`)) }),
    onProgress: (step) => showStep(step, progress),
    onFailure: (sentence) => out.line(out.paint('red', sentence)),
    onWarning: (sentence) => out.line(out.paint('yellow', sentence)),
    onRecovery: (sentence) => out.line(out.paint('green', sentence)),
  });
}

/** Waits until everything is handled, or a workload cannot run. */
async function settled(run: LocalRun, signal: AbortSignal): Promise<void> {
  while (!signal.aborted && run.failures().length === 0 && !run.idle()) await delay(100, undefined, { signal }).catch(() => undefined);
}

/** The exit code, with a line for each reason. */
function verdict(run: LocalRun, out: Screen): number {
  const queues = run.queues.map((queue) => ({ ...queue, messages: queue.depth().visible })).filter(({ messages }) => messages > 0);
  const are = (messages: number) => (messages === 1 ? 'is' : 'are');
  const reasons = [
    ...queues.filter(({ waitsFor }) => waitsFor !== undefined)
      .map(({ name, waitsFor, messages }) => `${waitsFor} does not run here: ${count(messages, 'message')} ${are(messages)} waiting in ${name}.`),
    ...queues.filter(({ takesDeadLetters }) => takesDeadLetters)
      .map(({ name, messages }) => `${count(messages, 'message')} ${are(messages)} in the dead-letter queue ${name}.`),
  ];
  for (const reason of reasons) out.line(out.paint('red', reason));
  // Failures are on the screen since they happened.
  return reasons.length > 0 || run.failures().length > 0 ? 1 : 0;
}
