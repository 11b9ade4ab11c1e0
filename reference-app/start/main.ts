import { mkdirSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { LocalRunError } from 'cdk-local-run/errors';
import { holderOf } from 'cdk-local-run/processes/lock';
import { signal as signalProcess } from 'cdk-local-run/processes/identity';
import { startLocal } from 'cdk-local-run';
import type { LocalRun, ProgressStep } from 'cdk-local-run';
import { synthesize } from 'cdk-local-run/cli/synthesize';
import { openFanOut } from '../profiles/fan-out/fan-out.ts';
import { feedAndShowFanOut } from '../profiles/fan-out/screen.ts';
import { feedApart } from '../load/feed-thread.ts';
import type { FeedResult } from '../load/feed.ts';
import { Journeys } from '../profiles/order-pipeline/journeys.ts';
import { HELP, parseCommand, UsageError } from './options.ts';
import type { CliOptions } from './options.ts';
import { readSampleOrders } from '../load/orders.ts';
import { openPipeline } from '../profiles/order-pipeline/pipeline.ts';
import type { Pipeline } from '../profiles/order-pipeline/pipeline.ts';
import { periodically, screen, seconds, steps } from 'cdk-local-run/cli/screen';
import type { Screen, Steps } from 'cdk-local-run/cli/screen';
import { profileThisThread } from './cpu-profile.ts';
import { countProcessorTime, printProcessorTime } from './processor-time.ts';
import { printSummary } from '../profiles/order-pipeline/summary.ts';
import { printAddresses, printExamples, printWarnings } from './welcome.ts';

const REPOSITORY = fileURLToPath(new URL('../../', import.meta.url));
const REFERENCE_APP = fileURLToPath(new URL('../', import.meta.url));

/** With fewer, a second process of everything costs more than it brings. */
const CORES_FOR_REPLICAS = 8;

const SAMPLE_RATE = 4;
const RANDOM_RATE = 100;
/** As shells tell it: 128 and the number of SIGINT. */
const INTERRUPTED = 130;

/**
 * The outbox relay deletes what is old. The summary compares the whole history of a run, and a data folder may be kept for weeks. Only the relay
 * reads these variables, so every process may have them.
 */
const KEPT_FOR_EVER = {
  OUTBOX_RETENTION_HOURS: '0', INBOX_RETENTION_HOURS: '0', IDEMPOTENCY_KEY_RETENTION_HOURS: '0', NOTIFICATION_RETENTION_HOURS: '0',
};

export async function main(args: readonly string[]): Promise<number> {
  try {
    const command = parseCommand(args, REPOSITORY);
    if (command.kind === 'help') process.stdout.write(HELP);
    else if (command.kind === 'version') process.stdout.write(`${version()}\n`);
    else return await session(command.options);
    return 0;
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    process.stderr.write(`${error.message}\n`);
    return 2;
  }
}

function version(): string {
  return (JSON.parse(readFileSync(join(REPOSITORY, 'package.json'), 'utf8')) as { version: string }).version;
}

async function session(options: CliOptions): Promise<number> {
  const out = screen(options.json ? process.stderr : process.stdout);
  const progress = steps(out);
  const interrupt = new AbortController();
  let run: LocalRun | undefined;

  const onSignal = () => {
    if (interrupt.signal.aborted) {
      out.status([]);
      out.line('Forced: killing what is left.');
      for (const pid of run?.workloads.flatMap((service) => service.pids()) ?? []) signalProcess(pid, 'SIGKILL');
      // What guards the children stops the others, the databases among them, as soon as this process is gone.
      process.exit(INTERRUPTED);
    }
    interrupt.abort();
    out.status([]);
    out.line();
    out.line('Stopping; once more forces it.');
  };
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, onSignal);

  let code: number;
  try {
    run = await start(options, progress, interrupt.signal);
    code = await operate(run, options, out, interrupt.signal);
  } catch (error) {
    progress.fail();
    if (!interrupt.signal.aborted) out.line(out.paint('red', describe(error)));
    code = interrupt.signal.aborted ? INTERRUPTED : 1;
  }
  out.status([]);
  try {
    await run?.stop();
    progress.end();
  } catch (error) {
    progress.fail();
    out.line(out.paint('red', describe(error)));
    code ||= 1;
  }
  return code;
}

/** What the user can put right is one sentence; anything else is our fault and needs its stack. */
function describe(error: unknown): string {
  if (error instanceof LocalRunError) return error.message;
  return error instanceof Error ? error.stack ?? error.message : String(error);
}

async function start(options: CliOptions, progress: Steps, signal: AbortSignal): Promise<LocalRun> {
  const holder = holderOf(join(options.dataDir, 'run.lock'));
  if (holder !== undefined) {
    throw new LocalRunError(
      `${options.dataDir} is in use by the local run with process id ${holder}: stop that one, or choose another folder with --data.`,
    );
  }
  if (options.profileDir !== undefined) mkdirSync(options.profileDir, { recursive: true });
  let { assemblyDir } = options;
  if (assemblyDir === undefined) {
    assemblyDir = join(options.dataDir, 'assembly');
    progress.begin('Bundle the services, synthesize the reference app');
    await synthesize(REFERENCE_APP, assemblyDir, signal, { profile: options.profile });
    progress.end();
  }
  return await startLocal({
    assemblyDir,
    dataDir: options.dataDir,
    fresh: options.fresh,
    ports: options.ports,
    ...(options.stacks && { stacks: options.stacks }),
    ...(options.profileDir !== undefined && { profileDir: options.profileDir }),
    environment: KEPT_FOR_EVER,
    maxReplicas: options.replicas ?? (availableParallelism() < CORES_FOR_REPLICAS ? 1 : Infinity),
    signal,
    onProgress: (step) => show(step, progress),
  });
}

