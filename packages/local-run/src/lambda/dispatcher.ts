import { setTimeout as delay } from 'node:timers/promises';
import { Environment, InvocationError } from './environment.ts';
import type { Source } from './source.ts';
import type { FunctionDefinition, FunctionError, Invocation, Outcome } from './types.ts';

/** A queue that does not answer is asked again after this time. */
const PAUSE_MS = 500;

export interface DispatcherEvents {
  ready(replica: number): void;
  initError(replica: number, error: FunctionError): void;
  timedOut(replica: number): void;
  /** The function has begun to fail. Reported again only after a success. */
  failing(sentence: string): void;
  /** A line for the log file of the replica. */
  write(replica: number, line: object): void;
}

/** Brings the events of one function from their sources to its environments. */
export class Dispatcher {
  readonly #fn: FunctionDefinition;
  readonly #events: DispatcherEvents;
  readonly #environments = new Map<number, Environment>();
  readonly #stopping = new AbortController();
  readonly #loops: Promise<void>[] = [];
  #failing = false;
  /** Resolved when there is another environment that waits for work, or one less. */
  #change = Promise.withResolvers<void>();

  constructor(fn: FunctionDefinition, events: DispatcherEvents) {
    this.#fn = fn;
    this.#events = events;
  }

  /** From now on the function gets the events of this source, too. */
  add(source: Source<unknown>): void {
    const polls = { open: 0 };
    for (let loop = 0; loop < Math.min(this.#fn.concurrency, source.concurrency); loop++) this.#loops.push(this.#serve(source, polls));
  }

  /** The port of the Runtime API of this replica. */
  async open(replica: number): Promise<number> {
    const known = this.#environments.get(replica);
    if (known) return known.port;
    const environment = await Environment.open({
      functionArn: this.#fn.arn,
      timeoutSeconds: this.#fn.timeoutSeconds,
      onReady: () => this.#events.ready(replica),
      onIdle: () => this.#wake(),
      onInitError: (error) => this.#events.initError(replica, error),
      onTimeout: () => this.#events.timedOut(replica),
    });
    this.#environments.set(replica, environment);
    return environment.port;
  }

  ended(replica: number): void {
    this.#environments.get(replica)?.ended();
    this.#wake();
  }

  /** Takes no more events, and ends when those in hand are done. */
  async drain(): Promise<void> {
    this.#stopping.abort();
    this.#wake();
    await Promise.all(this.#loops);
  }

  async #serve(source: Source<unknown>, polls: { open: number }): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      try {
        const batch = await this.#receive(source, polls);
        if (batch !== undefined) await this.#handle(source, batch);
      } catch (error) {
        if (signal.aborted) return;
        this.#events.write(0, { level: 'error', msg: 'polling failed', error: String(error) });
        await delay(PAUSE_MS, undefined, { signal }).catch(() => undefined);
      }
    }
  }

  /** While the function cannot run, or has enough to do, its messages stay in their queue. */
  async #receive(source: Source<unknown>, polls: { open: number }): Promise<unknown> {
    const { signal } = this.#stopping;
    const opened = await this.#until(() => {
      if (signal.aborted) return false;
      if ([...this.#environments.values()].filter(({ idle }) => idle).length <= polls.open) return undefined;
      // At once, before another loop looks.
      polls.open++;
      return true;
    });
    if (opened !== true) return undefined;
    try {
      return await source.receive(signal);
    } finally {
      polls.open--;
    }
  }

  async #handle(source: Source<unknown>, batch: unknown): Promise<void> {
    const find = () => [...this.#environments].find(([, environment]) => environment.idle);
    let found = await this.#until(find);
    // Another batch may have got it meanwhile.
    while (found && !found[1].idle) found = await this.#until(find);
    // Stopped without an environment: the batch comes back after its visibility timeout.
    if (!found) return;
    const [replica, environment] = found;
    const outcome = await invoke(environment, source.invocation(batch));
    const log = (line: object) => this.#events.write(replica, line);
    const failed = 'error' in outcome;
    if (failed) {
      const { errorType, errorMessage, stackTrace = [] } = outcome.error;
      log({ level: 'error', msg: 'invocation failed', error: [`${errorType}: ${errorMessage}`, ...stackTrace].join('\n') });
      if (!this.#failing) this.#events.failing(`${this.#fn.title} fails: ${errorType}: ${errorMessage}. Its log has the rest.`);
    }
    this.#failing = failed;
    await source.settle(batch, outcome, log);
  }

  /** Waits until something is found. Undefined when the function is stopped and none of its environments is left. */
  async #until<T>(find: () => T | undefined): Promise<T | undefined> {
    for (;;) {
      const found = find();
      if (found !== undefined) return found;
      if (this.#stopping.signal.aborted && ![...this.#environments.values()].some(({ alive }) => alive)) return undefined;
      await this.#change.promise;
    }
  }

  #wake(): void {
    const { resolve } = this.#change;
    this.#change = Promise.withResolvers<void>();
    resolve();
  }
}

async function invoke(environment: Environment, invocation: Invocation): Promise<Outcome> {
  try {
    return { answer: await environment.invoke(invocation) };
  } catch (error) {
    if (error instanceof InvocationError) return { error: error.given };
    throw error;
  }
}
