import { runSlice, type Variant } from './slices.ts';

export interface ConcurrencyOptions<V extends Variant> {
  readonly sliceMs: number;
  /** The most workers that are tried. @default 64 */
  readonly most?: number;
  /** Makes the naive design with a number of workers. */
  make(workers: number): V | Promise<V>;
  onTry?(name: string): void;
}

export interface Concurrency<V extends Variant> {
  /** The fastest one. */
  readonly best: V;
  /** All that were tried, in the order of their workers. */
  readonly tried: readonly V[];
}

/** The doublings without a gain after which the search ends: more workers would only wait for each other. */
const PATIENCE = 2;

/**
 * Finds the number of workers that suits the naive design best, which depends on the machine: 2, 4, 8 and so on, until more of them
 * bring nothing. One worker is the serial design, which is measured anyway.
 */
export async function bestConcurrency<V extends Variant>(options: ConcurrencyOptions<V>): Promise<Concurrency<V>> {
  const { make, sliceMs, most = 64, onTry } = options;
  const tried: V[] = [];
  let best: V | undefined;
  let bestRate = 0;
  for (let workers = 2, since = 0; workers <= most && since < PATIENCE; workers *= 2) {
    const variant = await make(workers);
    tried.push(variant);
    onTry?.(variant.name);
    // Opens connections, prepares statements.
    await runSlice(variant, -1, sliceMs / 2, undefined);
    const { rate } = await runSlice(variant, -1, sliceMs, undefined);
    since++;
    if (rate > bestRate) [best, bestRate, since] = [variant, rate, 0];
  }
  if (!best) throw new Error('The naive design did nothing at any concurrency.');
  return { best, tried };
}
