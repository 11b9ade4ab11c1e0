import type pg from 'pg';
import {
  entriesPublished, eventsPublished, heldBack, oldestOfAllShards, oldestPending, setSurroundings, typeOf, type Surroundings,
} from './metrics.ts';
import type { Settings } from './options.ts';
import { publish, type PublishResult } from './publisher.ts';
import { BURY, LOOK_AROUND, MOVE_CURSOR, OBSERVE, OLDEST_PENDING, OLDEST_TRANSACTION, READ, READ_SHARD, READ_SHARES } from './statements.ts';
import { Window, type Item, type Parcel } from './window.ts';
import { soundText, withSignature } from '../shared/events/index.ts';
import { runLoop, type Loop } from '../shared/run-loop.ts';
import type { Logger } from '../shared/telemetry.ts';

/** The lock of a leader: "outbox", and the shard. */
export const LOCK = 0x6f757462;

/** The limit for events in memory: a relay has to live in 256 MiB, also after an outage with large orders. */
const MAX_WINDOW_BYTES = 32 * 2 ** 20;
/** The number of events in bundles from which on gathering for longer saves little. */
const ENOUGH_EVENTS = 25;
/** The cursor is written down so often, and when there is nothing to do: what a killed relay has not written is published again. */
const WRITE_DOWN_MS = 200;
/** The pause before the outbox is read again, with bundles and while events come. */
const LOOK_MS = 8;
/** An outbox in which nothing came for so long is looked at less and less often. */
const QUIET_MS = 100;
/** A gauge that could not be measured is tried again after this: its statement may have taken seconds, in which nothing was published. */
const MEASURE_AGAIN_MS = 60_000;
/** A position takes about a hundredth of an event. */
const POSITIONS_PER_EVENT = 20;

/** The shards of the outbox, as the database has them. */
export interface Shares {
  readonly shards: number;
  readonly epoch: number;
  readonly relays: number;
  readonly ahead: boolean;
}

interface Position {
  readonly xid: string;
  readonly id: string;
}

export interface Cursor extends Position {
  readonly epoch: number;
}

/** The oldest transaction that writes. */
interface Holder {
  readonly seconds: number | null;
  readonly pid: number | null;
  readonly application_name: string | null;
  readonly database: string | null;
}

interface TermHost {
  /** The relay is stopped. */
  readonly stopping: AbortSignal;
  ended(): boolean;
  seen(shares: Shares): void;
}

/**
 * One leadership of a shard: reads, publishes and moves the cursor until it ends. Its times are of a clock that nobody sets: a step of the
 * host's clock must not make it wait.
 */
export class Term {
  readonly #client: pg.PoolClient;
  readonly #place: { readonly shard: number; readonly shards: number };
  readonly #epoch: number;
  readonly #options: Settings;
  readonly #log: Logger;
  readonly #host: TermHost;
  readonly #window: Window;
  /** Read up to here. */
  #read: Position;
  /** Published up to here, and not yet written down. */
  #done: Position | undefined;
  /** Events that are not published yet were written after this, PostgreSQL's text. Nobody watched the clock before this term. */
  #since = '-infinity';
  /** The next `#since`, once the cursor has reached this transaction. */
  #observed: { readonly xid: string; readonly at: string } | undefined;
  readonly #calls = new Set<Promise<void>>();
  #refused: { item: Item; error: string }[] = [];
  #measuredAt = -Infinity;
  /** When gauges that could not be measured are tried again. */
  readonly #postponed = new Map<string, number>();
  #warnedOf: number | null | undefined;
  #deposed = false;
  #over = false;
  #loop: Loop | undefined;
  /** Milliseconds until an empty outbox is read again. */
  #idle = 1;
  #rowsAt = -Infinity;
  #sentAt = -Infinity;
  /** Nothing is sent before this time, so that events gather. */
  #sendAt = 0;
  #writtenAt = -Infinity;

