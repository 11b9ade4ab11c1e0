// Publishes events from the outbox to the event bus. Several may run: each takes rows that no other has locked.
import { EventBridgeClient, PutEventsCommand } from '@aws-sdk/client-eventbridge';
import { connect, count, env, limits, log, loop, pause, run, transaction } from './shared.js';

const pool = await connect();
const eventBridge = new EventBridgeClient(limits);
const bus = { EventBusName: env('EVENT_BUS_NAME'), Source: env('EVENT_SOURCE') };

/** Publishes at most ten events. @returns the number of published events */
async function publishSome() {
  return await transaction(pool, async (tx) => {
    // Failed events come last, so that they do not delay the others.
    const { rows } = await tx.query('SELECT id, detail_type, event FROM outbox ORDER BY attempts, id LIMIT 10 FOR UPDATE SKIP LOCKED');
    if (rows.length === 0) return 0;
    const { Entries } = await eventBridge.send(new PutEventsCommand({
      Entries: rows.map((row) => ({ ...bus, DetailType: row.detail_type, Detail: JSON.stringify(row.event) })),
    }));
    // The call also succeeds when entries in it failed: each has its own answer.
    const published = rows.filter((_, index) => Entries[index].EventId).map(({ id }) => id);
    const failed = rows.filter((_, index) => !Entries[index].EventId).map(({ id }) => id);
    if (failed.length > 0) log('error', 'the bus did not take events; they are sent again', { failed, entries: Entries });
    await tx.query('UPDATE outbox SET attempts = attempts + 1 WHERE id = ANY($1)', [failed]);
    // If the process ends before the commit, they are published again: consumers recognize them by their id.
    await tx.query('DELETE FROM outbox WHERE id = ANY($1)', [published]);
    count('outbox_publish_total{result="ok"}', published.length);
    count('outbox_publish_total{result="retry"}', failed.length);
    return published.length;
  });
}

/** A message can come again for 4 days in its queue and 14 in the dead-letter queue. Older ids are not needed. */
let prunedAt = 0;
async function prune() {
  if (Date.now() - prunedAt < 3_600_000) return;
  prunedAt = Date.now();
  await pool.query(`DELETE FROM inbox WHERE handled_at < now() - interval '30 days'`);
}

await run({
  pool,
  work: loop(async () => {
    await prune();
    if (await publishSome() < 10) await pause(100);
  }),
  // Set an alarm for this metric: it grows when events are not published.
  async gauges() {
    const { rows } = await pool.query('SELECT extract(epoch FROM now() - created_at) AS age FROM outbox ORDER BY id LIMIT 1');
    return { outbox_oldest_pending_age_seconds: rows[0]?.age ?? 0 };
  },
});
