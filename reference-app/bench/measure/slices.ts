import { clearYoungGeneration } from './garbage.ts';

/** The work that a variant completed in one slice. */
export interface Done {
  /** Orders (or events) whose effect was committed. */
  readonly count: number;
  /** From the start to the last commit that counts. */
  readonly seconds: number;
}

export interface Variant {
  readonly name: string;
  /** Makes the input of the next slice; its time is not measured. */
  prepare?(ms: number): Promise<void>;
  run(ms: number): Promise<Done>;
}

export interface Slice {
  readonly round: number;
  readonly variant: string;
  readonly count: number;
  readonly seconds: number;
  readonly rate: number;
  /** Processor seconds of the database's processes and of this one during the slice; missing where they are not reported. */
  readonly database?: number;
  readonly node?: number;
  /** Share of the machine that anything else used meanwhile, 0 to 1. */
  readonly others?: number;
}

/** Reads the processor seconds that were used so far; undefined where the system does not report them. */
export interface Meter {
  read(): Reading | undefined;
}

export interface Reading {
  readonly database: number;
  readonly node: number;
  /** Seconds of everything that runs, and those that the processors have had. */
  readonly machine?: { readonly busy: number; readonly all: number };
}

/** A slice is measured again when anything else used more of the machine than this. */
const DISTURBED = 0.1;
/** Slices that are measured again, as a share of all: a machine that is always busy would never let a run end. */
const REPEATED = 0.25;
/** Variants between two slices of the baseline. */
const BETWEEN = 2;

export interface PairedOptions {
  readonly baseline: Variant;
  readonly variants: readonly Variant[];
  readonly rounds: number;
  readonly sliceMs: number;
  /** A seeded generator, so that a run can be repeated. */
  readonly random: () => number;
  readonly meter?: Meter;
  onSlice?(slice: Slice): void;
}

/** The number of slices that are measured, without those that are measured again. */
export function slicesOf({ rounds, variants }: Pick<PairedOptions, 'rounds' | 'variants'>): number {
  return rounds * (variants.length + Math.ceil(variants.length / BETWEEN)) + 1;
}

/**
 * A B C A D A …: every slice of a variant stands beside one of the baseline, and has one before and after, so that a machine that becomes
 * slower or faster for a while does so for both. The order of the variants is drawn anew in each round.
 */
export async function pairedSlices(options: PairedOptions): Promise<Slice[]> {
  const { baseline, variants, rounds, sliceMs, random, meter, onSlice } = options;
  const slices: Slice[] = [];
  let repeats = Math.ceil(slicesOf(options) * REPEATED);
  const measure = async (variant: Variant, round: number) => {
    let slice = await runSlice(variant, round, sliceMs, meter);
    for (; (slice.others ?? 0) > DISTURBED && repeats > 0; repeats--) {
      const again = await runSlice(variant, round, sliceMs, meter);
      if (again.others! < slice.others!) slice = again;
    }
    slices.push(slice);
    onSlice?.(slice);
  };
  // Connections, prepared statements, compiled code: the first run of each does not count.
  for (const variant of [baseline, ...variants]) await runSlice(variant, -1, sliceMs / 2, undefined);
  await measure(baseline, 0);
  for (let round = 0; round < rounds; round++) {
    for (const [i, variant] of shuffled(variants, random).entries()) {
      await measure(variant, round);
      if ((i + 1) % BETWEEN === 0 || i + 1 === variants.length) await measure(baseline, round);
    }
  }
  return slices;
}

export async function runSlice(variant: Variant, round: number, ms: number, meter: Meter | undefined): Promise<Slice> {
  await variant.prepare?.(ms);
  clearYoungGeneration();
  const before = meter?.read();
  const { count, seconds } = await variant.run(ms);
  const after = meter?.read();
  return {
    round,
    variant: variant.name,
    count,
    seconds,
    rate: seconds > 0 ? count / seconds : 0,
    ...(before && after && used(before, after)),
  };
}

function used(before: Reading, after: Reading): Pick<Slice, 'database' | 'node' | 'others'> {
  const database = after.database - before.database;
  const node = after.node - before.node;
  if (!before.machine || !after.machine) return { database, node };
  const rest = after.machine.busy - before.machine.busy - database - node;
  // The clock of the machine is coarser than that of a process.
  return { database, node, others: Math.max(0, rest / (after.machine.all - before.machine.all)) };
}

export function shuffled<T>(items: readonly T[], random: () => number): T[] {
  const copy = [...items];
  for (let i = copy.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [copy[i], copy[j]] = [copy[j]!, copy[i]!];
  }
  return copy;
}

/** Each slice of the variant over the mean of its nearest slices of the other, before and after. */
export function ratios(slices: readonly Slice[], variant: string, over: string): number[] {
  const result: number[] = [];
  slices.forEach((slice, at) => {
    if (slice.variant !== variant) return;
    const before = slices.slice(0, at).findLast((other) => other.variant === over);
    const after = slices.slice(at + 1).find((other) => other.variant === over);
    const neighbours = [before, after].filter((other) => other !== undefined);
    const mean = neighbours.reduce((sum, { rate }) => sum + rate, 0) / neighbours.length;
    if (mean > 0) result.push(slice.rate / mean);
  });
  return result;
}

export function ratesOf(slices: readonly Slice[], variant: string): number[] {
  return slices.filter((slice) => slice.variant === variant).map(({ rate }) => rate);
}

/**
 * Processor time per order in microseconds, over the middle half of the variant's slices together: one slice is too short for the clock,
 * and a collection of the whole heap or a flush of the disk falls into some of them.
 */
export function processorPerOrder(slices: readonly Slice[], variant: string): { readonly all: number; readonly node: number } | undefined {
  const costs = slices.filter((slice) => slice.variant === variant && slice.database !== undefined && slice.count > 0)
    .sort((a, b) => (a.database! + a.node!) / a.count - (b.database! + b.node!) / b.count);
  const quarter = Math.floor(costs.length / 4);
  const middle = costs.slice(quarter, costs.length - quarter);
  const count = middle.reduce((sum, slice) => sum + slice.count, 0);
  if (count === 0) return undefined;
  const micros = (read: (slice: Slice) => number) => (middle.reduce((sum, slice) => sum + read(slice), 0) * 1e6) / count;
  const node = micros((slice) => slice.node!);
  return { all: micros((slice) => slice.database!) + node, node };
}
