import { mkdirSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startLocal } from 'cdk-local-run';
import type { LocalRun } from 'cdk-local-run';
import { UsageError } from 'cdk-local-run/cli/arguments';
import { printAddresses, printTokenHelp, printWarnings, showStep } from 'cdk-local-run/cli/report';
import { screen } from 'cdk-local-run/cli/screen';
import type { Screen, Steps } from 'cdk-local-run/cli/screen';
import { INTERRUPTED, runSession, untilInterrupted } from 'cdk-local-run/cli/session';
import { synthesize } from 'cdk-local-run/cli/synthesize';
import { LocalRunError } from 'cdk-local-run/errors';
import { holderOf } from 'cdk-local-run/processes/lock';
import { feedAndCheck } from './feed-and-check.ts';
import { helpText } from './help.ts';
import { parseCommand, sharesProcess } from './options.ts';
import type { Command, StartOptions } from './options.ts';
import type { Profiles } from '../profiles/index.ts';
import { loadProfiles, PROFILES } from '../profiles/index.ts';
import type { Profile } from '../profiles/profile.ts';

const REPOSITORY = fileURLToPath(new URL('../../', import.meta.url));
const REFERENCE_APP = fileURLToPath(new URL('../', import.meta.url));

/** The least number of cores with which a second process of everything brings more than it costs. */
const CORES_FOR_REPLICAS = 8;

/** The command `npm start`, with the profiles of these folders. Returns the exit code. */
export async function main(args: readonly string[], folders: readonly string[] = [PROFILES]): Promise<number> {
  const profiles = await loadProfiles(folders);
  let command: Command;
  try {
    command = parseCommand(args, profiles, REPOSITORY);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    process.stderr.write(`${error.message}\n`);
    return 2;
  }
  if (command.kind === 'run') return session(command.options, profiles, folders);
  process.stdout.write(command.kind === 'help' ? helpText(profiles) : `${version()}\n`);
  return 0;
}

function version(): string {
  return (JSON.parse(readFileSync(join(REPOSITORY, 'package.json'), 'utf8')) as { version: string }).version;
}

async function session(options: StartOptions, profiles: Profiles, folders: readonly string[]): Promise<number> {
  const out = screen(options.json ? process.stderr : process.stdout);
  const profile = profiles.get(options.profile)!;
  return runSession(out, {
    start: async (progress, signal) => {
      refuseUsedFolder(options.dataDir);
      const assemblyDir = options.assemblyDir ?? await synthesizeProfile(options, folders, progress, signal);
      return startRun(options, profile, assemblyDir, out, progress, signal);
    },
    operate: (run, signal) => operate(run, profile, options, out, signal),
  });
}

/** Before the synthesis, which takes some seconds. */
function refuseUsedFolder(dataDir: string): void {
  const holder = holderOf(join(dataDir, 'run.lock'));
  if (holder === undefined) return;
  throw new LocalRunError(
    `${dataDir} is in use by the local run with process id ${holder}: stop that one, or choose another folder with --data.`,
  );
}

async function synthesizeProfile(options: StartOptions, folders: readonly string[], progress: Steps, signal: AbortSignal): Promise<string> {
  const { profile, dataDir } = options;
  const assemblyDir = join(dataDir, 'assembly');
  progress.begin('Bundle the services, synthesize the reference app');
  await synthesize(REFERENCE_APP, assemblyDir, signal, { profile, profiles: folders });
  progress.end();
  return assemblyDir;
}

async function startRun(
  options: StartOptions, profile: Profile, assemblyDir: string, out: Screen, progress: Steps, signal: AbortSignal,
): Promise<LocalRun> {
  const { cpuProfileDir } = options;
  if (cpuProfileDir !== undefined) mkdirSync(cpuProfileDir, { recursive: true });
  return startLocal({
    assemblyDir,
    signal,
    dataDir: options.dataDir,
    fresh: options.fresh,
    open: options.open,
    without: options.without,
    ports: options.ports,
    otherEndpoints: options.endpoints,
    ...(options.stacks && { stacks: options.stacks }),
    ...(options.failover && { replication: options.failover }),
    ...(cpuProfileDir !== undefined && { cpuProfileDir }),
    ...(profile.sharedProcess !== undefined && sharesProcess(options, availableParallelism()) && { sharedProcess: profile.sharedProcess }),
    ...(profile.environment && { environment: profile.environment }),
    maxReplicas: options.replicas ?? (availableParallelism() < CORES_FOR_REPLICAS ? 1 : Infinity),
    onProgress: (step) => showStep(step, progress),
    onFailure: (sentence) => out.line(out.paint('red', sentence)),
    onRecovery: (sentence) => out.line(out.paint('green', sentence)),
    onWarning: (sentence) => out.line(`${out.paint('yellow', 'warning')} ${sentence}`),
  });
}

/** Everything between the start and the stop. Returns the exit code. */
async function operate(run: LocalRun, profile: Profile, options: StartOptions, out: Screen, signal: AbortSignal): Promise<number> {
  const system = await profile.open(run, { fresh: options.fresh });
  try {
    printWarnings(out, run);
    printAddresses(out, run);
    let code = 0;
    if (system) {
      code = await feedAndCheck(run, system, profile, options, out, signal);
    } else {
      out.line(`No orders are fed: these are not the stacks of the profile ${options.profile}. npx cdk-local-run FOLDER runs any cloud assembly, too.`);
      printTokenHelp(out, run);
    }
    if (options.exit && signal.aborted) return INTERRUPTED;
    if (!options.exit) await untilInterrupted(out, options.dataDir, signal);
    return code || (run.failures().length > 0 ? 1 : 0);
  } finally {
    await system?.close();
  }
}
