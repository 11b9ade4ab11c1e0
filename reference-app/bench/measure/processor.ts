import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import type { Meter } from './slices.ts';

/** Ticks of utime and stime. Linux has reported 100 per second for decades, independent of its timer. */
const TICKS_PER_SECOND = 100;
/** Processes whose work belongs to no order and comes at any time. */
const EXCLUDED = /autovacuum|checkpointer/;

interface ProcessTime {
  readonly parent: number;
  readonly seconds: number;
}

/** Fields 4 (parent) and 14, 15 (user and system time) of /proc/PID/stat; the name in field 2 may hold spaces. */
export function parseStat(text: string): ProcessTime {
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return { parent: Number(fields[1]), seconds: (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND };
}

function read(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    // The process has ended meanwhile.
    return undefined;
  }
}

/** Nanoseconds on the processor: finer than ticks, for a process with one thread as PostgreSQL's are. */
function schedulerSeconds(pid: number): number | undefined {
  const text = read(`/proc/${pid}/schedstat`);
  const nanoseconds = Number(text?.split(' ', 1)[0]);
  return nanoseconds > 0 ? nanoseconds / 1e9 : undefined;
}

/**
 * Processor time of PostgreSQL's processes (without autovacuum and checkpointer) and of this process with all its threads.
 * Only Linux reports it; elsewhere the meter reads nothing.
 */
export function processorMeter(postmaster: () => number | undefined, others: () => readonly number[] = () => []): Meter {
  const kinds = new Map<number, boolean>();
  const counts = (pid: number) => {
    let yes = kinds.get(pid);
    if (yes === undefined) {
      yes = !EXCLUDED.test(read(`/proc/${pid}/cmdline`) ?? '');
      kinds.set(pid, yes);
    }
    return yes;
  };
  /** Seconds of each process when it was last seen, since the time of a closed connection can no longer be read. */
  const used = new Map<number, number>();
  return {
    read() {
      const parent = postmaster();
      if (process.platform !== 'linux' || parent === undefined) return undefined;
      for (const pid of childrenOf(parent)) {
        if (!counts(pid)) continue;
        const seconds = schedulerSeconds(pid) ?? parseStat(read(`/proc/${pid}/stat`) ?? '0 () S 0 0 0 0 0 0 0 0 0 0 0 0').seconds;
        used.set(pid, Math.max(seconds, used.get(pid) ?? 0));
      }
      const { user, system } = process.cpuUsage();
      let node = (user + system) / 1e6;
      for (const pid of others()) node += parseStat(read(`/proc/${pid}/stat`) ?? '0 () S 0 0 0 0 0 0 0 0 0 0 0 0').seconds;
      const machine = machineTicks();
      return {
        database: [...used.values()].reduce((sum, seconds) => sum + seconds, 0),
        node,
        ...(machine && { machine: { busy: (machine.total - machine.idle) / TICKS_PER_SECOND, all: machine.total / TICKS_PER_SECOND } }),
      };
    },
  };
}

export function childrenOf(parent: number): number[] {
  const listed = read(`/proc/${parent}/task/${parent}/children`);
  if (listed !== undefined) return listed.trim().split(' ').filter(Boolean).map(Number);
  return readdirSync('/proc').filter((name) => /^\d+$/.test(name)).map(Number)
    .filter((pid) => parseStat(read(`/proc/${pid}/stat`) ?? '0 () S -1').parent === parent);
}

/** Ticks of all processors since the machine was started, and those without work. What a hypervisor took counts as work. */
function machineTicks(): { total: number; idle: number } | undefined {
  const fields = read('/proc/stat')?.split('\n', 1)[0]?.trim().split(/\s+/).slice(1, 9).map(Number);
  return fields && { total: fields.reduce((sum, ticks) => sum + ticks, 0), idle: fields[3]! + fields[4]! };
}

/** Share of the whole machine's processor time that was in use since the last call; 0 to 1. */
export function machineLoad(): () => number | undefined {
  let last = machineTicks();
  return () => {
    const now = machineTicks();
    if (!last || !now || now.total === last.total) return undefined;
    const share = 1 - (now.idle - last.idle) / (now.total - last.total);
    last = now;
    return share;
  };
}

/** MB/s of SHA-256 over 1 KiB on one core, measured for a quarter of a second, to compare machines and phases of a machine. */
function processorScore(): number {
  const block = Buffer.alloc(1024, 7);
  const until = performance.now() + 250;
  const start = performance.now();
  let bytes = 0;
  while (performance.now() < until) {
    for (let i = 0; i < 200; i++) createHash('sha256').update(block).digest();
    bytes += 200 * block.length;
  }
  return bytes / 1e6 / ((performance.now() - start) / 1000);
}

export function processorLine(): string {
  const all = cpus();
  const load = loadavg().map((value) => value.toFixed(1)).join(' ');
  return `${all.length} × ${all[0]?.model.trim() ?? 'unknown'}; SHA-256 ${Math.round(processorScore())} MB/s on one core; load ${load}`;
}
