import { setTimeout as sleep } from 'node:timers/promises';
import { acceptOrders, type IntakeOutcome, type NewOrder } from './intake.ts';
import { isRetryable, isUnavailable } from '../../shared/database-errors.ts';
import type { Pool } from '../../shared/database.ts';
import { Problem, unavailable } from '../../shared/http/problem.ts';
import { memoryBudget } from '../../shared/memory.ts';
import { Slots } from '../../shared/slots.ts';

export interface GroupCommitOptions {
  /**
   * Commits at once. Few: what arrives during one is in the next, and larger groups are cheaper.
   * @default 4, and never more than the pool has
   */
  readonly connections?: number;
  /** The most orders of one commit. @default 500 */
  readonly groupSize?: number;
  /** Orders that may wait; more are refused. @default - as many as the memory of the pod has room for */
  readonly maxWaiting?: number;
  /** An order that has waited for longer is refused, in milliseconds: its client will not wait for much longer. @default 5,000 */
  readonly maxWaitMs?: number;
  /**
   * The shortest time between the beginnings of two commits of few orders, in milliseconds. An order after a quiet time waits for nothing.
   * @default 0
   */
  readonly gatherMs?: number;
}

interface Waiting {
  readonly order: NewOrder;
  readonly isGone: () => boolean;
  readonly sender: string | undefined;
  /** The end of its patience, by the clock of `performance`. */
  readonly until: number;
  readonly resolve: (outcome: IntakeOutcome) => void;
  readonly reject: (error: unknown) => void;
}

/** The share of the waiting line that one sender may take, so that the others find a place. */
const SHARE_OF_SENDER = 0.2;
/** Fewer orders are not worth a commit at the same time as another. */
const MIN_SHARE = 50;
const RETRY_DELAYS_MS = [20, 200];
/** A database that takes this long to fail is not tried again: the client should hear of it. */
const RETRY_WITHIN_MS = 2_000;
/** Another transaction took a key of the group: the next try sees it, so each try gets at least one order further. */
const CONFLICT_ATTEMPTS = 10;
const CONFLICT_DELAY_MS = 5;

/**
 * Takes orders one by one and commits them in groups: a group is what has arrived when a connection gets free and `gatherMs` is over, and
 * an order that comes alone goes alone. Each gets its answer after the commit, and the answer that it would have got alone.
 */
export class GroupCommit {
  readonly #pool: Pool;
  readonly #slots: Slots;
  readonly #groupSize: number;
  readonly #maxWaiting: number;
  readonly #maxWaitMs: number;
  readonly #gatherMs: number;
  #waiting: Waiting[] = [];
  /** The number of waiting orders of each sender. */
  readonly #waitingOf = new Map<string, number>();
  #scheduled = false;
  /** When the next commit of few orders may begin, by the clock of `performance`. */
  #gathered = 0;
  #gathering: NodeJS.Timeout | undefined;
  /** Runs while orders wait. */
  #patience: NodeJS.Timeout | undefined;

  constructor(pool: Pool, options: GroupCommitOptions = {}) {
    this.#pool = pool;
    this.#groupSize = options.groupSize ?? 500;
    this.#slots = new Slots(
      Math.min(options.connections ?? 4, pool.options.max ?? Infinity), Math.min(MIN_SHARE, this.#groupSize), () => this.#schedule(),
    );
    this.#maxWaiting = options.maxWaiting ?? memoryBudget().waitingOrders;
    this.#maxWaitMs = options.maxWaitMs ?? 5_000;
    this.#gatherMs = options.gatherMs ?? 0;
  }

