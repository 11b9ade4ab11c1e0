import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import { identify } from '../../invariants/invariants.ts';
import type { LocalRun } from 'cdk-local-run';
import { deadLetters, messagesWaiting } from './subscriptions.ts';

export interface SettleProgress {
  /** Orders neither terminal nor explained by a dead letter. */
  readonly open: number;
  /** Events committed and not yet published. */
  readonly unpublished: number;
  /** Messages waiting, delayed or in flight, dead letters left out. */
  readonly waiting: number;
}

export interface SettleOptions {
  readonly run: LocalRun;
  readonly database: pg.Pool;
  /** The wait ends when nothing has moved for so long. */
  readonly stallMs: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: SettleProgress) => void;
}

const POLL_MS = 100;

const STATE = `
  SELECT (SELECT count(*) FROM orders.orders
           WHERE status IN ('PENDING', 'FULFILLING', 'SHIPPED', 'DELIVERED', 'UPDATE_PENDING', 'CANCEL_PENDING')
             AND order_id::text <> ALL ($1::text[])
             AND NOT EXISTS (SELECT FROM messaging.outbox_dead d WHERE d.aggregate_id = order_id::text))::int AS open,
         (SELECT count(*) FROM messaging.outbox e, (SELECT xid, id FROM messaging.relay_cursor ORDER BY xid, id LIMIT 1) c
           WHERE (e.xid, e.id) > (c.xid, c.id))::int AS unpublished,
         (SELECT max(id) FROM messaging.outbox) AS "lastEvent"`;

/** Waits until nothing is on its way any more; resolves to whether that came to be. */
export async function settle({ run, database, stallMs, signal, onProgress }: SettleOptions): Promise<boolean> {
  let deadline = performance.now() + stallMs;
  let before = '';
  let quietSince: string | undefined;
  while (!signal?.aborted) {
    const waiting = messagesWaiting(run);
    const dead = [...new Set(deadLetters(run).flatMap((body) => identify(body).order ?? []))];
    const { open, unpublished, lastEvent } = (await database.query<SettleProgress & { lastEvent: string | null }>(STATE, [dead])).rows[0]!;
    onProgress?.({ open, unpublished, waiting });

    // A handler commits what follows before its message is gone. So two looks at empty queues with the same last event between
    // them leave no place where something could still move.
    const quiet = open === 0 && unpublished === 0 && waiting === 0 ? `last ${lastEvent}` : undefined;
    if (quiet !== undefined && quiet === quietSince) return true;
    quietSince = quiet;

    const now = JSON.stringify([open, unpublished, waiting, lastEvent, dead.length]);
    if (now !== before) deadline = performance.now() + stallMs;
    before = now;
    if (performance.now() > deadline) return false;
    await sleep(POLL_MS, undefined, { signal }).catch(() => undefined);
  }
  return false;
}