  constructor(
    client: pg.PoolClient, place: { shard: number; shards: number }, cursor: Cursor, options: Settings, host: TermHost, log: Logger,
  ) {
    this.#client = client;
    this.#place = place;
    this.#read = cursor;
    this.#epoch = cursor.epoch;
    this.#options = options;
    this.#host = host;
    this.#log = log;
    this.#window = new Window(options.source, options.bundleBytes, options.gathering);
  }

  async run(): Promise<void> {
    try {
      this.#loop = runLoop({ signal: this.#host.stopping, round: () => this.#round() });
      // Whatever the host says later: an answer must not begin another call.
      await this.#loop.ended.finally(() => {
        this.#over = true;
      });
      // The answers of calls in flight still count: what they published must not be published again.
      await Promise.all(this.#calls);
      await this.#writeDown();
    } finally {
      // Without the connection it no longer leads: the calls in flight are the last ones.
      await Promise.all(this.#calls);
    }
  }

  async #round(): Promise<number | 'end'> {
    if (this.#ended()) return 'end';
    const rows = this.#hasRoom() ? await this.#readPage() : 0;
    this.#idle = this.#restAfter(rows);
    this.#send();
    if (rows === 0 || this.#refused.length > 0 || performance.now() - this.#writtenAt >= WRITE_DOWN_MS) await this.#writeDown();
    await this.#measure();
    // A full page says that there is more; otherwise the loop waits for new rows, an answer, or the time of a retry.
    return rows < this.#options.pageSize ? this.#rest() : 0;
  }

  /** The pause before the next look. With bundles, a look for events that gather anyway would cost more than the time that it saves. */
  #restAfter(rows: number): number {
    const { bundleBytes, idleMs } = this.#options;
    if (rows > 0) this.#rowsAt = performance.now();
    if (bundleBytes > 0 && performance.now() - this.#rowsAt < QUIET_MS) return Math.min(LOOK_MS, idleMs);
    return rows > 0 ? 1 : Math.min(this.#idle * 2, idleMs);
  }

  #ended(): boolean {
    return this.#over || this.#deposed || this.#host.ended();
  }

  /** An event that is published already is only a position, so one event that keeps failing does not stop the others for long. */
  #hasRoom(): boolean {
    const { pending, pendingBytes, size } = this.#window;
    const { windowSize } = this.#options;
    return pending < windowSize && pendingBytes < MAX_WINDOW_BYTES && size < POSITIONS_PER_EVENT * windowSize;
  }

