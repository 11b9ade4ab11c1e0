import { AppendLog, readLines, repair, replaceFile } from './append-log.ts';
import type { Log } from '../log.ts';

/** A delivery that has not come to its end: everything that is needed to go on with it, also by a later process. */
export interface Delivery {
  readonly id: string;
  readonly eventId: string;
  readonly detailType: string;
  readonly busName: string;
  readonly ruleName: string;
  readonly ruleArn: string;
  readonly targetId: string;
  readonly targetArn: string;
  /** The body that the target gets. */
  readonly body: string;
  /** The event as it was published, which is what a dead-letter queue gets. */
  readonly event: string;
  readonly messageGroupId?: string;
  readonly deadLetterArn?: string;
  readonly maximumRetryAttempts: number;
  readonly maximumEventAgeInSeconds: number;
  readonly acceptedAt: number;
  attempts: number;
  /** Set once the target has been given up and the event is on its way to the dead-letter queue. */
  deadLetter?: { readonly attributes: Record<string, string>; attempts: number };
}

/** Keeps the waiting deliveries in a file, as `put` and `done` lines that the next start cancels out. Without a file it keeps nothing. */
export class RetryJournal {
  static async open(file: string | undefined, log: Log): Promise<{ journal: RetryJournal; waiting: Delivery[] }> {
    if (file === undefined) return { journal: new RetryJournal(undefined), waiting: [] };
    await repair(file);
    const waiting = new Map<string, Delivery>();
    for await (const line of readLines(file)) {
      try {
        const { put, done } = JSON.parse(line) as { put?: Delivery; done?: string };
        if (put !== undefined) waiting.set(put.id, put);
        if (done !== undefined) waiting.delete(done);
      } catch {
        log('warn', `EventBridge: left out an unreadable line of ${file}`);
      }
    }
    await replaceFile(
      file,
      [...waiting.values()].map(put => JSON.stringify({ put })),
    );
    const journal = new RetryJournal(await AppendLog.open(file));
    for (const id of waiting.keys()) journal.#live.add(id);
    return { journal, waiting: [...waiting.values()] };
  }

  readonly #log: AppendLog | undefined;
  readonly #live = new Set<string>();

  private constructor(log: AppendLog | undefined) {
    this.#log = log;
  }

  get durable(): boolean {
    return this.#log !== undefined;
  }

  async put(delivery: Delivery): Promise<void> {
    this.#live.add(delivery.id);
    await this.#log?.append(JSON.stringify({ put: delivery }));
  }

  async done({ id }: Delivery): Promise<void> {
    if (!this.#live.delete(id) || this.#log === undefined) return;
    await this.#log.append(JSON.stringify({ done: id }));
  }

  async close(): Promise<void> {
    await this.#log?.close();
  }
}
