import { readdirSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import type { LocalRun } from 'cdk-local-run';
import type { Screen } from 'cdk-local-run/cli/screen';
import { WARM_UP_ORDERS } from '../profiles/profile.ts';

/** The processor time of a run between two moments, in seconds of one processor. */
export interface ProcessorTime {
  readonly wallSeconds: number;
  readonly cores: number;
  /** The time by program, largest first; restarts and programs that ended meanwhile are not in it. */
  readonly programs: readonly { readonly name: string; readonly seconds: number }[];
}

/** Linux counts in hundredths of a second, whatever the kernel's own clock. */
const TICKS_PER_SECOND = 100;
const ENDPOINTS = 'SQS, EventBridge';
const LOAD = 'load, balancers, helpers of the local run';

/** Begins to count; the function that it returns says how much it was. Undefined where there is no /proc. */
export function countProcessorTime(run: LocalRun): (() => ProcessorTime) | undefined {
  if (process.platform !== 'linux') return undefined;
  const began = performance.now();
  const before = read(run);
  return () => {
    const sums = new Map<string, number>();
    for (const [key, { name, ticks }] of read(run)) {
      sums.set(name, (sums.get(name) ?? 0) + ticks - (before.get(key)?.ticks ?? 0));
    }
    return {
      wallSeconds: Number(((performance.now() - began) / 1000).toFixed(2)),
      cores: availableParallelism(),
      programs: [...sums].map(([name, ticks]) => ({ name, seconds: ticks / TICKS_PER_SECOND })).sort((a, b) => b.seconds - a.seconds),
    };
  };
}

/** Reads the time by process id, and of this process by thread: the main one serves queues and buses. */
function read(run: LocalRun): Map<string, { name: string; ticks: number }> {
  const roots = new Map([...workloadsByPid(run)].map(([pid, names]) => [pid, names.length === 1 ? names[0]! : `${names.length} workloads in one process`]));
  const [writer, reader] = run.database?.pids() ?? [];
  if (writer !== undefined) roots.set(writer, 'PostgreSQL');
  if (reader !== undefined) roots.set(reader, 'PostgreSQL, replica');
  const processes = new Map(numbersIn('/proc').flatMap((pid) => {
    const stat = readStat(`/proc/${pid}/stat`);
    return stat ? [[pid, stat] as const] : [];
  }));
  const nameOf = (pid: number): string | undefined => {
    for (let at: number | undefined = pid; at !== undefined && at > 1; at = processes.get(at)?.parent) {
      const name = roots.get(at);
      if (name !== undefined) return name;
    }
    return undefined;
  };
  const found = new Map<string, { name: string; ticks: number }>();
  for (const [pid, { ticks }] of processes) {
    const name = nameOf(pid);
    if (name !== undefined) found.set(String(pid), { name, ticks });
  }
  for (const thread of numbersIn('/proc/self/task')) {
    const stat = readStat(`/proc/self/task/${thread}/stat`);
    if (stat) found.set(`thread ${thread}`, { name: thread === process.pid ? ENDPOINTS : LOAD, ticks: stat.ticks });
  }
  return found;
}

function workloadsByPid({ workloads }: LocalRun): Map<number, string[]> {
  const names = new Map<number, string[]>();
  for (const { name, pids } of workloads) for (const pid of pids()) names.set(pid, [...names.get(pid) ?? [], name]);
  return names;
}

function numbersIn(folder: string): number[] {
  return readdirSync(folder).map(Number).filter(Number.isInteger);
}

function readStat(file: string): { parent: number; ticks: number } | undefined {
  try {
    const text = readFileSync(file, 'utf8');
    // The name before these fields stands in brackets, and may hold anything.
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ').map(Number);
    return { parent: fields[1]!, ticks: fields[11]! + fields[12]! };
  } catch {
    // It has ended meanwhile.
    return undefined;
  }
}

/** The time of a run, and that after its first orders, in which the processes are still cold. */
export interface ProcessorTimes {
  readonly orders: number;
  readonly all: ProcessorTime;
  /** @default - too few orders were fed */
  readonly warm?: ProcessorTime;
}

export function printProcessorTime(out: Screen, { orders, all, warm }: ProcessorTimes): void {
  const seconds = new Map(warm?.programs.map((program) => [program.name, program.seconds]));
  const perOrder = (sum: number, count: number) => `${Math.round(sum * 1e6 / count)} µs`.padStart(9);
  const line = (name: string, sum: number, warmSum: number) => {
    const warmText = warm ? perOrder(warmSum, orders - WARM_UP_ORDERS) : '';
    out.line(`  ${name.padEnd(44)}${perOrder(sum, orders)}${warmText}   ${out.paint('dim', `${(sum / all.wallSeconds).toFixed(2)} cores`)}`);
  };
  const total = (time: ProcessorTime | undefined) => time?.programs.reduce((sum, program) => sum + program.seconds, 0) ?? 0;
  const columns = warm ? `: all, and without the first ${WARM_UP_ORDERS}` : '';
  out.line(`${out.paint('bold', 'Processor time per order')}, of ${all.cores} cores${columns}`);
  for (const program of all.programs) line(program.name, program.seconds, seconds.get(program.name) ?? 0);
  line('all', total(all), total(warm));
}
