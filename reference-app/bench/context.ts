import type { Screen } from 'cdk-local-run/cli/screen';
import { seeded } from '../load/random.ts';
import { startBenchServer, type BenchServer } from './database/server.ts';
import { bestConcurrency, type Concurrency } from './measure/best-concurrency.ts';
import { processorMeter } from './measure/processor.ts';
import { pairedSlices, slicesOf, type Meter, type PairedOptions, type Slice, type Variant } from './measure/slices.ts';
import type { RowResult } from './report/results.ts';

/** Paired slices; the context knows the other options. */
export type SliceOptions = Pick<PairedOptions, 'baseline' | 'variants' | 'meter'> & {
  /** Length of a slice. @default - the context's own */
  readonly sliceMs?: number;
};

/** The tools of a row. */
export interface Context {
  readonly rounds: number;
  readonly sliceMs: number;
  /** Random numbers of the run's seed, 0 to 1. */
  readonly random: () => number;
  readonly out: Screen;
  /** The server with plain loopback and the disk as it is; it is started by the first call. */
  server(): Promise<BenchServer>;
  /** @param others ids of further processes whose time counts as that of Node.js */
  meter(server: BenchServer, others?: () => readonly number[]): Meter;
  /** The naive design at its best number of workers, which is found by trying. */
  bestNaive<V extends Variant>(label: string, make: (workers: number) => V | Promise<V>, most?: number): Promise<Concurrency<V>>;
  /** Measures paired slices and shows their progress. */
  slices(label: string, options: SliceOptions): Promise<Slice[]>;
  progress(text: string): void;
  stop(): Promise<void>;
}

/** One benchmark. */
export interface Row {
  /** The name for --only. */
  readonly name: string;
  readonly title: string;
  /** Measured only with --cloud or by name. @default false */
  readonly cloud?: boolean;
  run(context: Context): Promise<RowResult>;
}

export interface ContextOptions {
  readonly rounds: number;
  readonly sliceMs: number;
  readonly seed: number;
  readonly out: Screen;
  /** See `ServerOptions`. It takes time, and makes no difference where only counts matter. */
  readonly usedLog: boolean;
}

export function createContext({ rounds, sliceMs, seed, out, usedLog }: ContextOptions): Context {
  const random = seeded(seed);
  let server: Promise<BenchServer> | undefined;
  const progress = (text: string) => out.status([text]);
  return {
    rounds,
    sliceMs,
    random,
    out,
    progress,
    server() {
      if (!server) progress('starting PostgreSQL');
      return (server ??= startBenchServer({ usedLog }));
    },
    meter: (running, others) => processorMeter(running.postmaster, others),
    bestNaive: (label, make, most) => bestConcurrency({
      make, sliceMs, ...(most !== undefined && { most }), onTry: (name) => progress(`${label}  looking for the best concurrency of the naive design: ${name}`),
    }),
    async slices(label, options) {
      const all = { rounds, sliceMs, random, ...options };
      const total = slicesOf(all);
      let done = 0;
      return pairedSlices({
        ...all,
        onSlice: ({ variant, rate }) => progress(`${label}  ${bar(++done / total)}  ${variant}: ${Math.round(rate).toLocaleString('en-US')}/s`),
      });
    },
    async stop() {
      const running = server;
      server = undefined;
      await (await running)?.stop();
    },
  };
}

function bar(share: number): string {
  const full = Math.round(share * 20);
  return `${'█'.repeat(full)}${'░'.repeat(20 - full)} ${String(Math.round(share * 100)).padStart(3)} %`;
}
