/** Gathers what comes one by one, until there are enough or a while has passed. */
export class Gather<T> {
  readonly #enough: number;
  readonly #ms: number;
  readonly #send: (items: T[]) => void;
  #items: T[] = [];
  #timer: NodeJS.Timeout | undefined;

  constructor({ enough, ms, send }: { readonly enough: number; readonly ms: number; readonly send: (items: T[]) => void }) {
    this.#enough = enough;
    this.#ms = ms;
    this.#send = send;
  }

  add(items: readonly T[]): void {
    this.#items.push(...items);
    while (this.#items.length >= this.#enough) this.#send(this.#items.splice(0, this.#enough));
    if (this.#items.length > 0) this.#timer ??= setTimeout(() => this.flush(), this.#ms);
  }

  /** Sends what there is. */
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#items.length > 0) this.#send(this.#items.splice(0));
  }
}
