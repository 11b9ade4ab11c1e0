/** A map that forgets what was not asked for since much else was: it holds at most `capacity`, in two generations. */
export class Recent<V> {
  readonly #half: number;
  readonly #weightOf: (value: V) => number;
  #young = new Map<string, V>();
  #old = new Map<string, V>();
  /** The weight of the young ones. */
  #weight = 0;

  /** @param weightOf the share of an entry in the capacity, at most half of it */
  constructor(capacity: number, weightOf: (value: V) => number) {
    this.#half = capacity / 2;
    this.#weightOf = weightOf;
  }

  get size(): number {
    return this.#young.size + this.#old.size;
  }

  get(key: string): V | undefined {
    const young = this.#young.get(key);
    if (young !== undefined) return young;
    const old = this.#old.get(key);
    if (old !== undefined) this.set(key, old);
    return old;
  }

  set(key: string, value: V): void {
    this.#old.delete(key);
    const known = this.#young.get(key);
    if (known !== undefined) this.#weight -= this.#weightOf(known);
    this.#weight += this.#weightOf(value);
    if (this.#weight > this.#half) {
      this.#old = this.#young;
      this.#old.delete(key);
      this.#young = new Map();
      this.#weight = this.#weightOf(value);
    }
    this.#young.set(key, value);
  }
}
