import { closeSync, fdatasyncSync, openSync, rmSync, writeSync } from 'node:fs';
import { arch, availableParallelism, platform, release, totalmem, tmpdir } from 'node:os';
import { join } from 'node:path';
import { processorLine } from './processor.ts';

/** The machine of a run, as the pages show it. */
export interface Machine {
  /** Time of the run, in ISO 8601. */
  readonly at: string;
  readonly system: string;
  readonly processor: string;
  /** Processors that this process may use. */
  readonly cores: number;
  readonly memory: string;
  readonly node: string;
  readonly fsyncsPerSecond: number;
  postgres?: string;
}

/** Blocks of 8 KiB per second, each written and made durable before the next, as the log of a database is. */
function fsyncRate(folder: string, ms = 500): number {
  const file = join(folder, `fsync-${process.pid}`);
  const block = Buffer.alloc(8192, 1);
  const descriptor = openSync(file, 'w');
  let count = 0;
  const start = performance.now();
  try {
    for (; performance.now() - start < ms; count++) {
      writeSync(descriptor, block, 0, block.length, (count % 1_000) * block.length);
      fdatasyncSync(descriptor);
    }
    return count / ((performance.now() - start) / 1000);
  } finally {
    closeSync(descriptor);
    rmSync(file);
  }
}

export function describeMachine(): Machine {
  return {
    at: new Date().toISOString(),
    system: `${platform()} ${release()} ${arch()}`,
    processor: processorLine(),
    cores: availableParallelism(),
    memory: `${Math.round(totalmem() / 2 ** 30)} GiB`,
    node: process.version,
    fsyncsPerSecond: Math.round(fsyncRate(tmpdir())),
  };
}
