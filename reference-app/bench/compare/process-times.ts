import { readdirSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { parseStat } from '../measure/processor.ts';

/**
 * The seconds of processor that a local run has used, by program, with the names that its summary has for them. Empty where there is no
 * /proc.
 */
export function processTimes(root: number): Map<string, number> {
  const sums = new Map<string, number>();
  if (process.platform !== 'linux') return sums;
  const add = (name: string, seconds: number) => sums.set(name, (sums.get(name) ?? 0) + seconds);
  const stats = new Map(numbersIn('/proc').flatMap((pid) => {
    const stat = read(`/proc/${pid}/stat`);
    return stat === undefined ? [] : [[pid, parseStat(stat)] as const];
  }));
  const nameOf = (pid: number): string | undefined => {
    const { parent } = stats.get(pid) ?? {};
    if (parent === undefined) return undefined;
    return parent === root ? programOf(read(`/proc/${pid}/cmdline`) ?? '') : nameOf(parent);
  };
  for (const [pid, { seconds }] of stats) {
    const name = pid === root ? undefined : nameOf(pid);
    if (name !== undefined) add(name, seconds);
  }
  for (const thread of numbersIn(`/proc/${root}/task`)) {
    const stat = read(`/proc/${root}/task/${thread}/stat`);
    if (stat !== undefined) add(thread === root ? 'SQS, EventBridge' : 'load, balancers, helpers of the local run', parseStat(stat).seconds);
  }
  return sums;
}

/** Its name in the summary; undefined for helpers of the run. */
export function programOf(commandLine: string): string | undefined {
  const words = commandLine.split('\0');
  if (basename(words[0] ?? '').startsWith('postgres')) {
    const data = words[words.indexOf('-D') + 1] ?? '';
    return basename(data) === 'replica' ? 'PostgreSQL, replica' : 'PostgreSQL';
  }
  const script = words.find((word) => /^[\w-]+\.js$/.test(word));
  return script?.slice(0, -'.js'.length);
}

function numbersIn(folder: string): number[] {
  try {
    return readdirSync(folder).map(Number).filter(Number.isInteger);
  } catch {
    return [];
  }
}

function read(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    // It has ended meanwhile.
    return undefined;
  }
}
