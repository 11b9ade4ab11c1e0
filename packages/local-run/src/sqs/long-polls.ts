import type { Line } from './line.ts';

/** The client of a request that waits. */
export interface Client {
  /** Nobody reads the answer any more. */
  isGone(): boolean;
  /** Calls back when that is so; returns how to stop listening. */
  onGone(callback: () => void): () => void;
}

interface Waiter {
  readonly wake: () => void;
}

/** SQS itself takes as long for an answer. */
const GATHERING_MS = 10;
const MOST_AT_ONCE = 10;

/**
 * The receives that wait for messages of one queue.
 *
 * A call costs the consumer and this endpoint more than its messages do, so who can wait does not get them one by one: while many come, a
 * long poll ends with ten messages or after a moment. A message that comes alone is not held up. As many polls are woken as there are
 * messages for, and one whose client is gone gets none.
 */
export class LongPolls {
  readonly #line: Line;
  readonly #ms: number;
  readonly #waiters = new Set<Waiter>();
  /** No receive waits any more, since the endpoint stops or the queue was deleted. */
  closed = false;
  #gatheringUntil = 0;
  #timer: NodeJS.Timeout | undefined;
  #scheduled = false;

  /** `ms`: for how long a queue that has just given messages away gathers more. */
  constructor(line: Line, ms = GATHERING_MS) {
    this.#line = line;
    this.#ms = ms;
  }

  get waiting(): number {
    return this.#waiters.size;
  }

  /** Messages have come. */
  notify(): void {
    if (this.#waiters.size === 0) return;
    const wait = this.#wait(MOST_AT_ONCE);
    if (wait > 0) this.#timer ??= setTimeout(() => this.#wake(), wait);
    else this.#wakeAfterThisTurn();
  }

  /** Ends when a long poll that has just come should look for messages; undefined if it should at once. */
  gather(most: number): Promise<void> | undefined {
    const wait = this.#wait(most);
    if (wait <= 0 || this.#line.available === 0) return undefined;
    return new Promise((resolve) => setTimeout(resolve, wait));
  }

  /** Messages were given away. */
  gave(): void {
    this.#gatheringUntil = performance.now() + this.#ms;
  }

  /** Ends when there may be messages, when the time is over, or when the client is gone. */
  wait(ms: number, client: Client): Promise<void> {
    if (client.isGone() || this.closed) return Promise.resolve();
    return new Promise((resolve) => {
      const end = () => {
        clearTimeout(timer);
        stopListening();
        this.#waiters.delete(waiter);
        resolve();
      };
      const waiter: Waiter = { wake: end };
      const timer = setTimeout(end, ms);
      const stopListening = client.onGone(end);
      this.#waiters.add(waiter);
    });
  }

  /** Ends all that wait, with nothing, and those that come. */
  close(): void {
    this.closed = true;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    for (const { wake } of this.#waiters) wake();
  }

  #wait(most: number): number {
    return this.#line.available >= most ? 0 : this.#gatheringUntil - performance.now();
  }

  #wakeAfterThisTurn(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#wake();
    });
  }

  #wake(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    let left = Math.ceil(this.#line.available / MOST_AT_ONCE);
    if (left > 0 && this.#waiters.size > 0) this.gave();
    for (const { wake } of this.#waiters) {
      if (left-- <= 0) break;
      wake();
    }
  }
}
