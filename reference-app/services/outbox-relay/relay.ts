import type pg from 'pg';
import { Counter, Gauge } from 'prom-client';
import { Maintenance, type Retention } from './maintenance.ts';
import { publish, type PublisherOptions } from './publisher.ts';
import {
  BURY, HALT, MOVE_CURSOR, OBSERVE, OLDEST_PENDING, OLDEST_TRANSACTION, READ, READ_CURSOR, READ_SHARD, READ_SHARES, SIGN_ON, TRY_LEAD,
} from './statements.ts';
import { Window, type Item } from './window.ts';
import type { Pool } from '../shared/database.ts';
import { backOffOf, pause, runLoop, type Loop, type Progress } from '../shared/run-loop.ts';
import { registry, type Logger } from '../shared/telemetry.ts';

export interface RelayOptions extends PublisherOptions {
  /** The relay keeps a connection of it for each shard, and uses one more from time to time. */
  readonly pool: Pool;
  readonly logger: Logger;
  /** Rows of one read. @default 1000 */
  readonly pageSize?: number;
  /** Events held in memory: how far the fast may run ahead of an event that fails. @default 10 000 */
  readonly windowSize?: number;
  /** PutEvents calls at once. @default 16 */
  readonly concurrency?: number;
  /** The longest wait before an empty outbox is read again. @default 25 ms */
  readonly idleMs?: number;
  /** The interval at which a relay that does not lead asks whether it may. @default 500 ms */
  readonly standbyMs?: number;
  /** An entry that fails is sent again after this, doubled with each failure. @default 50 ms */
  readonly firstBackOffMs?: number;
  /** @default 2 s */
  readonly maxBackOffMs?: number;
  /** An entry that fails so often, for a reason that is not known to pass, counts as refused. @default 60 */
  readonly maxAttempts?: number;
  /** A transaction that holds events back for so long is named in the log; ours live for milliseconds. @default 10 */
  readonly heldBackWarningSeconds?: number;
  /** The time for which history is kept, by the leader of the first shard. @default - everything, forever */
  readonly retention?: Retention;
  /** The connections for the retention, whose statements may take longer. @default - pool */
  readonly maintenancePool?: Pool;
}

export interface Relay {
  /** It leads, or stands by with a database that answers. */
  ready(): boolean;
  /** It leads at least one shard. */
  leads(): boolean;
  /** The shards that it leads. */
  shards(): number[];
  stop(): Promise<void>;
}

const published = new Counter({
  name: 'outbox_publish_total', help: 'Entries of PutEvents calls by result: ok, retry, dead', labelNames: ['result'], registers: [registry],
});
const oldestPending = new Gauge({
  name: 'outbox_oldest_pending_age_seconds',
  help: 'Age of the oldest event that is not published, by shard; 0 on a relay that does not lead the shard',
  labelNames: ['shard'],
  registers: [registry],
});
const heldBack = new Gauge({
  name: 'outbox_held_back_seconds', help: 'Age of the oldest transaction that writes, while events wait for it; 0 if none waits', labelNames: ['shard'], registers: [registry],
});
const leading = new Gauge({ name: 'outbox_relay_leader', help: '1 on the relay that publishes the shard', labelNames: ['shard'], registers: [registry] });

/** The limit of messaging.set_relay_shards; each is a connection of every relay. */
export const MAX_SHARDS = 32;

/** The lock of a leader: "outbox", and the shard. */
const LOCK = 0x6f757462;

/** The limit for events in memory: a relay has to live in 256 MiB, also after an outage with large orders. */
const MAX_WINDOW_BYTES = 32 * 2 ** 20;
/** A position takes about a hundredth of an event. */
const POSITIONS_PER_EVENT = 20;

type Settings = Required<Omit<RelayOptions, 'retention' | 'maintenancePool'>> & Pick<RelayOptions, 'retention' | 'maintenancePool'>;

/**
 * Moves events from the outbox to the bus until it is stopped. Several may run: each shard has one leader, the others wait to take
 * over, and every relay leads its fair share of the shards.
 */
export function runRelay(options: RelayOptions): Relay {
  const relay = new OutboxRelay(options);
  relay.start();
  return relay;
}

class OutboxRelay implements Relay {
  readonly #options: Settings;
  readonly #stopping = new AbortController();
  readonly #shards = new Map<number, ShardRelay>();
  /** The number of shards that each relay should lead. */
  #share = 1;
  #epoch = 0;

