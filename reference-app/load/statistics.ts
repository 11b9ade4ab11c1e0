/** Statistics of measured values: the only percentile of the repository, and what is made of it. */

/** The spread of a set of values. All are NaN when there are no values. */
export interface Summary {
  /** Number of values. */
  readonly n: number;
  readonly median: number;
  /** Lower quartile. */
  readonly q1: number;
  /** Upper quartile. */
  readonly q3: number;
  readonly min: number;
  readonly max: number;
}

/** Percentiles of latencies, in milliseconds. All are NaN when there are no values. */
export interface Latencies {
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly max: number;
}

/** A sorted copy, from the smallest to the largest. */
export function sorted(values: Iterable<number>): number[] {
  return [...values].sort((a, b) => a - b);
}

/**
 * The value below which the given share of the values lies, interpolated between its two neighbours (type 7 of Hyndman and Fan, the
 * default of R and NumPy). Undefined when there are no values.
 *
 * @param ascending values in ascending order; see `sorted`
 * @param share from 0 (the smallest value) to 1 (the largest value)
 */
export function percentile(ascending: readonly number[], share: number): number | undefined {
  if (ascending.length === 0) return undefined;
  const at = (ascending.length - 1) * share;
  const below = Math.floor(at);
  const low = ascending[below]!;
  const high = ascending[Math.min(below + 1, ascending.length - 1)]!;
  // A rounding error must not leave the range of the neighbours.
  return Math.min(high, Math.max(low, low + (high - low) * (at - below)));
}

export function summarize(values: readonly number[]): Summary {
  const ascending = sorted(values);
  const at = (share: number) => percentile(ascending, share) ?? NaN;
  return { n: ascending.length, median: at(0.5), q1: at(0.25), q3: at(0.75), min: at(0), max: at(1) };
}

export function latencies(milliseconds: readonly number[]): Latencies {
  const ascending = sorted(milliseconds);
  const at = (share: number) => percentile(ascending, share) ?? NaN;
  return { p50: at(0.5), p90: at(0.9), p99: at(0.99), max: at(1) };
}

export function median(values: readonly number[]): number {
  return summarize(values).median;
}

/** Least-squares slope of y over x: the drift of a figure per unit of x. */
export function slope(points: readonly (readonly [number, number])[]): number {
  const n = points.length;
  if (n < 2) return 0;
  const meanX = points.reduce((sum, [x]) => sum + x, 0) / n;
  const meanY = points.reduce((sum, [, y]) => sum + y, 0) / n;
  const above = points.reduce((sum, [x, y]) => sum + (x - meanX) * (y - meanY), 0);
  const below = points.reduce((sum, [x]) => sum + (x - meanX) ** 2, 0);
  return below === 0 ? 0 : above / below;
}
