import type { Summary } from './statistics.ts';
import type { Slice } from './slices.ts';

/** One line of the table. */
export interface Figure {
  readonly id: string;
  readonly name: string;
  /** How naive does, in words. */
  readonly naive: string;
  /** The value as a number, to be compared with the targets. */
  readonly value: number;
  /** The value in words, with its quartiles. */
  readonly text: string;
  readonly must?: Target;
  readonly stretch?: Target;
  readonly note?: string;
}

export interface Target {
  readonly at: number;
  /** Whether larger or smaller is better. */
  readonly better: 'more' | 'less';
  readonly text: string;
}

export interface RowResult {
  readonly figures: readonly Figure[];
  /** Everything measured, for the JSON file. */
  readonly raw: Readonly<Record<string, unknown>>;
  readonly slices?: readonly Slice[];
  /** What the variants did, for the second table and the picture. */
  readonly variants?: readonly VariantResult[];
}

export interface VariantResult {
  readonly row: string;
  readonly variant: string;
  readonly rate: Summary;
  readonly ratio?: Summary;
  readonly processorMicros?: number | undefined;
  readonly note?: string;
}

export const atLeast = (at: number, unit = '×'): Target => ({ at, better: 'more', text: `≥ ${number(at)}${unit}` });
export const atMost = (at: number, unit: string): Target => ({ at, better: 'less', text: `≤ ${number(at)} ${unit}` });

export function reaches(value: number, target: Target): boolean {
  return target.better === 'more' ? value >= target.at : value <= target.at;
}

export function number(value: number): string {
  if (!Number.isFinite(value)) return '–';
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2;
  return value.toLocaleString('en-US', { maximumFractionDigits: digits });
}

export function perSecond(summary: Summary): string {
  return `${number(summary.median)}/s`;
}

export function times(summary: Summary): string {
  return `${number(summary.median)}× (${number(summary.q1)}–${number(summary.q3)})`;
}
