import type { Gathering } from './gathering.ts';
import { entrySize, MAX_BYTES, MAX_ENTRIES, type Entry } from './publisher.ts';
import { bundleHead, bundleOf, bundleOverhead, routingOf } from '../shared/events/index.ts';

export interface OutboxRow {
  readonly xid: string;
  readonly id: string;
  readonly eventId: string;
  readonly aggregateId: string;
  readonly detailType: string;
  /** Null for a row of another shard. */
  readonly envelope: string | null;
  /** The reason why it must not be sent. */
  readonly problem?: string | undefined;
  readonly time: Date;
}

export interface Item {
  readonly row: OutboxRow & { readonly envelope: string };
  /** The bytes of the event itself. */
  readonly bytes: number;
  /** The bytes of an entry that has nothing else. */
  readonly size: number;
  /** The beginning of its bundle; without one, it goes as it is. */
  readonly head: string | undefined;
  /** The others with which it gathers; undefined if it goes with the next call. */
  readonly group: Group | undefined;
  readonly position: Position;
  /** Failures, for the time until the next try. */
  attempts: number;
  /** Failures that may be its own fault. */
  suspicions: number;
  /** Not before this time. */
  notBefore: number;
  /** Not in the company of others: an entry with it was refused. */
  alone: boolean;
}

/** Events that go in one entry. */
export interface Parcel extends Entry {
  readonly items: readonly Item[];
}

/** Events that gather for the same time; so their consumers get them together. */
interface Group {
  readonly ms: number;
  /** First of their lines, and neither ready nor in flight. */
  readonly items: Set<Item>;
  bytes: number;
  /** They wait until this time, unless a call is full of them before. */
  until: number;
}

/** All that is left of an event that was published before an earlier one. */
interface Position {
  readonly xid: string;
  readonly id: string;
  settled: boolean;
}

/**
 * The events between the cursor and the end of what was read. Each aggregate's events form a line of which only the first may be
 * in flight, so that an entry that fails holds back the aggregates in it and nothing else.
 */
export class Window {
  readonly #source: string;
  readonly #bundleBytes: number;
  readonly #gathering: readonly Gathering[];
  /** The groups by their milliseconds. */
  readonly #groups = new Map<number, Group>();
  /** The group of a detail type and head, of which there are few. */
  readonly #groupOf = new Map<string, Group | undefined>();
  /** In cursor order; the settled ones at its front are behind the cursor. */
  #positions: Position[] = [];
  #settled = 0;
  #pendingBytes = 0;
  readonly #lines = new Map<string, Item[]>();
  /** First of its line, and not in flight; in order of arrival. */
  readonly #ready = new Set<Item>();

