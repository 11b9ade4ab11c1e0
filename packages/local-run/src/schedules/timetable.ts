import type { Occurrences } from './expression.ts';

/** The clock of a timetable, which a test can drive. */
export interface Timers {
  /** Milliseconds since 1970. */
  now(): number;
  /** Calls back after a number of milliseconds. Returns a function that prevents it. */
  set(callback: () => void, ms: number): () => void;
}

const REAL_TIMERS: Timers = {
  now: () => Date.now(),
  set: (callback, ms) => {
    const timer = setTimeout(callback, ms);
    return () => clearTimeout(timer);
  },
};

/** A timer is set anew at least this often, since a machine that sleeps stops them and a timer cannot be longer than 24 days. */
const LONGEST_TIMER_MS = 60_000;

interface Entry {
  readonly occurrences: Occurrences;
  readonly fire: (time: number) => Promise<void>;
  next: number | undefined;
  cancel?: () => void;
}

/** Fires schedules at their times, while it runs. A time that passes while the machine sleeps counts once when it wakes. */
export class Timetable {
  readonly #timers: Timers;
  readonly #onError: (name: string, error: unknown) => void;
  readonly #entries = new Map<string, Entry>();
  readonly #inHand = new Set<Promise<void>>();
  #running = false;

  constructor(onError: (name: string, error: unknown) => void, timers = REAL_TIMERS) {
    this.#onError = onError;
    this.#timers = timers;
  }

  now(): number {
    return this.#timers.now();
  }

  /** Adds a schedule, or replaces the one with this name. `since` is the earliest time at which it fires. */
  set(name: string, occurrences: Occurrences, fire: (time: number) => Promise<void>, since = this.now()): void {
    this.delete(name);
    const entry: Entry = { occurrences, fire, next: occurrences.after(since - 1) };
    this.#entries.set(name, entry);
    if (this.#running) this.#wait(name, entry);
  }

  delete(name: string): void {
    this.#entries.get(name)?.cancel?.();
    this.#entries.delete(name);
  }

  /** The time at which it fires next, in milliseconds since 1970. */
  next(name: string): number | undefined {
    return this.#entries.get(name)?.next;
  }

  /** Fires a schedule now, beside its times. */
  async fire(name: string): Promise<void> {
    await this.#entries.get(name)?.fire(this.now());
  }

  start(): void {
    this.#running = true;
    for (const [name, entry] of this.#entries) this.#wait(name, entry);
  }

  /** Fires nothing more, and waits for what was fired. */
  async stop(): Promise<void> {
    this.#running = false;
    for (const { cancel } of this.#entries.values()) cancel?.();
    await Promise.all(this.#inHand);
  }

  #wait(name: string, entry: Entry): void {
    if (entry.next === undefined) return;
    const ms = Math.max(0, Math.min(LONGEST_TIMER_MS, entry.next - this.now()));
    entry.cancel = this.#timers.set(() => this.#wake(name, entry), ms);
  }

  #wake(name: string, entry: Entry): void {
    const now = this.now();
    if (entry.next !== undefined && entry.next <= now) {
      const fired = entry.fire(entry.next).catch((error: unknown) => this.#onError(name, error)).finally(() => this.#inHand.delete(fired));
      this.#inHand.add(fired);
      entry.next = entry.occurrences.after(now);
    }
    this.#wait(name, entry);
  }
}
