import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import { Counter, Gauge } from 'prom-client';
import type { Pool } from '../shared/database.ts';
import { registry, type Logger } from '../shared/telemetry.ts';
import { publish, type PublisherOptions } from './publisher.ts';
import { BURY, MOVE_CURSOR, OLDEST_PENDING, READ, READ_CURSOR, TRY_LEAD } from './statements.ts';
import { Window, type Item, type OutboxRow } from './window.ts';

export interface RelayOptions extends PublisherOptions {
  /** The leader keeps one connection of it for as long as it leads. */
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
  /** How often a relay that does not lead asks whether it may. @default 500 ms */
  readonly standbyMs?: number;
  /** An entry that fails is sent again after this, doubled with each failure. @default 50 ms */
  readonly firstBackOffMs?: number;
  /** @default 2 s */
  readonly maxBackOffMs?: number;
  /** An entry that fails so often, for a reason that is not known to pass, counts as refused. @default 60 */
  readonly maxAttempts?: number;
}

export interface Relay {
  /** It leads, or stands by with a database that answers. */
  ready(): boolean;
  leads(): boolean;
  stop(): Promise<void>;
}

const published = new Counter({
  name: 'outbox_publish_total', help: 'Entries of PutEvents calls by result: ok, retry, dead', labelNames: ['result'], registers: [registry],
});
const oldestPending = new Gauge({
  name: 'outbox_oldest_pending_age_seconds', help: 'Age of the oldest event that is not published; 0 on a relay that stands by', registers: [registry],
});
const leading = new Gauge({ name: 'outbox_relay_leader', help: '1 on the relay that publishes', registers: [registry] });

const SHARD = 0;
/** The lock of the leader: "outbox", and the shard. */
const LOCK = 0x6f757462;

/** Moves events from the outbox to the bus until it is stopped. Several may run: one leads, the others wait to take over. */
export function runRelay(options: RelayOptions): Relay {
  const relay = new OutboxRelay(options);
  relay.start();
  return relay;
}

class OutboxRelay implements Relay {
  readonly #options: Required<RelayOptions>;
  readonly #log: Logger;
  readonly #stopping = new AbortController();
  #loop: Promise<void> = Promise.resolve();
  #databaseAnswers = false;
  #leads = false;

  constructor(options: RelayOptions) {
    this.#options = {
      pageSize: 1_000, windowSize: 10_000, concurrency: 16, idleMs: 25, standbyMs: 500, firstBackOffMs: 50, maxBackOffMs: 2_000, maxAttempts: 60,
      ...options,
    };
    this.#log = options.logger;
  }

  start(): void {
    this.#loop = this.#run();
  }

  ready(): boolean {
    return this.#databaseAnswers && !this.#isStopping;
  }

  leads(): boolean {
    return this.#leads;
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#loop;
  }

  get #isStopping(): boolean {
    return this.#stopping.signal.aborted;
  }

  async #run(): Promise<void> {
    let failures = 0;
    while (!this.#isStopping) {
      let client: pg.PoolClient | undefined;
      let broken = false;
      try {
        client = await this.#options.pool.connect();
        // The loss of the connection is the loss of the lock; the next statement says so.
        client.on('error', () => {
          broken = true;
        });
        await client.query(READ_CURSOR, [SHARD]);
        if (failures > 0) this.#log.info('the database can be used');
        failures = 0;
        this.#databaseAnswers = true;
        while (!this.#isStopping && !await this.#tryLead(client)) await this.#pause(this.#options.standbyMs);
        if (!this.#isStopping) await this.#lead(client, () => broken);
      } catch (error) {
        this.#databaseAnswers = false;
        if (failures++ === 0) this.#log.warn({ err: error }, 'the database can not be used; waiting');
        await this.#pause(Math.min(50 * 2 ** failures, 1_000) * (1 - Math.random() / 2));
      } finally {
        this.#leads = false;
        leading.set(0);
        oldestPending.set(0);
        // Never back to the pool: closing the connection is what gives the lock up.
        client?.removeAllListeners('error');
        client?.on('error', () => undefined);
        client?.release(true);
      }
    }
  }

  async #tryLead(client: pg.PoolClient): Promise<boolean> {
    const { rows: [row] } = await client.query<{ leads: boolean }>({ ...TRY_LEAD, values: [LOCK, SHARD] });
    return row!.leads;
  }

  /** Publishes for as long as the connection lives. Everything in memory is lost with it: the cursor knows where to begin. */
  async #lead(client: pg.PoolClient, isBroken: () => boolean): Promise<void> {
    // A plan that is made while the outbox is small must not scan it when it has grown.
    await client.query('SET enable_seqscan = off');
    const { rows: [cursor] } = await client.query<Position>({ ...READ_CURSOR, values: [SHARD] });
    if (!cursor) throw new Error('messaging.relay_cursor has no row for shard 0: run the migrations.');
    this.#leads = true;
    leading.set(1);
    this.#log.info({ cursor }, 'leading');
    const term = new Term(client, cursor, this.#options, () => this.#isStopping || isBroken(), this.#log);
    await term.run();
  }

  async #pause(ms: number): Promise<void> {
    await sleep(ms, undefined, { signal: this.#stopping.signal }).catch(() => undefined);
  }
}