  /**
   * Rejects with a `Problem` "unavailable" if too many wait, this one has waited for too long, or the database is away for longer than a
   * moment. An order whose client is gone before its commit begins is not stored, and is a "request-timeout". Of one `sender`, a fifth of
   * the waiting line is too many.
   */
  accept(order: NewOrder, isGone: () => boolean = () => false, sender?: string): Promise<IntakeOutcome> {
    if (this.#waiting.length >= this.#maxWaiting) {
      return Promise.reject(unavailable('More orders arrive than can be stored; send this one again in a moment.'));
    }
    if (sender !== undefined && (this.#waitingOf.get(sender) ?? 0) >= Math.max(1, this.#maxWaiting * SHARE_OF_SENDER)) {
      return Promise.reject(unavailable('Too many orders of this sender wait already; send this one again in a moment.'));
    }
    return new Promise((resolve, reject) => {
      this.#count(sender, 1);
      this.#waiting.push({ order, isGone, sender, until: performance.now() + this.#maxWaitMs, resolve, reject });
      this.#patience ??= setTimeout(() => this.#refuseLate(), this.#maxWaitMs).unref();
      this.#schedule();
    });
  }

  /** Notes that an order of a sender waits (1), or no longer does (-1). */
  #count(sender: string | undefined, change: 1 | -1): void {
    if (sender === undefined) return;
    const waiting = (this.#waitingOf.get(sender) ?? 0) + change;
    if (waiting > 0) this.#waitingOf.set(sender, waiting);
    else this.#waitingOf.delete(sender);
  }

  /** At the end of this turn of the event loop, so that requests that arrived together go together. */
  #schedule(): void {
    if (this.#scheduled || !this.#isWorthACommit() || this.#gathers()) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#dropUseless();
      if (!this.#isWorthACommit()) return;
      const group = this.#waiting.splice(0, this.#nextSize());
      for (const { sender } of group) this.#count(sender, -1);
      clearTimeout(this.#gathering);
      this.#gathering = undefined;
      this.#gathered = performance.now() + this.#gatherMs;
      void this.#slots.run(() => this.#commit(group));
      this.#schedule();
    });
  }

  /** Whether the few that wait go later, together with those that come until then. */
  #gathers(): boolean {
    const waitMs = this.#waiting.length < MIN_SHARE ? this.#gathered - performance.now() : 0;
    if (waitMs <= 0) return false;
    this.#gathering ??= setTimeout(() => {
      this.#gathering = undefined;
      this.#schedule();
    }, waitMs);
    return true;
  }

  /** They stand in the order of their arrival, so those that have waited for too long are the first. */
  #refuseLate(): void {
    this.#dropUseless();
    const [first] = this.#waiting;
    this.#patience = first && setTimeout(() => this.#refuseLate(), Math.max(1, first.until - performance.now())).unref();
  }

  /** Work for nobody would hold up those who still wait. */
  #dropUseless(): void {
    const now = performance.now();
    this.#waiting = this.#waiting.filter(({ until, isGone, sender, reject }) => {
      const hasLeft = isGone();
      if (until > now && !hasLeft) return true;
      this.#count(sender, -1);
      // Nobody reads it, but logs and metrics should not show too many orders.
      reject(hasLeft ? new Problem('request-timeout', 'The client left before its order was stored.') : unavailable(TOO_LATE));
      return false;
    });
  }

  #isWorthACommit(): boolean {
    return this.#waiting.length > 0 && this.#slots.isFree(this.#waiting.length);
  }

  /** An even share for each free connection, since several work at once; but a small group is not worth a commit of its own. */
  #nextSize(): number {
    return Math.min(Math.max(Math.ceil(this.#waiting.length / this.#slots.free), MIN_SHARE), this.#groupSize);
  }

  async #commit(group: Waiting[]): Promise<void> {
    try {
      const outcomes = await this.#store(group.map(({ order }) => order));
      group.forEach(({ resolve }, i) => resolve(outcomes[i]!));
    } catch (error) {
      if (group.length === 1 || isTemporary(error)) {
        const answer = isTemporary(error)
          ? unavailable('The order could not be stored; send it again in a moment, with the same Idempotency-Key if it had one.', error)
          : error;
        group.forEach(({ reject }) => reject(answer));
        return;
      }
      // One of them is to blame: halve until it stands alone.
      const middle = Math.ceil(group.length / 2);
      await this.#commit(group.slice(0, middle));
      await this.#commit(group.slice(middle));
    }
  }

  /**
   * A broken connection leaves open whether the transaction was committed; because intake recognizes its own order ids, it can
   * simply be run again, so a failover of a moment costs a client nothing and never makes two orders.
   */
  async #store(orders: readonly NewOrder[]): Promise<IntakeOutcome[]> {
    const start = Date.now();
    let conflicts = 0;
    for (let failures = 0; ;) {
      try {
        return await acceptOrders(orders, this.#pool);
      } catch (error) {
        if (isConflict(error) && conflicts++ < CONFLICT_ATTEMPTS) {
          // Not all who wait for the same key at the same moment.
          await sleep(CONFLICT_DELAY_MS * (1 + Math.random()));
          continue;
        }
        const delay = RETRY_DELAYS_MS[failures++];
        if (!isTemporary(error) || delay === undefined || Date.now() - start > RETRY_WITHIN_MS) throw error;
        await sleep(delay);
      }
    }
  }
}

const TOO_LATE = 'More orders arrive than can be stored, and this one has waited for too long; send it again in a moment, with the same '
  + 'Idempotency-Key if it had one.';

/** Another transaction was in the way: a key taken meanwhile, or our own first attempt that was still committing when the second came. */
function isConflict(error: unknown): boolean {
  return (error as { code?: string }).code === '23505' || isRetryable(error);
}

function isTemporary(error: unknown): boolean {
  const { code, message } = error as { code?: string; message?: string };
  // 57014: it took too long.
  return isUnavailable(error) || isConflict(error) || code === '57014' || message === 'Query read timeout';
}
