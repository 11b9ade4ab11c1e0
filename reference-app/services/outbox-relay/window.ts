import { entrySize, MAX_BYTES, MAX_ENTRIES, type OutboxEvent } from './publisher.ts';

export interface OutboxRow extends Omit<OutboxEvent, 'envelope'> {
  /** Null for a row of another shard. */
  readonly envelope: string | null;
  readonly xid: string;
  readonly id: string;
  readonly eventId: string;
  readonly aggregateId: string;
}

export interface Item {
  readonly row: OutboxRow & OutboxEvent;
  readonly size: number;
  attempts: number;
  /** Not before this time. */
  notBefore: number;
  settled: boolean;
}

/**
 * The events between the cursor and the end of what was read. Each aggregate's events form a line of which only the first may be
 * in flight, so that an entry that fails holds back its own aggregate and nothing else.
 */
export class Window {
  readonly #source: string;
  /** In cursor order; the settled ones at its front are behind the cursor. */
  #items: (Item | { readonly row: OutboxRow; readonly settled: true })[] = [];
  #settled = 0;
  readonly #lines = new Map<string, Item[]>();
  /** First of its line, and not in flight; in order of arrival. */
  readonly #ready = new Set<Item>();

  constructor(source: string) {
    this.#source = source;
  }

  /** Events that are not settled yet. */
  get pending(): number {
    return this.#items.length - this.#settled;
  }

  /** Including those that wait for an earlier one to be settled. */
  get size(): number {
    return this.#items.length;
  }

  add(rows: readonly OutboxRow[]): void {
    for (const { envelope, ...rest } of rows) {
      if (envelope === null) {
        this.#items.push({ row: { envelope, ...rest }, settled: true });
        this.#settled++;
        continue;
      }
      const row = { envelope, ...rest };
      const item: Item = { row, size: entrySize(row, this.#source), attempts: 0, notBefore: 0, settled: false };
      this.#items.push(item);
      const line = this.#lines.get(row.aggregateId);
      if (line) {
        line.push(item);
      } else {
        this.#lines.set(row.aggregateId, [item]);
        this.#ready.add(item);
      }
    }
  }

  /** The next call: at most ten events, each of another aggregate, within the size limit. Empty when all have to wait. */
  take(now: number): Item[] {
    const call: Item[] = [];
    let bytes = 0;
    for (const item of this.#ready) {
      if (item.notBefore > now) continue;
      // One that is too large by itself is sent alone, for the bus to refuse.
      if (call.length > 0 && bytes + item.size > MAX_BYTES) continue;
      call.push(item);
      bytes += item.size;
      this.#ready.delete(item);
      if (call.length === MAX_ENTRIES) break;
    }
    return call;
  }

  /** Published or refused for good: the next of its aggregate may go. */
  settle(item: Item): void {
    item.settled = true;
    this.#settled++;
    const line = this.#lines.get(item.row.aggregateId)!;
    line.shift();
    const next = line[0];
    if (next) {
      this.#ready.add(next);
    } else {
      this.#lines.delete(item.row.aggregateId);
    }
  }

  /** Not published: the same event again, later. */
  retry(item: Item, notBefore: number): void {
    item.attempts++;
    item.notBefore = notBefore;
    this.#ready.add(item);
  }

  /** When the first of the waiting events may go; undefined when none waits. */
  nextAt(): number | undefined {
    let earliest: number | undefined;
    for (const { notBefore } of this.#ready) earliest = Math.min(earliest ?? notBefore, notBefore);
    return earliest;
  }

  /** Drops the settled events at the front and returns the last of them: up to there everything is done. */
  advance(): OutboxRow | undefined {
    let done = 0;
    while (this.#items[done]?.settled) done++;
    if (done === 0) return undefined;
    const last = this.#items[done - 1]!.row;
    this.#items = this.#items.slice(done);
    this.#settled -= done;
    return last;
  }
}
