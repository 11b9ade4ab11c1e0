import { accessSync, appendFileSync, chmodSync, constants, mkdirSync, mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readAssembly } from './assembly/assembly.ts';
import { checkParameters } from './assembly/parameters.ts';
import { count } from './count.ts';
import { deploy } from './deploy.ts';
import { describeRun } from './describe.ts';
import { LocalRunError, messageOf } from './errors.ts';
import { ISSUER } from './issuer/local-issuer.ts';
import type { LocalRun, LocalRunOptions } from './local-run.ts';
import type { Log } from './log.ts';
import { unsupportedNode } from './node-version.ts';
import { prepareRun } from './prepare.ts';
import type { PreparedRun } from './prepare.ts';
import { guardEnded } from './processes/guard.ts';
import { Leftovers } from './processes/leftovers.ts';
import { takeLock } from './processes/lock.ts';
import { letPass } from './rds/postgres.ts';
import type { LocalService } from './service.ts';
import { Steps } from './steps.ts';

/** Runs the stacks of a cloud assembly on this machine, until `stop` of the returned run is called. */
export async function startLocal(options: LocalRunOptions): Promise<LocalRun> {
  const problem = unsupportedNode();
  if (problem !== undefined) throw new LocalRunError(problem);
  if (typeof options?.assemblyDir !== 'string') throw new LocalRunError('startLocal expects assemblyDir, the output folder of cdk synth, in its options.');
  const assembly = readAssembly(options.assemblyDir, options.stacks);
  checkParameters(assembly.stacks, options.parameters ?? {});
  const steps = new Steps(options);
  const dataDir = prepareFolder(options.dataDir ?? temporaryFolder(steps));
  steps.stopLater('lock', takeLock(join(dataDir, 'run.lock'), (pid) =>
    `${dataDir} is in use by the local run with process id ${pid}: stop that one, or choose another folder with --data.`));
  try {
    const log = openLog(dataDir, options);
    const leftovers = new Leftovers(join(dataDir, 'processes.json'));
    const left = await leftovers.clean();
    if (left > 0) log('warn', `Ended ${count(left, 'process', 'processes')} that an earlier run had left.`);
    steps.stopLater('process list', async () => {
      leftovers.close();
      await guardEnded();
    });
    const prepared = prepareRun(assembly, options, { dataDir, logDir: join(dataDir, 'logs'), leftovers, log });
    await startServices(prepared, steps);
    checkNames(prepared, options);
    await startWorkloads(prepared, steps, options);
    for (const warning of prepared.warnings) log('warn', warning);
    log('info', 'Without a meaning on one machine.', Object.fromEntries(prepared.withoutMeaning));
    return describeRun(prepared, {
      stop: () => steps.stop(),
      deploy: (dir, signal) => deploy(prepared, readAssembly(dir, options.stacks), signal),
    });
  } catch (error) {
    await steps.stop().catch(() => undefined);
    throw error;
  }
}

/** Brings up everything with an address, then makes the resources, which may hold any of these addresses. */
async function startServices({ services, model, context }: PreparedRun, steps: Steps): Promise<void> {
  const start = async (service: LocalService) => {
    steps.stopLater(service.title, () => service.stop());
    return service.start(model);
  };
  for (const service of services) {
    if (service.step !== undefined && model.ofType(...Object.keys(service.types)).length > 0) {
      await steps.run(service.step, () => start(service), (detail) => detail);
    }
  }
  await steps.run('endpoints', async () => {
    for (const service of services) if (service.step === undefined) await start(service);
    // The services add programs, and ports before them. They stop before the services that they use.
    steps.stopLater('workloads', () => context.workloads.stop());
    const details: (string | undefined)[] = [];
    for (const service of services) details.push(await service.make?.(model));
    return details.filter((detail) => detail !== undefined).join(', ');
  }, (detail) => detail);
}

async function startWorkloads(
  { context: { workloads } }: PreparedRun, steps: Steps, { signal = new AbortController().signal }: LocalRunOptions,
): Promise<void> {
  for (const job of workloads.jobs) await steps.run(job.name, () => workloads.runJob(job, signal));
  if (workloads.running.length > 0) await steps.run('workloads', () => workloads.start(signal), (detail) => detail);
}

/** The names in the options must be names of the run. */
function checkNames({ context: { workloads }, portNames }: PreparedRun, { ports = {}, without = [] }: LocalRunOptions): void {
  const known = [...workloads.names(), ISSUER];
  for (const name of without) {
    if (!known.includes(name)) throw new LocalRunError(`--without ${name}: nothing in this run is called so; there is ${known.join(', ')}.`);
  }
  for (const name of Object.keys(ports)) {
    if (!portNames.has(name)) throw new LocalRunError(`--port ${name}: nothing in this run is called so; there is ${[...portNames].join(', ')}.`);
  }
}

/** Everything in the data folder but the databases, which know themselves how they are made anew. */
const FOLDERS = ['logs', 'sqs', 'eventbridge', 'functions'];

/** A data folder that goes when the run has stopped. */
function temporaryFolder(steps: Steps): string {
  const folder = mkdtempSync(join(tmpdir(), 'cdk-local-run-'));
  steps.stopLater('temporary folder', () => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

function prepareFolder(dataDir: string): string {
  const folder = writableFolder(dataDir);
  // PostgreSQL runs as another user if this one is root, and has its logs and data below.
  letPass(folder);
  return folder;
}

function writableFolder(dataDir: string): string {
  try {
    mkdirSync(dataDir, { recursive: true, mode: 0o700 });
    accessSync(dataDir, constants.W_OK | constants.X_OK);
    return realpathSync(dataDir);
  } catch (error) {
    throw new LocalRunError(`The data folder ${dataDir} cannot be made or written (${messageOf(error)}): choose another one with --data.`);
  }
}

/** Messages, secrets and logs in the data folder can be read by its owner only. */
function openLog(dataDir: string, { fresh = false, log }: LocalRunOptions): Log {
  if (fresh) for (const name of [...FOLDERS, 'secrets.json']) rmSync(join(dataDir, name), { recursive: true, force: true });
  for (const name of FOLDERS) {
    mkdirSync(join(dataDir, name), { recursive: true });
    chmodSync(join(dataDir, name), 0o700);
  }
  letPass(join(dataDir, 'logs'));
  return (level, message, fields) => {
    appendFileSync(join(dataDir, 'logs', 'local-run.log'), `${JSON.stringify({ level, time: new Date().toISOString(), msg: message, ...fields })}\n`);
    log?.(level, message, fields);
  };
}
