import { messageOf } from './errors.ts';
import type { LocalRunOptions, ProgressStep } from './local-run.ts';

/** The steps of a run, reported as they go, and the stops that belong to them. */
export class Steps {
  readonly #options: Pick<LocalRunOptions, 'onProgress' | 'signal'>;
  readonly #stops: { readonly name: string; readonly stop: () => unknown }[] = [];
  #stopping: Promise<void> | undefined;

  constructor(options: Pick<LocalRunOptions, 'onProgress' | 'signal'>) {
    this.#options = options;
  }

  async run<T>(name: string, work: () => Promise<T>, detail?: (result: T) => string | undefined): Promise<T> {
    this.#options.signal?.throwIfAborted();
    return this.#report(name, work, detail);
  }

  /** Calls `stop` when the run ends, after the stops that were added later. */
  stopLater(name: string, stop: () => unknown): void {
    this.#stops.push({ name, stop });
  }

  /** Stops everything. One stop that fails does not keep the others from theirs. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop(): Promise<void> {
    const failures: string[] = [];
    for (const { name, stop } of this.#stops.reverse()) {
      await this.#report(`stop ${name}`, async () => stop()).catch((error: unknown) => failures.push(`${name}: ${messageOf(error)}`));
    }
    if (failures.length > 0) throw new Error(`Not everything stopped well: ${failures.join('; ')}`);
  }

  /** Does the work in any case: an error of `onProgress` is thrown when it is done. */
  async #report<T>(name: string, work: () => Promise<T>, detail?: (result: T) => string | undefined): Promise<T> {
    const began = performance.now();
    const errors: unknown[] = [];
    const show = (step: Omit<ProgressStep, 'name'>) => {
      try {
        this.#options.onProgress?.({ name, ...step });
      } catch (error) {
        errors.push(error);
      }
    };
    show({ state: 'started' });
    let result: T;
    try {
      result = await work();
      const words = detail?.(result);
      show({ state: 'done', ms: performance.now() - began, ...(words && { detail: words }) });
    } catch (error) {
      show({ state: 'failed', ms: performance.now() - began });
      throw error;
    }
    if (errors.length > 0) throw errors[0];
    return result;
  }
}
