/** A commit takes a few milliseconds; what takes longer waits for something that those behind it need not wait for. */
const SLOW_MS = 100;

/**
 * Limits the transactions that run at once. One starts beside another only if enough work waits, since few and large ones cost less than
 * many small ones, or if those that run are slow.
 */
export class Slots {
  readonly #most: number;
  readonly #worth: number;
  readonly #freed: () => void;
  #running = 0;
  #slow = 0;

  /** `freed` is called whenever `isFree` may have become true for what waits. */
  constructor(most: number, worth: number, freed: () => void) {
    this.#most = most;
    this.#worth = worth;
    this.#freed = freed;
  }

  /** Whether as many as are waiting should start another transaction. */
  isFree(waiting: number): boolean {
    return this.#running < this.#most && waiting >= (this.#running > this.#slow ? this.#worth : 1);
  }

  /** The number of transactions that may still start. */
  get free(): number {
    return this.#most - this.#running;
  }

  async run(work: () => Promise<void>): Promise<void> {
    this.#running++;
    let slow = false;
    const timer = setTimeout(() => {
      slow = true;
      this.#slow++;
      this.#freed();
    }, SLOW_MS);
    try {
      await work();
    } finally {
      clearTimeout(timer);
      this.#running--;
      if (slow) this.#slow--;
      this.#freed();
    }
  }
}
