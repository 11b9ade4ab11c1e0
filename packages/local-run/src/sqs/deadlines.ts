interface Entry<T> {
  readonly at: number;
  readonly item: T;
}

const FEW = 256;

/**
 * Items by the time at which something happens to them: a heap, so that neither a timer per message nor a look at all of them is needed.
 * An item that got another time is put in again; its former entry no longer fits `timeOf` and is passed over.
 */
export class Deadlines<T> {
  readonly #timeOf: (item: T) => number | undefined;
  #heap: Entry<T>[] = [];
  #outdated = 0;

  constructor(timeOf: (item: T) => number | undefined) {
    this.#timeOf = timeOf;
  }

  /** The entries, those that are passed over among them. */
  get size(): number {
    return this.#heap.length;
  }

  add(at: number, item: T): void {
    const heap = this.#heap;
    let index = heap.length;
    heap.push({ at, item });
    for (let parent = (index - 1) >> 1; index > 0 && heap[parent]!.at > at; index = parent, parent = (index - 1) >> 1) {
      [heap[parent], heap[index]] = [heap[index]!, heap[parent]!];
    }
  }

  /** An item that is in here has another time now, or none. When most are so, they are thrown out, or they would keep much in memory. */
  outdated(): void {
    this.#outdated++;
    if (this.#heap.length < FEW || this.#outdated * 2 < this.#heap.length) return;
    // What is sorted is a heap.
    this.#heap = this.#heap.filter((entry) => this.#isCurrent(entry)).sort((one, other) => one.at - other.at);
    this.#outdated = 0;
  }

  /** Takes out what is due. */
  * due(now: number): Generator<T, void> {
    while (this.#heap.length > 0 && this.#heap[0]!.at <= now) {
      const entry = this.#heap[0]!;
      this.#removeFirst();
      if (this.#isCurrent(entry)) yield entry.item;
      else this.#outdated = Math.max(0, this.#outdated - 1);
    }
  }

  isDue(now: number): boolean {
    return this.#heap.length > 0 && this.#heap[0]!.at <= now;
  }

  clear(): void {
    this.#heap = [];
    this.#outdated = 0;
  }

  #isCurrent({ at, item }: Entry<T>): boolean {
    return this.#timeOf(item) === at;
  }

  #removeFirst(): void {
    const heap = this.#heap;
    const last = heap.pop()!;
    if (heap.length === 0) return;
    let index = 0;
    for (;;) {
      let child = 2 * index + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && heap[child + 1]!.at < heap[child]!.at) child++;
      if (heap[child]!.at >= last.at) break;
      heap[index] = heap[child]!;
      index = child;
    }
    heap[index] = last;
  }
}
