import type { Screen } from 'cdk-local-run/cli/screen';
import { seeded } from '../load/random.ts';
import type { RowResult } from './report/results.ts';
import type { BenchServer } from './database/server.ts';
import { startBenchServer } from './database/server.ts';
import { processorMeter } from './measure/processor.ts';
import type { Meter, PairedOptions, Slice } from './measure/slices.ts';
import { pairedSlices } from './measure/slices.ts';

export interface Context {
  readonly rounds: number;
  readonly sliceMs: number;
  readonly random: () => number;
  readonly out: Screen;
  /** The server with plain loopback and the disk as it is; started when first asked for. */
  server(): Promise<BenchServer>;
  meter(server: BenchServer, others?: () => readonly number[]): Meter;
  /** Paired slices with a line of progress. */
  slices(label: string, options: Omit<PairedOptions, 'rounds' | 'sliceMs' | 'random' | 'onSlice'> & { rounds?: number; sliceMs?: number }): Promise<Slice[]>;
  progress(text: string): void;
  stop(): Promise<void>;
}

export interface Row {
  readonly name: string;
  readonly title: string;
  readonly cloud?: boolean;
  run(context: Context): Promise<RowResult>;
}

export interface ContextOptions {
  readonly rounds: number;
  readonly sliceMs: number;
  readonly seed: number;
  readonly out: Screen;
  /** See `ServerOptions`. Not worth its time where only counts matter. */
  readonly usedLog: boolean;
}

export function createContext({ rounds, sliceMs, seed, out, usedLog }: ContextOptions): Context {
  const random = seeded(seed);
  let server: Promise<BenchServer> | undefined;
  const progress = (text: string) => out.status([text]);
  return {
    rounds, sliceMs, random, out, progress,
    server() {
      if (!server) progress('starting PostgreSQL');
      return (server ??= startBenchServer({ usedLog }));
    },
    meter: (running, others) => processorMeter(running.postmaster, others),
    async slices(label, options) {
      const all = { rounds, sliceMs, random, ...options };
      const total = all.rounds * all.variants.length * 2 + 1;
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
