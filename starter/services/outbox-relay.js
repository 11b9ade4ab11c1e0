// Moves events from the outbox to the event bus. Several may run: each takes rows that no other has in hand.
import { EventBridgeClient, PutEventsCommand } from '@aws-sdk/client-eventbridge';
import { connect, count, env, limits, log, loop, pause, run, transaction } from './shared.js';

const pool = await connect();
const eventBridge = new EventBridgeClient(limits);
const bus = { EventBusName: env('EVENT_BUS_NAME'), Source: env('EVENT_SOURCE') };

/** @returns how many events were published, of at most ten */
async function publishSome() {
  return await transaction(pool, async (tx) => {
    // What failed comes last, so that it does not hold up the others.
    const { rows } = await tx.query('SELECT id, detail_type, event FROM outbox ORDER BY attempts, id LIMIT 10 FOR UPDATE SKIP LOCKED');
    if (rows.length === 0) return 0;
    const { Entries } = await eventBridge.send(new PutEventsCommand({
      Entries: rows.map((row) => ({ ...bus, DetailType: row.detail_type, Detail: JSON.stringify(row.event) })),
    }));
    // The call succeeds also when entries in it failed: each has an answer of its own.
    const published = rows.filter((_, index) => Entries[index].EventId).map(({ id }) => id);
    const failed = rows.filter((_, index) => !Entries[index].EventId).map(({ id }) => id);
    if (failed.length > 0) log('error', 'the bus did not take events; they are sent again', { failed, entries: Entries });
    await tx.query('UPDATE outbox SET attempts = attempts + 1 WHERE id = ANY($1)', [failed]);
    // If the process ends before the commit, they are published once more: consumers know them by their id.
    await tx.query('DELETE FROM outbox WHERE id = ANY($1)', [published]);
    count('outbox_publish_total{result="ok"}', published.length);
    count('outbox_publish_total{result="retry"}', failed.length);
    return published.length;
  });
}

/** A message can come again for 4 days in its queue and 14 in the dead-letter queue; nobody asks for older ids. */
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
  // Alarm on this one: it grows when events do not get out.
  async gauges() {
    const { rows } = await pool.query('SELECT extract(epoch FROM now() - created_at) AS age FROM outbox ORDER BY id LIMIT 1');
    return { outbox_oldest_pending_age_seconds: rows[0]?.age ?? 0 };
  },
});
