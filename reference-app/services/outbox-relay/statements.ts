/**
 * Rows of transactions that are all over, in commit-safe order. A transaction that still runs has an xid at or after
 * the snapshot's xmin, so no row can appear behind the cursor later.
 */
export const READ = {
  name: 'relay-read',
  // Qualified in ORDER BY, where a bare name would mean the column of the result, which is text.
  text: `SELECT o.xid::text, o.id::text, o.event_id, o.aggregate_id, o.detail_type, o.envelope, o.created_at
         FROM messaging.outbox o
         WHERE (o.xid, o.id) > ($1::xid8, $2::bigint) AND o.xid < pg_snapshot_xmin(pg_current_snapshot())
         ORDER BY o.xid, o.id LIMIT $3`,
};

export const READ_CURSOR = {
  name: 'relay-read-cursor',
  text: 'SELECT xid::text, id::text FROM messaging.relay_cursor WHERE shard = $1',
};

export const MOVE_CURSOR = {
  name: 'relay-move-cursor',
  text: 'UPDATE messaging.relay_cursor SET xid = $2::xid8, id = $3::bigint, updated_at = now() WHERE shard = $1',
};

/** The oldest that is not published, also when the relay may not read it yet. */
export const OLDEST_PENDING = {
  name: 'relay-oldest-pending',
  text: `SELECT extract(epoch FROM clock_timestamp() - o.created_at)::float8 AS age
         FROM messaging.relay_cursor c
         CROSS JOIN LATERAL (
           SELECT created_at FROM messaging.outbox WHERE (xid, id) > (c.xid, c.id) ORDER BY xid, id LIMIT 1
         ) o
         WHERE c.shard = $1`,
};

export const BURY = {
  name: 'relay-bury',
  text: `INSERT INTO messaging.outbox_dead (xid, id, event_id, aggregate_id, detail_type, envelope, error)
         SELECT xid, id, event_id, aggregate_id, detail_type, envelope, d.error
         FROM unnest($1::text[], $2::bigint[], $3::text[]) AS d (dead_xid, dead_id, error)
         JOIN messaging.outbox ON xid = d.dead_xid::xid8 AND id = d.dead_id
         ON CONFLICT DO NOTHING`,
};

export const TRY_LEAD = { name: 'relay-try-lead', text: 'SELECT pg_try_advisory_lock($1, $2) AS leads' };