const STEPS: Record<string, string> = {
  'database': 'Start PostgreSQL',
  'endpoints': 'Make queues, rules and buses of the assembly',
  'workloads': 'Start the services',
  'stop workloads': 'Stop the services',
  'stop event bus': 'Stop the event bus',
  'stop queues': 'Stop the queues',
  'stop database': 'Stop PostgreSQL',
};

function show({ name, state, detail }: ProgressStep, progress: Steps): void {
  if (name.startsWith('stop ') && !(name in STEPS)) return;
  if (state === 'started') progress.begin(STEPS[name] ?? `Run ${name}`);
  else if (state === 'done') progress.end(detail);
  else progress.fail();
}

/** From the start of the system to the moment in which it shall stop; the exit code. */
async function operate(run: LocalRun, options: CliOptions, out: Screen, signal: AbortSignal): Promise<number> {
  if (options.profile === 'fan-out') return await operateFanOut(run, options, out, signal);
  const pipeline = await openPipeline(run, options.fresh);
  try {
    printWarnings(out, run);
    printAddresses(out, run);
    let code = 0;
    if (pipeline) {
      code = await feedAndShow(pipeline, options, out, signal);
    } else {
      out.line('No orders are fed: these stacks do not have the write and read APIs of the reference app.');
    }
    return await stay(code, options, out, signal);
  } finally {
    await pipeline?.close();
  }
}

async function operateFanOut(run: LocalRun, options: CliOptions, out: Screen, signal: AbortSignal): Promise<number> {
  const fanOut = await openFanOut(run);
  try {
    printWarnings(out, run);
    printAddresses(out, run);
    const code = await feedAndShowFanOut(fanOut, run, options, out, signal);
    return await stay(code, options, out, signal);
  } finally {
    await fanOut.close();
  }
}

/** Unattended it ends here, otherwise when somebody ends it. */
async function stay(code: number, options: CliOptions, out: Screen, signal: AbortSignal): Promise<number> {
  if (options.exit) return signal.aborted ? INTERRUPTED : code;
  if (!signal.aborted) {
    out.line();
    out.line(`Running. Ctrl-C stops it; the data stay in ${options.dataDir}.`);
    await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
  }
  // A person has ended what was made to be ended so.
  return code;
}

async function feedAndShow(pipeline: Pipeline, options: CliOptions, out: Screen, signal: AbortSignal): Promise<number> {
  if (options.orders === 0) {
    if (!options.exit) printExamples(out, pipeline);
    return 0;
  }
  const processorTime = countProcessorTime(pipeline.run);
  const profiled = options.profileDir === undefined ? undefined : await profileThisThread(options.profileDir);
  const fed = options.orders === undefined
    ? await showSamples(pipeline, options, out, signal)
    : await feedRandom(pipeline, options, options.orders, out, signal);
  const settled = !signal.aborted && await settleAndShow(pipeline, out, signal);
  if (signal.aborted) return INTERRUPTED;
  const used = processorTime?.();
  await profiled?.();
  const summary = await pipeline.summarize(fed, settled);
  out.line();
  printSummary(out, summary, fed);
  if (used && options.orders !== undefined) {
    out.line();
    printProcessorTime(out, used, options.orders);
  }
  if (options.json) process.stdout.write(`${JSON.stringify({ ...summary, ...(used && { processorTime: used }) })}\n`);
  if (!options.exit) printExamples(out, pipeline, fed.accepted[0]?.orderId);
  return summary.ok ? 0 : 1;
}

async function showSamples(pipeline: Pipeline, { rate = SAMPLE_RATE }: CliOptions, out: Screen, signal: AbortSignal): Promise<FeedResult> {
  const samples = readSampleOrders();
  out.line(out.paint('bold', `${samples.length} sample orders`) + ' (times of the steps count from acceptance)');
  const journeys = new Journeys(out, pipeline.database);
  const fed = await feedApart({ url: pipeline.writeUrl, rate }, signal, (order) => journeys.add(order));
  await journeys.settled(signal.aborted ? 0 : 60_000);
  for (const { reason, planned } of [...fed.refused, ...fed.unanswered]) {
    out.line(out.paint('red', `not accepted: ${JSON.stringify(planned.body)}: ${reason}`));
  }
  return fed;
}

async function feedRandom(
  pipeline: Pipeline, { rate = RANDOM_RATE, seed }: CliOptions, count: number, out: Screen, signal: AbortSignal,
): Promise<FeedResult> {
  out.line(out.paint('bold', `${count} random orders`) + ` at ${rate} per second, seed ${seed}`);
  const started = performance.now();
  let accepted = 0;
  const text = () => `  ${accepted} of ${count} accepted, ${seconds(performance.now() - started)}`;
  const end = periodically(out, text);
  try {
    return await feedApart({ url: pipeline.writeUrl, rate, random: { count, seed } }, signal, () => accepted++);
  } finally {
    end();
  }
}

async function settleAndShow(pipeline: Pipeline, out: Screen, signal: AbortSignal): Promise<boolean> {
  let text = '';
  const end = periodically(out, () => text);
  try {
    return await pipeline.settle({
      signal,
      onProgress: ({ open, unpublished, waiting }) => {
        text = `  ${open} orders on their way, ${unpublished} events to publish, ${waiting} messages in queues`;
      },
    });
  } finally {
    end();
  }
}