  /**
   * @param source of the entries
   * @param bundleBytes to which an entry is filled with events; 0 for entries that are one event
   * @param gathering events that wait for `release`, if they can share an entry
   */
  constructor(source: string, bundleBytes = 0, gathering: readonly Gathering[] = []) {
    this.#gathering = gathering;
    this.#source = source;
    this.#bundleBytes = bundleBytes;
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
      const item = this.#itemOf({ envelope, ...rest }, position);
      this.#pendingBytes += item.size;
      const line = this.#lines.get(rest.aggregateId);
      if (line) {
        line.push(item);
        // A client that waits for it must not wait for the gathering before it.
        if (line[0]!.group?.items.has(line[0]!)) this.#queue(line);
      } else {
        this.#lines.set(rest.aggregateId, [item]);
        this.#queue([item]);
      }
    }
  }

  /** The first of a line waits as long as the least patient of the line. */
  #queue(line: readonly Item[]): void {
    const [first] = line as [Item];
    const { group } = line.reduce((least, item) => ((item.group?.ms ?? 0) < (least.group?.ms ?? 0) ? item : least));
    if (first.group?.items.delete(first)) first.group.bytes -= first.size;
    if (group && group === first.group) {
      group.items.add(first);
      group.bytes += first.size;
    } else {
      this.#ready.add(first);
    }
  }

  /** Lets those go that have gathered for long enough, or fill a call. */
  release(now: number): void {
    for (const group of this.#groups.values()) {
      if (group.items.size === 0 || (now < group.until && group.bytes < MAX_BYTES)) continue;
      for (const item of group.items) this.#ready.add(item);
      group.items.clear();
      group.bytes = 0;
      group.until = now + group.ms;
    }
  }

  #itemOf(row: Item['row'], position: Position): Item {
    const head = this.#bundleBytes > 0 && row.problem === undefined ? bundleHead(row.envelope) : undefined;
    const bytes = Buffer.byteLength(row.envelope);
    const size = entrySize(row.detailType, bytes + (head === undefined ? 0 : bundleOverhead(head)), this.#source);
    const group = head === undefined ? undefined : this.#groupFor(row.detailType, head);
    return { row, bytes, size, head, group, position, attempts: 0, suspicions: 0, notBefore: 0, alone: false };
  }

  #groupFor(detailType: string, head: string): Group | undefined {
    if (this.#gathering.length === 0) return undefined;
    const kind = detailType + head;
    if (!this.#groupOf.has(kind)) {
      const found = this.#gathering.find(({ detailType: type, outcome }) =>
        type === detailType && (outcome === undefined || outcome === routingOf(head).outcome));
      this.#groupOf.set(kind, found && this.#groupWith(found.ms));
    }
    return this.#groupOf.get(kind);
  }

  #groupWith(ms: number): Group {
    const group = this.#groups.get(ms) ?? { ms, items: new Set(), bytes: 0, until: -Infinity };
    this.#groups.set(ms, group);
    return group;
  }

  /** The next call: at most ten entries, each event of another aggregate, within the size limit. Empty when all have to wait. */
  take(now: number): Parcel[] {
    const call: { items: Item[]; size: number }[] = [];
    const open = new Map<string, (typeof call)[number]>();
    let bytes = 0;
    for (const item of this.#ready) {
      if (item.notBefore > now) continue;
      const key = item.head === undefined || item.alone ? undefined : item.row.detailType + item.head;
      const bundle = key === undefined ? undefined : open.get(key);
      // With the comma.
      const joins = bundle !== undefined && bundle.size + 1 + item.bytes <= this.#bundleBytes;
      const more = joins ? 1 + item.bytes : item.size;
      if (!joins && call.length === MAX_ENTRIES) {
        if (open.size === 0) break;
        continue;
      }
      // One that is too large by itself is sent alone, for the bus to refuse.
      if (call.length > 0 && bytes + more > MAX_BYTES) continue;
      bytes += more;
      if (joins) {
        bundle.items.push(item);
        bundle.size += more;
      } else {
        const parcel = { items: [item], size: item.size };
        call.push(parcel);
        if (key !== undefined) open.set(key, parcel);
      }
      this.#ready.delete(item);
    }
    return call.map(({ items }) => parcelOf(items));
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
      this.#queue(line);
    } else {
      this.#lines.delete(item.row.aggregateId);
    }
  }

  /** Not published: the same event again, later. */
  retry(item: Item, notBefore: number, suspected: boolean): void {
    item.attempts++;
    if (suspected) item.suspicions++;
    item.notBefore = notBefore;
    this.#ready.add(item);
  }

  /** Not published, perhaps for the sake of another in the same entry: the same event again, in an entry of its own. */
  isolate(item: Item): void {
    item.alone = true;
    this.#ready.add(item);
  }

  /** Whether some event could go. */
  waits(now: number): boolean {
    for (const { notBefore } of this.#ready) if (notBefore <= now) return true;
    return false;
  }

  /** When the first of the waiting events may go; undefined when none waits. */
  nextAt(): number | undefined {
    let earliest: number | undefined;
    for (const { notBefore } of this.#ready) earliest = Math.min(earliest ?? notBefore, notBefore);
    for (const { items, until } of this.#groups.values()) if (items.size > 0) earliest = Math.min(earliest ?? until, until);
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

function parcelOf(items: readonly Item[]): Parcel {
  const { head, row } = items[0]!;
  const envelopes = items.map((item) => item.row.envelope);
  const detail = head === undefined ? row.envelope : bundleOf(head, envelopes);
  return { items, events: items.length, detailType: row.detailType, time: row.time, detail };
}
