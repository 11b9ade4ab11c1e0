import type { Timers } from '../src/schedules/timetable.ts';

/** Timers that stand still until a test lets them go on. */
export class ManualTimers implements Timers {
  #now: number;
  readonly #waiting = new Set<{ readonly at: number; readonly callback: () => void }>();

  constructor(now: string) {
    this.#now = Date.parse(now);
  }

  now(): number { return this.#now; }

  set(callback: () => void, ms: number): () => void {
    const entry = { at: this.#now + ms, callback };
    this.#waiting.add(entry);
    return () => void this.#waiting.delete(entry);
  }

  get waiting(): number { return this.#waiting.size; }

  advance(ms: number): void {
    const end = this.#now + ms;
    for (;;) {
      const [first] = [...this.#waiting].filter(({ at }) => at <= end).sort((a, b) => a.at - b.at);
      if (!first) break;
      this.#waiting.delete(first);
      this.#now = Math.max(this.#now, first.at);
      first.callback();
    }
    this.#now = end;
  }

  /** The machine sleeps: time passes, and no timer is called. */
  sleep(ms: number): void {
    this.#now += ms;
  }
}
