import type { Archive } from './archive.ts';
import { AwsError } from './errors.ts';
import type { ReplayInput } from './types.ts';

export type ReplayState = 'STARTING' | 'RUNNING' | 'CANCELLING' | 'COMPLETED' | 'CANCELLED' | 'FAILED';

const IN_PARALLEL = 50;

/** Puts events of an archive again. Like AWS it promises no order: several are under way at once. */
export class Replay {
  readonly input: ReplayInput;
  readonly startedAt: number;
  state: ReplayState = 'STARTING';
  stateReason: string | undefined;
  endedAt: number | undefined;
  lastEventTime: number | undefined;
  readonly #window: { readonly start: number; readonly end: number };
  readonly #archive: Archive;
  readonly #publish: (body: string) => Promise<void>;
  readonly #clock: () => number;
  #running: Promise<void> | undefined;

  constructor(
    { input, start, end, clock }: { input: ReplayInput; start: number; end: number; clock: () => number },
    archive: Archive,
    publish: (body: string) => Promise<void>,
  ) {
    this.input = input;
    this.#window = { start, end };
    this.#archive = archive;
    this.#publish = publish;
    this.#clock = clock;
    this.startedAt = clock();
  }

  run(): Promise<void> {
    this.#running ??= this.#run();
    return this.#running;
  }

  async #run(): Promise<void> {
    const underWay = new Set<Promise<void>>();
    try {
      for await (const { time, body } of this.#archive.events(this.#window.start, this.#window.end)) {
        if (this.state === 'CANCELLING') break;
        this.state = 'RUNNING';
        this.lastEventTime = time;
        const one = this.#publish(body).finally(() => underWay.delete(one));
        underWay.add(one);
        if (underWay.size >= IN_PARALLEL) await Promise.race(underWay);
      }
      await Promise.all(underWay);
      this.state = this.state === 'CANCELLING' ? 'CANCELLED' : 'COMPLETED';
    } catch (error) {
      await Promise.allSettled(underWay);
      this.state = 'FAILED';
      this.stateReason = error instanceof Error ? error.message : String(error);
      throw error;
    } finally {
      this.endedAt = this.#clock();
    }
  }

  cancel(): void {
    if (this.state !== 'STARTING' && this.state !== 'RUNNING') {
      throw new AwsError('IllegalStatusException', `Replay ${this.input.ReplayName} is not in a valid state for this operation.`);
    }
    this.state = 'CANCELLING';
  }

  async stop(): Promise<void> {
    if (this.endedAt === undefined) this.state = 'CANCELLING';
    await this.#running?.catch(() => {});
  }
}
