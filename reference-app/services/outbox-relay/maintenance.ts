import { MAINTAIN, PRUNE, WITHDRAW } from './statements.ts';
import type { Pool } from '../shared/database.ts';
import { runLoop, type Loop } from '../shared/run-loop.ts';
import type { Logger } from '../shared/telemetry.ts';

/** The time for which old records are kept, in hours; 0 is forever. */
export interface Retention {
  /** Published events, which are also an order's timeline. */
  readonly outboxHours: number;
  /** Ids of handled events. What is older counts as handled, so this must be longer than any queue can hold a message. */
  readonly inboxHours: number;
  readonly idempotencyKeyHours: number;
  readonly notificationHours: number;
  /** The time that a partition of outbox and inbox covers. They are deleted by partition. */
  readonly partitionHours: number;
  /** @default 1 minute */
  readonly everyMs?: number;
}

const PRUNE_ROWS = 5_000;

/** Makes partitions ahead of time and forgets what is old enough, beside the publishing, until it is stopped. */
export class Maintenance {
  readonly #pool: Pool;
  readonly #retention: Retention;
  readonly #log: Logger;
  readonly #loop: Loop;

  constructor(pool: Pool, retention: Retention, log: Logger) {
    this.#pool = pool;
    this.#retention = retention;
    this.#log = log;
    const everyMs = retention.everyMs ?? 60_000;
    this.#loop = runLoop({
      round: async ({ signal }) => {
        // Each by itself: what keeps failing must not be the end of the other.
        await this.#unlessItFails(() => this.#partitions(signal));
        await this.#unlessItFails(() => this.#prune(signal));
        return everyMs;
      },
    });
  }

  stop(): Promise<void> {
    return this.#loop.stop();
  }

  /** A lock that was not free in a moment, or a database that is away: next time. */
  async #unlessItFails(work: () => Promise<unknown>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.#log.warn({ err: error }, 'maintenance of outbox and inbox has to wait');
    }
  }

  async #partitions(signal: AbortSignal): Promise<void> {
    let finished = false;
    try {
      while (!signal.aborted && !finished) finished = !await this.#step();
    } finally {
      if (!finished) await this.#unlessItFails(() => this.#pool.query(WITHDRAW));
    }
  }

  /** False if nothing was left to do. */
  async #step(): Promise<boolean> {
    const { outboxHours, inboxHours, partitionHours } = this.#retention;
    const { rows: [row] } = await this.#pool.query<{ done: string | null }>({
      ...MAINTAIN, values: [interval(outboxHours), interval(inboxHours), interval(partitionHours)],
    });
    if (row!.done === null) return false;
    this.#log.info({ done: row!.done }, 'partitions changed');
    return true;
  }

  async #prune(signal: AbortSignal): Promise<void> {
    const { outboxHours, inboxHours, idempotencyKeyHours, notificationHours } = this.#retention;
    for (let rows = PRUNE_ROWS, total = 0; rows >= PRUNE_ROWS && !signal.aborted;) {
      const answer = await this.#pool.query<{ rows: number }>({
        ...PRUNE,
        values: [interval(outboxHours), interval(inboxHours), interval(idempotencyKeyHours), interval(notificationHours), PRUNE_ROWS],
      });
      rows = Number(answer.rows[0]!.rows);
      total += rows;
      if (rows > 0 && rows < PRUNE_ROWS) this.#log.info({ rows: total }, 'old rows deleted');
    }
  }
}

function interval(hours: number): string | null {
  return hours === 0 ? null : `${hours * 3600} seconds`;
}
