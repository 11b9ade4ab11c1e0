/** The results of a run, as they are stored in results/performance.json, and how their numbers are written. */
import { summarize, type Summary } from '../../load/statistics.ts';
import type { Machine } from '../measure/machine.ts';
import { processorPerOrder, ratesOf, ratios, type Slice } from '../measure/slices.ts';
import type { Curve } from '../rows/curves.ts';
import type { SoakResult } from '../rows/soak.ts';

/** All that the pages show. Each part is replaced by the run that measures it again. */
export interface Results {
  machine: Machine;
  method: Method;
  rows: Record<string, RowResult>;
  soak?: SoakResult & { machine: Machine };
  curves?: { machine: Machine; curves: Curve[] };
}

export interface Method {
  readonly rounds: number;
  readonly sliceMs: number;
  /** Share of the machine's processors that was busy during the run, 0 to 1. */
  readonly machineLoad?: number;
}

export interface RowResult {
  /** The run that measured the row, since a run may measure some of the rows. */
  readonly measured?: { readonly at: string; readonly cores: number };
  /** The compared designs; for the tables and the picture. */
  readonly variants?: readonly VariantResult[];
  /** Figures that have no counterpart in the naive design. */
  readonly figures?: readonly Figure[];
  /** Everything else that was measured. */
  readonly raw: Readonly<Record<string, unknown>>;
  readonly slices?: readonly Slice[];
}

export interface Figure {
  readonly name: string;
  /** The value with its unit. */
  readonly measured: string;
}

/** `services`: the services' own code. `naive`: see pipeline/naive.ts. `part`: the services without one of their parts. */
export type Design = 'services' | 'naive' | 'part';

export interface VariantResult {
  /** The stage and its conditions: `reserve, one hot SKU`. Variants of the same name are compared with each other. */
  readonly row: string;
  readonly variant: string;
  readonly design: Design;
  /** Orders (or events) per second. */
  readonly rate: Summary;
  /** Rate as a multiple of the first naive variant's; missing for that one. */
  readonly ratio?: Summary;
  /** Processor time per order of PostgreSQL and Node.js, in microseconds; missing where the system does not report it. */
  readonly processorMicros?: number | undefined;
  /** The part of Node.js in it. */
  readonly nodeMicros?: number | undefined;
  readonly note?: string;
}

export interface ComparedVariant { readonly name: string; readonly design: Design; readonly note?: string }

/** Makes the results of paired slices; the first variant is the baseline. */
export function compare(row: string, slices: readonly Slice[], variants: readonly ComparedVariant[]): VariantResult[] {
  const baseline = variants[0]!.name;
  return variants.map(({ name, design, note }) => {
    const processor = processorPerOrder(slices, name);
    return {
      row,
      variant: name,
      design,
      rate: summarize(ratesOf(slices, name)),
      ...(name !== baseline && { ratio: summarize(ratios(slices, name, baseline)) }),
      ...(processor && { processorMicros: processor.all, nodeMicros: processor.node }),
      ...(note !== undefined && { note }),
    };
  });
}

/** The variant of the design with the highest median rate. */
export function fastest(variants: readonly VariantResult[], design: Design): VariantResult | undefined {
  return variants.filter((variant) => variant.design === design).sort((a, b) => b.rate.median - a.rate.median)[0];
}

/** The rate of a variant as a multiple of another's; both ratios come from slices beside those of the same baseline. */
export function ratioTo(variant: VariantResult, other: VariantResult): number {
  return (variant.ratio?.median ?? 1) / (other.ratio?.median ?? 1);
}

/** Three digits that mean something, with a comma for thousands. A dash when there is no number. */
export function number(value: number): string {
  if (!Number.isFinite(value)) return '–';
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2;
  return value.toLocaleString('en-US', { maximumFractionDigits: digits });
}

/** `1 connection`, `4 connections`. */
export function plural(count: number, noun: string): string {
  return `${number(count)} ${noun}${count === 1 ? '' : 's'}`;
}

export function perSecond(summary: Summary): string {
  return `${number(summary.median)}/s`;
}

export function times(summary: Summary): string {
  return `${number(summary.median)}× (${number(summary.q1)}–${number(summary.q3)})`;
}
