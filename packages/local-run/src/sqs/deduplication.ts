import type { QueueJournal } from './journal.ts';

export interface KnownMessage {
  readonly messageId: string;
  readonly sequenceNumber: string | undefined;
}

const DEDUPLICATION_MS = 5 * 60_000;

/** The messages that a FIFO queue does not take a second time within five minutes, also after a restart. */
export class Deduplication {
  readonly #queue: string;
  readonly #journal: QueueJournal;
  readonly #clock: () => number;
  readonly #seen: Map<string, KnownMessage & { readonly at: number }>;

  constructor(queue: string, journal: QueueJournal, clock: () => number) {
    this.#queue = queue;
    this.#journal = journal;
    this.#clock = clock;
    this.#seen = new Map(journal.deduplications(queue).map(({ id, ...message }) => [id, message]));
  }

  find(id: string): KnownMessage | undefined {
    const known = this.#seen.get(id);
    return known && known.at > this.#clock() - DEDUPLICATION_MS ? known : undefined;
  }

  remember(id: string, { messageId, sequenceNumber }: { readonly messageId: string; readonly sequenceNumber?: string | undefined }): void {
    const at = this.#clock();
    // Oldest first, as they were put in.
    for (const [old, known] of this.#seen) {
      if (known.at > at - DEDUPLICATION_MS) break;
      this.#seen.delete(old);
    }
    this.#seen.delete(id);
    this.#seen.set(id, { messageId, sequenceNumber, at });
    this.#journal.saveDeduplication(this.#queue, { id, messageId, sequenceNumber, at }, at - DEDUPLICATION_MS);
  }
}