  constructor(options: RelayOptions) {
    this.#options = {
      pageSize: 1_000,
      windowSize: 10_000,
      concurrency: 16,
      idleMs: 25,
      standbyMs: 500,
      firstBackOffMs: 50,
      maxBackOffMs: 2_000,
      maxAttempts: 60,
      heldBackWarningSeconds: 10,
      ...options,
    };
  }

  start(): void {
    this.#add(0);
  }

  ready(): boolean {
    return !this.#stopping.signal.aborted && [...this.#shards.values()].every((shard) => shard.databaseAnswers);
  }

  leads(): boolean {
    return this.shards().length > 0;
  }

  shards(): number[] {
    return [...this.#shards.values()].filter(({ leads }) => leads).map(({ shard }) => shard);
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await Promise.all([...this.#shards.values()].map((shard) => shard.ended));
  }

  #add(shard: number): void {
    const relay = new ShardRelay(shard, this.#options, this.#stopping.signal, {
      mayLead: () => [...this.#shards.values()].filter(({ claims }) => claims).length < this.#share,
      leadsTooMany: () => this.shards().length > this.#share,
      seen: (seen) => this.#seen(seen),
    });
    this.#shards.set(shard, relay);
    void relay.ended.then(() => {
      if (this.#shards.get(shard) === relay) this.#shards.delete(shard);
    });
  }

  /** The number of shards may change at any time; one that is there no more ends by itself. */
  #seen({ shards, epoch, relays }: Shares): void {
    this.#share = Math.ceil(shards / Math.max(1, relays));
    if (epoch !== this.#epoch) {
      this.#epoch = epoch;
      this.#options.logger.info({ shards, epoch }, 'shards of the outbox');
    }
    if (this.#stopping.signal.aborted) return;
    for (let shard = 0; shard < shards; shard++) if (!this.#shards.has(shard)) this.#add(shard);
  }
}

interface Shares {
  readonly shards: number;
  readonly epoch: number;
  readonly relays: number;
  readonly ahead: boolean;
}

interface Host {
  mayLead(): boolean;
  leadsTooMany(): boolean;
  seen(shares: Shares): void;
}

/** One relay's part in one shard: it stands by until it may lead, and leads until it loses the lock. */
class ShardRelay {
  readonly shard: number;
  readonly ended: Promise<void>;
  databaseAnswers = false;
  leads = false;
  /** It leads, or is about to ask for the lock. */
  claims = false;
  readonly #options: Settings;
  readonly #log: Logger;
  readonly #stopping: AbortSignal;
  readonly #host: Host;

  constructor(shard: number, options: Settings, stopping: AbortSignal, host: Host) {
    this.shard = shard;
    this.#options = options;
    this.#log = options.logger.child({ shard });
    this.#stopping = stopping;
    this.#host = host;
    this.ended = runLoop({
      signal: stopping,
      round: (progress) => this.#takePart(progress),
      failed: (error, failures) => {
        this.databaseAnswers = false;
        if (failures === 1) this.#log.warn({ err: error }, 'the database cannot be used; the relay waits for it');
      },
      recovered: () => this.#log.info('the database can be used'),
      backOff: backOffOf({ firstMs: 100, maxMs: 1_000 }),
    }).ended;
  }

  /** Stands by and leads, over one connection. */
  async #takePart({ succeeded }: Progress): Promise<number | 'end'> {
    let client: pg.PoolClient | undefined;
    let broken = false;
    try {
      client = await this.#options.pool.connect();
      // The loss of the connection is the loss of the lock; the next statement says so.
      client.on('error', () => {
        broken = true;
      });
      // The server must notice soon that this process has lost its network: until then nobody else can have the lock.
      await client.query('SET tcp_keepalives_idle = 1; SET tcp_keepalives_interval = 1; SET tcp_keepalives_count = 3; SET tcp_user_timeout = 4000');
      // A plan that is made while the outbox is small must not scan it when it has grown.
      await client.query('SET enable_seqscan = off');
      // Once for each relay: all have a part in the first shard.
      if (this.shard === 0) await client.query({ ...SIGN_ON, values: [LOCK] });
      const exists = await this.#standBy(client, () => {
        succeeded();
        this.databaseAnswers = true;
      });
      if (!exists || this.#stopping.aborted) return 'end';
      const gaveUp = await this.#lead(client, () => broken);
      // The relay that is to have the shard now gets the time to take it.
      return gaveUp ? 2 * this.#options.standbyMs : 0;
    } finally {
      this.claims = this.leads = false;
      leading.set({ shard: this.shard }, 0);
      oldestPending.set({ shard: this.shard }, 0);
      heldBack.set({ shard: this.shard }, 0);
      // Never back to the pool: closing the connection is what gives the lock up.
      client?.removeAllListeners('error');
      client?.on('error', () => undefined);
      client?.release(true);
    }
  }

  /** Until it leads, or is stopped (true); false if the shard is there no more. */
  async #standBy(client: pg.PoolClient, answered: () => void): Promise<boolean> {
    while (!this.#stopping.aborted) {
      const { rows: [shares] } = await client.query<Shares>({ ...READ_SHARES, values: [LOCK] });
      if (this.shard >= shares!.shards) {
        if (this.shard > 0) return false;
        throw new Error('messaging.relay_cursor has no row: run the migrations.');
      }
      if (shares!.ahead) {
        await client.query({ ...HALT, values: [shares!.epoch] });
        throw new Error('messaging.relay_cursor is ahead of the transaction ids of this cluster, as after a dump was restored: run SELECT messaging.adopt_outbox() as the owner.');
      }
      answered();
      this.#host.seen(shares!);
      if (this.#host.mayLead()) {
        // At once, so that several shards of one relay don't each take the last one of its share.
        this.claims = true;
        const { rows: [row] } = await client.query<{ leads: boolean }>({ ...TRY_LEAD, values: [LOCK, this.shard] });
        this.claims = this.leads = row!.leads;
        if (this.leads) return true;
      }
      await pause(this.#options.standbyMs, this.#stopping);
    }
    return true;
  }

  /** Once for all shards. */
  #maintain(): Maintenance | undefined {
    const { retention, pool, maintenancePool = pool } = this.#options;
    return this.shard === 0 && retention ? new Maintenance(maintenancePool, retention, this.#log) : undefined;
  }

  /**
   * Publishes until it has to stop; true if that was not for a broken connection. What is in memory is lost with it: the cursor knows
   * where to begin.
   */
  async #lead(client: pg.PoolClient, isBroken: () => boolean): Promise<boolean> {
    const { rows: [shares] } = await client.query<Shares>({ ...READ_SHARES, values: [LOCK] });
    const { rows: [cursor] } = await client.query<Cursor>({ ...READ_CURSOR, values: [this.shard] });
    if (!cursor || cursor.epoch !== shares!.epoch) return false;
    leading.set({ shard: this.shard }, 1);
    this.#log.info({ cursor }, 'leading');
    const maintenance = this.#maintain();
    const term = new Term(client, { shard: this.shard, shards: shares!.shards }, cursor, this.#options, {
      ended: () => this.#stopping.aborted || isBroken() || this.#host.leadsTooMany(),
      seen: (seen) => this.#host.seen(seen),
    }, this.#log);
    try {
      await term.run();
    } catch (error) {
      // The next leader must not wait for a statement of ours that may never be answered.
      void maintenance?.stop();
      throw error;
    }
    await maintenance?.stop();
    return !isBroken();
  }
}

