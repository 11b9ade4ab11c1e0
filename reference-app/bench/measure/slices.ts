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
}

/** Reads the processor seconds that were used so far; undefined where the system does not report them. */
export interface Meter {
  read(): { readonly database: number; readonly node: number } | undefined;
}

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

/**
 * A B A C A …: every slice of a variant stands between two of the baseline, so that a machine that becomes slower or
 * faster for a while does so for both. The order of the variants is drawn anew in each round.
 */
export async function pairedSlices({ baseline, variants, rounds, sliceMs, random, meter, onSlice }: PairedOptions): Promise<Slice[]> {
  const slices: Slice[] = [];
  const measure = async (variant: Variant, round: number) => {
    const slice = await runSlice(variant, round, sliceMs, meter);
    slices.push(slice);
    onSlice?.(slice);
  };
  // Connections, prepared statements, compiled code: the first run of each does not count.
  for (const variant of [baseline, ...variants]) await runSlice(variant, -1, sliceMs / 2, undefined);
  await measure(baseline, 0);
  for (let round = 0; round < rounds; round++) {
    for (const variant of shuffled(variants, random)) {
      await measure(variant, round);
      await measure(baseline, round);
    }
  }
  return slices;
}

export async function runSlice(variant: Variant, round: number, ms: number, meter: Meter | undefined): Promise<Slice> {
  await variant.prepare?.(ms);
  const before = meter?.read();
  const { count, seconds } = await variant.run(ms);
  const after = meter?.read();
  return {
    round,
    variant: variant.name,
    count,
    seconds,
    rate: seconds > 0 ? count / seconds : 0,
    ...(before && after && { database: after.database - before.database, node: after.node - before.node }),
  };
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

/** Processor time per order in microseconds, over all slices of the variant together: one slice is too short for the clock. */
export function processorPerOrder(slices: readonly Slice[], variant: string): { readonly all: number; readonly node: number } | undefined {
  const own = slices.filter((slice) => slice.variant === variant && slice.database !== undefined);
  const count = own.reduce((sum, slice) => sum + slice.count, 0);
  if (count === 0) return undefined;
  const micros = (read: (slice: Slice) => number) => (own.reduce((sum, slice) => sum + read(slice), 0) * 1e6) / count;
  const node = micros((slice) => slice.node!);
  return { all: micros((slice) => slice.database!) + node, node };
}
