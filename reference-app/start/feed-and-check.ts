import type { LocalRun } from 'cdk-local-run';
import { periodically } from 'cdk-local-run/cli/screen';
import type { Screen } from 'cdk-local-run/cli/screen';
import { INTERRUPTED } from 'cdk-local-run/cli/session';
import { recordCpuProfile } from './cpu-profile.ts';
import type { StartOptions } from './options.ts';
import { countProcessorTime, printProcessorTime } from './processor-time.ts';
import type { ProcessorTimes } from './processor-time.ts';
import { hasWarmPart, WARM_UP_ORDERS } from '../profiles/profile.ts';
import type { Example, FeedPlan, Profile, RunningSystem } from '../profiles/profile.ts';

/** Feeds the orders of the options, waits until all is done, and shows the summary. Returns the exit code. */
export async function feedAndCheck(
  run: LocalRun, system: RunningSystem, { defaults }: Profile, options: StartOptions, out: Screen, signal: AbortSignal,
): Promise<number> {
  const { orders, exit, json } = options;
  const none = orders === 0;
  if (none && !exit) {
    printExamples(out, system.examples());
    return 0;
  }
  const processorTime = none ? undefined : watchProcessorTime(run, orders);
  const endCpuProfile = options.cpuProfileDir === undefined ? undefined : await recordCpuProfile(options.cpuProfileDir);
  const fed = none ? undefined : await system.feed({ ...planOf(options, defaults), onOrder: processorTime?.onOrder }, out, signal);
  const settled = !signal.aborted && await settle(system, out, signal);
  if (signal.aborted) return INTERRUPTED;
  const used = processorTime?.used();
  await endCpuProfile?.();
  const report = await system.check(fed, settled);
  if (!none) out.line();
  report.print(out);
  if (used) {
    out.line();
    printProcessorTime(out, used);
  }
  if (json) process.stdout.write(`${JSON.stringify({ ...report.json, ...(used && { processorTime: used }) })}\n`);
  if (!exit) printExamples(out, system.examples(fed));
  return report.ok ? 0 : 1;
}

/** Counts from now on, and a second time from the moment at which the processes are warm. Undefined without random orders. */
function watchProcessorTime(run: LocalRun, orders: number | undefined) {
  const all = countProcessorTime(run);
  if (!all || orders === undefined) return undefined;
  let accepted = 0;
  let warm: typeof all | undefined;
  return {
    onOrder: () => {
      if (++accepted === WARM_UP_ORDERS && hasWarmPart(orders)) warm = countProcessorTime(run);
    },
    used: (): ProcessorTimes => ({ orders, all: all(), ...(warm && { warm: warm() }) }),
  };
}

function planOf({ orders, rate, seed, failover }: StartOptions, { sampleRate, rate: usual }: Profile['defaults']): FeedPlan {
  return {
    rate: rate ?? (orders === undefined ? sampleRate : usual),
    seed,
    ...(orders !== undefined && { orders }),
    ...(failover && { failover }),
  };
}

async function settle(system: RunningSystem, out: Screen, signal: AbortSignal): Promise<boolean> {
  let text = '';
  const end = periodically(out, () => text);
  try {
    return await system.settle(signal, (line) => { text = `  ${line}`; });
  } finally {
    end();
  }
}

function printExamples(out: Screen, examples: readonly Example[]): void {
  out.line();
  out.line(out.paint('bold', 'Try'));
  for (const { title, line } of examples) {
    out.line(out.paint('dim', `  # ${title}`));
    out.line(`  ${line}`);
  }
}
