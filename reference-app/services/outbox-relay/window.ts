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
  readonly position: Position;
  attempts: number;
  /** Not before this time. */
  notBefore: number;
}

/** All that is left of an event that was published before an earlier one. */
interface Position {
  readonly xid: string;
  readonly id: string;
  settled: boolean;
}

/**
 * The events between the cursor and the end of what was read. Each aggregate's events form a line of which only the first may be
 * in flight, so that an entry that fails holds back its own aggregate and nothing else.
 */
export class Window {
  readonly #source: string;
  /** In cursor order; the settled ones at its front are behind the cursor. */
  #positions: Position[] = [];
  #settled = 0;
  #pendingBytes = 0;
  readonly #lines = new Map<string, Item[]>();
  /** First of its line, and not in flight; in order of arrival. */
  readonly #ready = new Set<Item>();

  constructor(source: string) {
    this.#source = source;
  }

  /** Events that are not settled yet. */
  get pending(): number {
    return this.#positions.length - this.#settled;
  }

  get pendingBytes(): number {
    return this.#pendingBytes;
  }

  /** Including those that wait for an earlier one to be settled. */
  get size(): number {
    return this.#positions.length;
  }

  add(rows: readonly OutboxRow[]): void {
    for (const { envelope, ...rest } of rows) {
      const position: Position = { xid: rest.xid, id: rest.id, settled: envelope === null };
      this.#positions.push(position);
      if (envelope === null) {
        this.#settled++;
        continue;
      }
      const row = { envelope, ...rest };
      const item: Item = { row, size: entrySize(row, this.#source), position, attempts: 0, notBefore: 0 };
      this.#pendingBytes += item.size;
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
    item.position.settled = true;
    this.#settled++;
    this.#pendingBytes -= item.size;
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
  advance(): Position | undefined {
    let done = 0;
    while (this.#positions[done]?.settled) done++;
    if (done === 0) return undefined;
    const last = this.#positions[done - 1]!;
    this.#positions = this.#positions.slice(done);
    this.#settled -= done;
    return last;
  }
}
