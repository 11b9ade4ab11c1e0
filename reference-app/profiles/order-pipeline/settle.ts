import type { LocalRun } from 'cdk-local-run';
import type pg from 'pg';
import { identify } from '../../invariants/invariants.ts';
import { deadLetters, messagesWaiting } from '../queues.ts';
import type { Look } from '../settle.ts';

export interface SettleProgress {
  /** Orders neither terminal nor explained by a dead letter. */
  readonly open: number;
  /** Events committed and not yet published. */
  readonly unpublished: number;
  /** Messages waiting, delayed or in flight, dead letters left out. */
  readonly waiting: number;
}

const STATE = `
  SELECT (SELECT count(*) FROM orders.orders
           WHERE status IN ('PENDING', 'FULFILLING', 'SHIPPED', 'DELIVERED', 'UPDATE_PENDING', 'CANCEL_PENDING')
             AND order_id::text <> ALL ($1::text[])
             AND NOT EXISTS (SELECT FROM messaging.outbox_dead d WHERE d.aggregate_id = order_id::text))::int AS open,
         (SELECT count(*) FROM messaging.outbox e, (SELECT xid, id FROM messaging.relay_cursor ORDER BY xid, id LIMIT 1) c
           WHERE (e.xid, e.id) > (c.xid, c.id))::int AS unpublished,
         (SELECT max(id) FROM messaging.outbox) AS "lastEvent"`;

/**
 * Looks at queues first, then at the database: a handler commits the events that follow before its message is gone. So two looks at empty
 * queues with the same last event between them leave no place where something could still move.
 */
export async function lookAtPipeline(run: LocalRun, database: pg.Pool): Promise<Look<SettleProgress>> {
  const waiting = messagesWaiting(run);
  const dead = [...new Set(deadLetters(run).flatMap((body) => identify(body).flatMap(({ order }) => order ?? [])))];
  const { rows: [state] } = await database.query<SettleProgress & { lastEvent: string | null }>(STATE, [dead]);
  const { open, unpublished, lastEvent } = state!;
  return {
    progress: { open, unpublished, waiting },
    quiet: open === 0 && unpublished === 0 && waiting === 0 ? `last ${lastEvent}` : undefined,
    moving: [open, unpublished, waiting, lastEvent, dead.length],
  };
}
