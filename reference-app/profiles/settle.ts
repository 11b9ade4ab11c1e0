import { setTimeout as sleep } from 'node:timers/promises';

/** A message that a killed consumer had in hand comes again only after its visibility timeout. */
const STALL_MS = 90_000;
const POLL_MS = 100;

export interface SettleOptions<P> {
  /** The wait ends when nothing has moved for so long, in milliseconds. @default 90000 */
  readonly stallMs?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: P) => void;
}

/** One look at a system. */
export interface Look<P> {
  readonly progress: P;
  /** Set when nothing is on its way. Two looks in a row with the same value prove that nothing moved between them. */
  readonly quiet: string | undefined;
  /** Everything that changes while something moves. */
  readonly moving: unknown;
}

/** Waits until nothing is on its way any more. Returns false when nothing moved for a while, or when the signal was aborted. */
export async function settle<P>(look: () => Promise<Look<P>>, options: SettleOptions<P>): Promise<boolean> {
  const { stallMs = STALL_MS, signal, onProgress } = options;
  let deadline = performance.now() + stallMs;
  let movedBefore = '';
  let quietBefore: string | undefined;
  while (!signal?.aborted) {
    const { progress, quiet, moving } = await look();
    onProgress?.(progress);
    if (quiet !== undefined && quiet === quietBefore) return true;
    quietBefore = quiet;
    const moved = JSON.stringify(moving);
    if (moved !== movedBefore) deadline = performance.now() + stallMs;
    movedBefore = moved;
    if (performance.now() > deadline) return false;
    await sleep(POLL_MS, undefined, { signal }).catch(() => undefined);
  }
  return false;
}