  async #readPage(): Promise<number> {
    const { shard, shards } = this.#place;
    const values: unknown[] = [this.#read.xid, this.#read.id, this.#since, this.#options.pageSize];
    const { rows } = await this.#client.query<{
      xid: string; id: string; event_id: string; aggregate_id: string; detail_type: string; envelope: string | null; ms: number;
    }>(shards === 1 ? { ...READ, values } : { ...READ_SHARD, values: [...values, shard, shards] });
    const last = rows.at(-1);
    if (last) this.#read = { xid: last.xid, id: last.id };
    this.#window.add(rows.map((row) => {
      const sound = row.envelope === null ? undefined : soundText(row.envelope, row.detail_type);
      return {
        xid: row.xid,
        id: row.id,
        eventId: row.event_id,
        aggregateId: row.aggregate_id,
        detailType: row.detail_type,
        envelope: this.#options.signingKey && sound ? sound.text : row.envelope,
        problem: sound?.problem,
        time: new Date(row.ms),
      };
    }));
    return rows.length;
  }

  /** Everything that may go. With bundles, later events gather until the next time; a backlog waits only for the calls before it. */
  #send(): void {
    const now = performance.now();
    if (now < this.#sendAt) return;
    this.#window.release(now);
    let [events, bytes] = [0, 0];
    while (this.#calls.size < this.#options.concurrency && !this.#ended()) {
      const parcels = this.#window.take(now);
      if (parcels.length === 0) break;
      for (const parcel of parcels) {
        events += parcel.events;
        bytes += parcel.detail.length;
      }
      const call: Promise<void> = this.#publish(parcels).finally(() => {
        this.#calls.delete(call);
        this.#send();
        // A loop that lets events gather looks for the rest at that time, too.
        if (performance.now() >= this.#sendAt) this.#loop?.wake();
      });
      this.#calls.add(call);
    }
    if (events > 0 && this.#options.bundleBytes > 0 && !this.#window.waits(now)) this.#gather(now, events, bytes);
  }

  /** Lets events gather, by their present rate: half of the longest time or up to all of it, or until a bundle of them is full. */
  #gather(now: number, events: number, bytes: number): void {
    const { lingerMs, bundleBytes } = this.#options;
    const passed = now - this.#sentAt;
    const worthwhile = Math.max(lingerMs / 2, Math.min(lingerMs, passed * ENOUGH_EVENTS / events));
    this.#sendAt = now + Math.min(worthwhile, passed * bundleBytes / bytes);
    this.#sentAt = now;
  }

  async #publish(parcels: readonly Parcel[]): Promise<void> {
    const sound: Parcel[] = [];
    for (const parcel of parcels) {
      const error = parcel.items[0]!.row.problem;
      if (error === undefined) sound.push(parcel);
      else this.#settle(parcel.items, { result: 'refused', error });
    }
    if (sound.length === 0) return;
    const results = await publish(this.#signed(sound), this.#options);
    results.forEach((result, i) => this.#settle(sound[i]!.items, result));
  }

  /** Each time anew: what is sent again later is signed by the key of then. */
  #signed(parcels: readonly Parcel[]): readonly Parcel[] {
    const key = this.#options.signingKey?.();
    if (!key) return parcels;
    return parcels.map((parcel) => ({ ...parcel, detail: withSignature(parcel.detail, parcel.items.map(({ row }) => row.envelope).join(','), key) }));
  }

  #settle(items: readonly Item[], result: PublishResult): void {
    const [first] = items as [Item];
    const { eventId, aggregateId, detailType } = first.row;
    if (result.result === 'ok') {
      entriesPublished.inc({ result: 'ok' });
      eventsPublished.inc({ type: typeOf(detailType) }, items.length);
      items.forEach((item) => this.#window.settle(item));
      return;
    }
    const suspected = result.result === 'refused' || !result.mayPass;
    if (items.length > 1 && suspected) {
      entriesPublished.inc({ result: 'retry' });
      this.#log.warn({ events: items.length, detailType, error: result.error }, 'the bus refused a bundle; each of its events will be sent by itself');
      items.forEach((item) => this.#window.isolate(item));
    } else if (result.result === 'refused' || (suspected && first.suspicions + 1 >= this.#options.maxAttempts)) {
      entriesPublished.inc({ result: 'dead' });
      this.#log.error({ eventId, orderId: aggregateId, detailType, error: result.error }, 'the event is refused for good; it is in messaging.outbox_dead');
      this.#refused.push({ item: first, error: result.error });
    } else {
      entriesPublished.inc({ result: 'retry' });
      const wait = Math.min(this.#options.firstBackOffMs * 2 ** Math.min(first.attempts, 20), this.#options.maxBackOffMs);
      if (first.attempts === 0) {
        this.#log.warn({ eventId, orderId: aggregateId, events: items.length, detailType, error: result.error }, 'the event was not published; it will be sent again');
      }
      const notBefore = performance.now() + wait * (1 - Math.random() / 2);
      items.forEach((item) => this.#window.retry(item, notBefore, suspected));
    }
  }

  /** Refused events first: the cursor may pass them only once they are kept elsewhere. */
  async #writeDown(): Promise<void> {
    const refused = this.#refused.splice(0);
    if (refused.length > 0) {
      await this.#client.query({
        ...BURY,
        values: [refused.map(({ item }) => item.row.xid), refused.map(({ item }) => item.row.id), refused.map(({ error }) => error)],
      });
      refused.forEach(({ item }) => this.#window.settle(item));
    }
    this.#writtenAt = performance.now();
    this.#done = this.#window.advance() ?? this.#done;
    if (!this.#done) return;
    const { xid, id } = this.#done;
    if (this.#observed && BigInt(xid) >= BigInt(this.#observed.xid)) {
      this.#since = this.#observed.at;
      this.#observed = undefined;
    }
    const { rowCount } = await this.#client.query({ ...MOVE_CURSOR, values: [this.#place.shard, this.#epoch, xid, id, this.#since] });
    this.#done = undefined;
    // The number of shards has been changed.
    if (rowCount === 0) this.#deposed = true;
  }

  async #measure(): Promise<void> {
    if (performance.now() - this.#measuredAt < Math.min(1_000, this.#options.standbyMs)) return;
    this.#measuredAt = performance.now();
    const { shard, shards } = this.#place;
    type Observed = { xid: string; at: string; back: boolean; since: string };
    const values = [this.#since, this.#observed?.at ?? this.#since];
    const { rows: [observed] } = await this.#client.query<Observed>({ ...OBSERVE, values });
    if (observed!.back) this.#since = observed!.since;
    if (observed!.back || !this.#observed) this.#observed = observed;
    await this.#unlessItFails('the oldest event', async () => {
      const { rows } = await this.#client.query<{ shard: number; age: number; held: boolean }>({ ...OLDEST_PENDING, values: [shards] });
      const own = rows.find((row) => row.shard === shard);
      oldestPending.set({ shard }, Math.max(0, own?.age ?? 0));
      oldestOfAllShards.set({ shard }, Math.max(0, ...rows.map(({ age }) => age)));
      await this.#measureHolder(own?.held ?? false);
    });
    const { rows: [shares] } = await this.#client.query<Shares>({ ...READ_SHARES, values: [LOCK] });
    if (shares!.epoch !== this.#epoch || shares!.ahead) this.#deposed = true;
    this.#host.seen(shares!);
    if (shard > 0) return;
    await this.#unlessItFails('the surroundings', async () => setSurroundings((await this.#client.query<Surroundings>(LOOK_AROUND)).rows[0]!));
  }

  /** A gauge must not end a leadership. If the connection is lost, the next statement says so. */
  async #unlessItFails(gauge: string, measure: () => Promise<void>): Promise<void> {
    if (performance.now() < (this.#postponed.get(gauge) ?? 0)) return;
    try {
      await measure();
    } catch (error) {
      this.#postponed.set(gauge, performance.now() + MEASURE_AGAIN_MS);
      this.#log.warn({ err: error, gauge }, 'a gauge could not be measured; it keeps its value for a minute, and the publishing goes on');
    }
  }

  /** Events that are committed and must wait for an older transaction: whose it is, and how old. */
  async #measureHolder(held: boolean): Promise<void> {
    const { rows: [holder] } = held
      ? await this.#client.query<Holder>(OLDEST_TRANSACTION)
      : { rows: [] };
    const seconds = holder?.seconds ?? 0;
    heldBack.set({ shard: this.#place.shard }, seconds);
    if (seconds < this.#options.heldBackWarningSeconds) {
      this.#warnedOf = undefined;
    } else if (this.#warnedOf !== holder!.pid) {
      this.#warnedOf = holder!.pid;
      const { pid, application_name: applicationName, database } = holder!;
      this.#log.warn({ seconds: Math.round(seconds), pid, applicationName, database }, 'a transaction that has been open for long holds events back');
    }
  }

  #rest(): number {
    const now = performance.now();
    const free = this.#calls.size < this.#options.concurrency;
    const retryIn = free ? (this.#window.nextAt() ?? Infinity) - now : Infinity;
    return Math.max(1, this.#sendAt - now, Math.min(this.#idle, retryIn));
  }
}
