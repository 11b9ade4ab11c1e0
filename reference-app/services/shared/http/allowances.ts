import { Recent } from './recent.ts';

/** Work that is not paid for yet, and the time of that statement by the clock of `performance`. */
interface Debt {
  readonly work: number;
  readonly at: number;
}

/**
 * Gives each key an even amount of work per second (a leaky bucket of one second). What has been let in may cost more than is left, since
 * its cost is known late: the rest is a debt, and nothing more is let in before it is paid.
 */
export class Allowances {
  readonly #perSecond: number;
  readonly #debts: Recent<Debt>;

  /** @param keys the most that are remembered */
  constructor(perSecond: number, keys: number) {
    this.#perSecond = perSecond;
    this.#debts = new Recent(keys, () => 1);
  }

  /**
   * Undefined if it is let in, else the seconds until something is.
   * @param more the further cost of what has been let in already
   */
  take(key: string, more?: number): number | undefined {
    const at = performance.now();
    const last = this.#debts.get(key);
    const debt = last ? Math.max(0, last.work - (at - last.at) / 1_000 * this.#perSecond) : 0;
    // Its first part may have been the last one that was left.
    const isFree = more === undefined ? debt <= this.#perSecond - 1 : debt <= this.#perSecond;
    if (!isFree) return (debt - this.#perSecond + 1) / this.#perSecond;
    this.#debts.set(key, { work: debt + (more ?? 1), at });
    return undefined;
  }
}
