import type pg from 'pg';
import { newOrder, randomOrder, UNIFORM } from './orders.ts';
import type { Chain } from './start-services.ts';
import { InvariantError } from '../measure/assert-invariants.ts';
import type { Variant } from '../measure/slices.ts';

/** Orders that are still on their way after this time count as lost. */
export const DRAIN_DEADLINE_MS = 60_000;

/** A variant that remembers how many orders its chain has accepted. */
export interface ChainVariant extends Variant {
  readonly accepted: () => number;
}

/** Keeps a number of orders on their way from intake to deduction, and counts the deducted ones. */
export function closedLoop(name: string, chain: Chain, inFlight: number, random: () => number): ChainVariant {
  let accepted = 0;
  let deducted = 0;
  let progressed: () => void = () => {};
  let last = 0;
  chain.onDone((step, orderIds) => {
    if (step !== 'deducted') return;
    deducted += orderIds.length;
    last = performance.now();
    progressed();
  });
  return {
    name,
    accepted: () => accepted,
    async run(ms) {
      const start = performance.now();
      const before = deducted;
      let taking = 0;
      let failure: unknown;
      const done = Promise.withResolvers<void>();
      const feed = () => {
        if (failure !== undefined) return done.reject(failure as Error);
        if (performance.now() - start >= ms) {
          if (taking === 0 && deducted === accepted) done.resolve();
          return;
        }
        while (accepted - deducted + taking < inFlight) {
          taking++;
          chain.accept(newOrder(randomOrder(UNIFORM, random))).then(() => {
            accepted++;
          }, (error: unknown) => {
            failure = error;
          }).finally(() => {
            taking--;
            feed();
          });
        }
      };
      progressed = feed;
      const deadline = setTimeout(() => {
        done.reject(new InvariantError(`${accepted - deducted} accepted orders were not deducted after a minute`));
      }, ms + DRAIN_DEADLINE_MS);
      const tick = setInterval(feed, 5);
      feed();
      try {
        await done.promise;
      } finally {
        clearTimeout(deadline);
        clearInterval(tick);
        progressed = () => {};
      }
      // The time in which the stages fill and drain is included, for all variants alike.
      return { count: deducted - before, seconds: (last - start) / 1000 };
    },
  };
}

/** Waits until every order is deducted and every event is published: then the chain may be stopped and checked. */
export async function atRest(admin: pg.Pool, orders: number): Promise<void> {
  const deadline = Date.now() + DRAIN_DEADLINE_MS;
  for (;;) {
    const { rows: [row] } = await admin.query<{ waiting: boolean }>(`
      SELECT EXISTS (SELECT FROM messaging.outbox o JOIN messaging.relay_cursor c ON c.shard = 0 WHERE (o.xid, o.id) > (c.xid, c.id))
          OR (SELECT count(*) FROM inventory.ledger WHERE type = 'COMMIT' AND line = 1) < $1 AS waiting`, [orders]);
    if (!row!.waiting) return;
    if (Date.now() > deadline) throw new InvariantError('not every order was deducted and published within a minute');
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
