import type pg from 'pg';
import { Maintenance } from './maintenance.ts';
import { clearGauges, halted, leading } from './metrics.ts';
import type { RelayOptions, Settings } from './options.ts';
import { HALT, READ_CURSOR, READ_SHARES, SIGN_ON, TRY_LEAD } from './statements.ts';
import { LOCK, Term } from './term.ts';
import type { Cursor, Shares } from './term.ts';
import type { Readiness } from '../shared/http/health.ts';
import { backOffOf, pause, runLoop, type Progress } from '../shared/run-loop.ts';
import { inspectSession, PooledError } from '../shared/server-session.ts';
import type { Logger } from '../shared/telemetry.ts';

export interface Relay {
  /** It leads, or stands by with a database that answers. */
  ready(): Readiness;
  /** It leads at least one shard. */
  leads(): boolean;
  /** The shards that it leads. */
  shards(): number[];
  stop(): Promise<void>;
}

/** The limit of messaging.set_relay_shards; each is a connection of every relay. */
export const MAX_SHARDS = 32;

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
      bundleBytes: 0,
      lingerMs: 40,
      gathering: [],
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

  ready(): Readiness {
    if (this.#stopping.signal.aborted) return 'The relay is stopping.';
    return [...this.#shards.values()].map(({ readiness }) => readiness).find((readiness) => readiness !== true) ?? true;
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

const UNUSABLE = 'The database cannot be used.';

interface Host {
  mayLead(): boolean;
  leadsTooMany(): boolean;
  seen(shares: Shares): void;
}

/** One relay's part in one shard: it stands by until it may lead, and leads until it loses the lock. */
class ShardRelay {
  readonly shard: number;
  readonly ended: Promise<void>;
  readiness: Readiness = UNUSABLE;
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
    // A gauge that was never set would be missing.
    clearGauges(shard);
    this.ended = runLoop({
      signal: stopping,
      round: (progress) => this.#takePart(progress),
      failed: (error, failures) => {
        this.readiness = error instanceof PooledError ? error.message : UNUSABLE;
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
      if ((await inspectSession(client)).isPooled) throw new PooledError();
      // The server must notice soon that this process has lost its network: until then nobody else can have the lock.
      await client.query('SET tcp_keepalives_idle = 1; SET tcp_keepalives_interval = 1; SET tcp_keepalives_count = 3; SET tcp_user_timeout = 4000');
      // A plan that is made while the outbox is small must not scan it when it has grown.
      await client.query('SET enable_seqscan = off');
      // Once for each relay: all have a part in the first shard.
      if (this.shard === 0) await client.query({ ...SIGN_ON, values: [LOCK] });
      const exists = await this.#standBy(client, () => {
        succeeded();
        this.readiness = true;
      });
      if (!exists || this.#stopping.aborted) return 'end';
      const gaveUp = await this.#lead(client, () => broken);
      // The relay that is to have the shard now gets the time to take it.
      return gaveUp ? 2 * this.#options.standbyMs : 0;
    } finally {
      this.claims = this.leads = false;
      clearGauges(this.shard);
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
      halted.set(shares!.ahead ? 1 : 0);
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
      stopping: this.#stopping,
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