type Position = Pick<OutboxRow, 'xid' | 'id'>;

/** One leadership. */
class Term {
  readonly #client: pg.PoolClient;
  readonly #options: Required<RelayOptions>;
  readonly #log: Logger;
  readonly #ended: () => boolean;
  readonly #window: Window;
  /** Read up to here. */
  #read: Position;
  /** Published up to here, and not yet written down. */
  #done: Position | undefined;
  readonly #calls = new Set<Promise<void>>();
  #refused: { item: Item; error: string }[] = [];
  #measuredAt = 0;
  #wake: () => void = () => {};

  constructor(client: pg.PoolClient, cursor: Position, options: Required<RelayOptions>, ended: () => boolean, log: Logger) {
    this.#client = client;
    this.#read = cursor;
    this.#options = options;
    this.#ended = ended;
    this.#log = log;
    this.#window = new Window(options.source);
  }

  async run(): Promise<void> {
    let idle = 1;
    try {
      while (!this.#ended()) {
        const rows = this.#window.size < this.#options.windowSize ? await this.#readPage() : 0;
        idle = rows > 0 ? 1 : Math.min(idle * 2, this.#options.idleMs);
        this.#send();
        await this.#writeDown();
        await this.#measure();
        // A full page says that there is more; otherwise wait for new rows, an answer, or the time of a retry.
        if (rows < this.#options.pageSize) await this.#wait(idle);
      }
    } finally {
      // The answers of calls in flight still count: what they published must not be published again.
      await Promise.all(this.#calls);
      await this.#writeDown();
    }
  }

  async #readPage(): Promise<number> {
    const { rows } = await this.#client.query<{
      xid: string; id: string; event_id: string; aggregate_id: string; detail_type: string; envelope: string; created_at: Date;
    }>({ ...READ, values: [this.#read.xid, this.#read.id, this.#options.pageSize] });
    const last = rows.at(-1);
    if (last) this.#read = { xid: last.xid, id: last.id };
    this.#window.add(rows.map((row) => ({
      xid: row.xid, id: row.id, eventId: row.event_id, aggregateId: row.aggregate_id,
      detailType: row.detail_type, envelope: row.envelope, time: row.created_at, createdAt: row.created_at,
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
        this.#wake();
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
    await this.#client.query({ ...MOVE_CURSOR, values: [SHARD, xid, id] });
    this.#done = undefined;
  }

  async #measure(): Promise<void> {
    if (Date.now() - this.#measuredAt < 1_000) return;
    this.#measuredAt = Date.now();
    const { rows: [oldest] } = await this.#client.query<{ age: number }>({ ...OLDEST_PENDING, values: [SHARD] });
    oldestPending.set(Math.max(0, oldest?.age ?? 0));
  }

  async #wait(idle: number): Promise<void> {
    const free = this.#calls.size < this.#options.concurrency;
    const retryIn = free ? (this.#window.nextAt() ?? Infinity) - Date.now() : Infinity;
    const ms = Math.max(0, Math.min(idle, retryIn));
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#wake = () => {};
  }
}