interface Position {
  readonly xid: string;
  readonly id: string;
}

interface Cursor extends Position {
  /** A timestamp as PostgreSQL's text, which may be -infinity. */
  readonly since: string;
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
  ended(): boolean;
  seen(shares: Shares): void;
}

/** One leadership. */
class Term {
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
  /** Events that are not published yet were written after this. */
  #since: string;
  /** The next `#since`, once the cursor has reached this transaction. */
  #observed: { readonly xid: string; readonly at: string } | undefined;
  readonly #calls = new Set<Promise<void>>();
  #refused: { item: Item; error: string }[] = [];
  #measuredAt = 0;
  #warnedOf: number | null | undefined;
  #deposed = false;
  #over = false;
  #loop: Loop | undefined;
  /** Milliseconds until an empty outbox is read again. */
  #idle = 1;

  constructor(
    client: pg.PoolClient, place: { shard: number; shards: number }, cursor: Cursor, options: Settings, host: TermHost, log: Logger,
  ) {
    this.#client = client;
    this.#place = place;
    this.#read = cursor;
    this.#since = cursor.since;
    this.#epoch = cursor.epoch;
    this.#options = options;
    this.#host = host;
    this.#log = log;
    this.#window = new Window(options.source);
  }

  async run(): Promise<void> {
    try {
      this.#loop = runLoop({ round: () => this.#round() });
      await this.#loop.ended;
      // The answers of calls in flight still count: what they published must not be published again.
      await Promise.all(this.#calls);
      await this.#writeDown();
    } finally {
      // Without the connection it no longer leads: the calls in flight are the last ones.
      this.#over = true;
      await Promise.all(this.#calls);
    }
  }

  async #round(): Promise<number | 'end'> {
    if (this.#ended()) return 'end';
    const rows = this.#hasRoom() ? await this.#readPage() : 0;
    this.#idle = rows > 0 ? 1 : Math.min(this.#idle * 2, this.#options.idleMs);
    this.#send();
    await this.#writeDown();
    await this.#measure();
    // A full page says that there is more; otherwise the loop waits for new rows, an answer, or the time of a retry.
    return rows < this.#options.pageSize ? this.#rest() : 0;
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
      xid: string; id: string; event_id: string; aggregate_id: string; detail_type: string; envelope: string | null; created_at: Date;
    }>(shards === 1 ? { ...READ, values } : { ...READ_SHARD, values: [...values, shard, shards] });
    const last = rows.at(-1);
    if (last) this.#read = { xid: last.xid, id: last.id };
    this.#window.add(rows.map((row) => ({
      xid: row.xid,
      id: row.id,
      eventId: row.event_id,
      aggregateId: row.aggregate_id,
      detailType: row.detail_type,
      envelope: row.envelope,
      time: row.created_at,
    })));
    return rows.length;
  }

  #send(): void {
    while (this.#calls.size < this.#options.concurrency && !this.#ended()) {
      const items = this.#window.take(Date.now());
      if (items.length === 0) return;
      const call: Promise<void> = this.#publish(items).finally(() => {
        this.#calls.delete(call);
        this.#send();
        this.#loop?.wake();
      });
      this.#calls.add(call);
    }
  }

  async #publish(items: Item[]): Promise<void> {
    const results = await publish(items.map(({ row }) => row), this.#options);
    results.forEach((result, i) => {
      const item = items[i]!;
      const { eventId, aggregateId, detailType } = item.row;
      if (result.result === 'ok') {
        published.inc({ result: 'ok' });
        this.#window.settle(item);
      } else if (result.result === 'refused' || (!result.mayPass && item.attempts + 1 >= this.#options.maxAttempts)) {
        published.inc({ result: 'dead' });
        this.#log.error({ eventId, orderId: aggregateId, detailType, error: result.error }, 'the bus refused the event for good; it is in messaging.outbox_dead');
        this.#refused.push({ item, error: result.error });
      } else {
        published.inc({ result: 'retry' });
        const wait = Math.min(this.#options.firstBackOffMs * 2 ** Math.min(item.attempts, 20), this.#options.maxBackOffMs);
        if (item.attempts === 0) this.#log.warn({ eventId, orderId: aggregateId, detailType, error: result.error }, 'the event was not published; it will be sent again');
        this.#window.retry(item, Date.now() + wait * (1 - Math.random() / 2));
      }
    });
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
    if (Date.now() - this.#measuredAt < Math.min(1_000, this.#options.standbyMs)) return;
    this.#measuredAt = Date.now();
    const { shard, shards } = this.#place;
    this.#observed ??= (await this.#client.query<{ xid: string; at: string }>(OBSERVE)).rows[0];
    const { rows: [oldest] } = await this.#client.query<{ age: number; held: boolean }>({ ...OLDEST_PENDING, values: [shard, shards] });
    oldestPending.set({ shard }, Math.max(0, oldest?.age ?? 0));
    await this.#measureHolder(oldest?.held ?? false);
    const { rows: [shares] } = await this.#client.query<Shares>({ ...READ_SHARES, values: [LOCK] });
    if (shares!.epoch !== this.#epoch) this.#deposed = true;
    this.#host.seen(shares!);
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
    const free = this.#calls.size < this.#options.concurrency;
    const retryIn = free ? (this.#window.nextAt() ?? Infinity) - Date.now() : Infinity;
    return Math.max(1, Math.min(this.#idle, retryIn));
  }
}
