import { setTimeout as sleep } from 'node:timers/promises';

export interface LoopOptions {
  /** Ends the loop, as `stop` does. @default - only `stop` ends it */
  signal?: AbortSignal;
  /**
   * One round of the work. It answers for how many milliseconds the loop may rest before the next one (`Infinity`: until it is woken), or
   * that it was the last one.
   */
  round(progress: Progress): Promise<number | 'end'>;
  /**
   * Hears of a round that failed, with the number of failures since the last success.
   * @default - an error ends the loop, and `ended` rejects with it
   */
  failed?(error: unknown, failures: number): void;
  /** Hears of the first success after failures. */
  recovered?(): void;
  /**
   * The milliseconds to wait after a number of failures in a row. Nobody wakes the loop from this wait.
   * @default - 100 ms, doubled with each failure up to 5 s, less up to a half at random
   */
  backOff?(failures: number): number;
}

/** The means by which a long round reports its progress. */
export interface Progress {
  /** Ends with the loop: what a round waits for should end with it. */
  readonly signal: AbortSignal;
  /** The round is a success already, whatever comes after. */
  succeeded(): void;
}

export interface Loop {
  readonly ended: Promise<void>;
  /** The next round begins at once; during a round: as soon as that is over, so that what woke the loop is never missed. */
  wake(): void;
  /** Ends the loop after the round that runs, without a rest. */
  stop(): Promise<void>;
}

/** Does the same work again and again until it is stopped, rests between the rounds, and waits longer after each error. */
export function runLoop({ round, failed, recovered, backOff = backOffOf(), signal }: LoopOptions): Loop {
  const stopping = new AbortController();
  const abort = () => stopping.abort();
  let failures = 0;
  let woken = false;
  let endRest = () => {};
  if (signal?.aborted) abort();
  signal?.addEventListener('abort', abort, { once: true });
  stopping.signal.addEventListener('abort', () => endRest(), { once: true });

  function succeeded(): void {
    if (failures > 0) recovered?.();
    failures = 0;
  }

  /** One round and, after an error, the wait; answers how long to rest. */
  async function next(): Promise<number | 'end'> {
    woken = false;
    try {
      const restMs = await round({ signal: stopping.signal, succeeded });
      succeeded();
      return restMs;
    } catch (error) {
      if (!failed) throw error;
      failed(error, ++failures);
      await pause(backOff(failures), stopping.signal);
      return 0;
    }
  }

  // A promise and a timer, since a busy loop rests a thousand times a second.
  function rest(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = ms === Infinity ? undefined : setTimeout(resolve, ms);
      endRest = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  async function run(): Promise<void> {
    while (!stopping.signal.aborted) {
      const ms = await next();
      if (ms === 'end') return;
      if (ms > 0 && !woken && !stopping.signal.aborted) await rest(ms);
    }
  }

  const ended = run().finally(() => signal?.removeEventListener('abort', abort));
  return {
    wake() {
      woken = true;
      endRest();
    },
    async stop() {
      abort();
      await ended;
    },
    ended,
  };
}

/** Waits that double with each failure up to the longest, less up to a half, so that many processes do not come back at once. */
export function backOffOf({ firstMs = 100, maxMs = 5_000 }: { firstMs?: number; maxMs?: number } = {}): (failures: number) => number {
  return (failures) => Math.min(firstMs * 2 ** (failures - 1), maxMs) * (1 - Math.random() / 2);
}

/** Waits, less if the signal ends it. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal }).catch(() => undefined);
}
