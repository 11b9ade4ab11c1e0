import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SqsEndpoint } from '../endpoint.ts';

/** The endpoint that the rules are checked with, in a folder of its own and with a clock that can be put forward. */
export class QueueEndpoint {
  static async start(options: { readonly maxInFlight?: number } = {}): Promise<QueueEndpoint> {
    const folder = mkdtempSync(join(tmpdir(), 'sqs-conformance-'));
    const time = { ahead: 0 };
    const sqs = await SqsEndpoint.start({ dataDir: folder, region: 'us-east-1', clock: () => Date.now() + time.ahead, ...options });
    return new QueueEndpoint(folder, time, sqs);
  }

  readonly region = 'us-east-1';
  readonly #folder: string;
  readonly #time: { ahead: number };
  readonly #sqs: SqsEndpoint;

  private constructor(folder: string, time: { ahead: number }, sqs: SqsEndpoint) {
    this.#folder = folder;
    this.#time = time;
    this.#sqs = sqs;
  }

  get url(): string {
    return this.#sqs.url;
  }

  advance(ms: number): void {
    this.#time.ahead += ms;
  }

  async stop(): Promise<void> {
    await this.#sqs.stop();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
