/**
 * Rows of transactions that are all over, in commit-safe order. A transaction that still runs has an xid at or after
 * the snapshot's xmin, so no row can appear behind the cursor later. Rows after the cursor were written after its `since`, by a clock
 * that is not an hour wrong, which leaves one or two partitions to look at. A `since` of the future is of a clock that was corrected.
 */
export const READ = {
  name: 'relay-read',
  // Qualified in ORDER BY, where a bare name would mean the column of the result, which is text.
  text: `SELECT o.xid::text, o.id::text, o.event_id, o.aggregate_id, o.detail_type, o.envelope,
           (extract(epoch FROM o.created_at) * 1000)::float8 AS ms
         FROM messaging.outbox o
         WHERE (o.xid, o.id) > ($1::xid8, $2::bigint) AND o.xid < pg_snapshot_xmin(pg_current_snapshot()) AND o.created_at > least($3::timestamptz, now()) - interval '1 hour'
         ORDER BY o.xid, o.id LIMIT $4`,
};

/**
 * Reads one of several shards ($5 of $6): an order's events are all in one. The others' rows come without envelope, so that the cursor
 * passes them.
 */
export const READ_SHARD = {
  name: 'relay-read-shard',
  text: READ.text.replace('o.envelope', 'CASE WHEN (hashtext(o.aggregate_id) & 2147483647) % $6::int = $5::int THEN o.envelope END AS envelope'),
};

export const READ_CURSOR = {
  name: 'relay-read-cursor',
  text: 'SELECT xid::text, id::text, epoch FROM messaging.relay_cursor WHERE shard = $1',
};

export const MOVE_CURSOR = {
  name: 'relay-move-cursor',
  text: 'UPDATE messaging.relay_cursor SET xid = $3::xid8, id = $4::bigint, since = $5, updated_at = now() WHERE shard = $1 AND epoch = $2',
};

/**
 * A transaction that gets its id from now on gets this one or a later one, and writes after this time, unless the clock goes back: then
 * what was observed before ($2) is of the future, and `since` ($1) may be. The time comes first: the snapshot is taken later.
 */
export const OBSERVE = {
  name: 'relay-observe',
  text: `SELECT now()::text AS at, pg_snapshot_xmax(pg_current_snapshot())::text AS xid, now() < $2::timestamptz AS back,
    least(now(), $1::timestamptz)::text AS since`,
};

/** The oldest of each shard that is not published, also when nobody may read it yet, or leads the shard. */
export const OLDEST_PENDING = {
  name: 'relay-oldest-pending',
  text: `SELECT c.shard, extract(epoch FROM clock_timestamp() - o.created_at)::float8 AS age, o.xid >= pg_snapshot_xmin(pg_current_snapshot()) AS held
         FROM messaging.relay_cursor c
         CROSS JOIN LATERAL (
           SELECT created_at, xid FROM messaging.outbox
           WHERE (xid, id) > (c.xid, c.id) AND created_at > least(c.since, now()) - interval '1 hour'
             AND (hashtext(aggregate_id) & 2147483647) % $1::int = c.shard
           ORDER BY xid, id LIMIT 1
         ) o`,
};

export const OLDEST_TRANSACTION = { name: 'relay-oldest-transaction', text: 'SELECT seconds, pid, application_name, database FROM messaging.oldest_transaction()' };

/** The figures that exist once for all shards. Waiting events and open snapshots are few, and dead events are counted up to a limit. */
export const LOOK_AROUND = {
  name: 'relay-look-around',
  text: `SELECT (SELECT count(*)::int FROM (SELECT FROM messaging.outbox_dead LIMIT 10000) AS d) AS dead,
           (SELECT coalesce(greatest(0, extract(epoch FROM clock_timestamp() - min(p.parked_at))), 0)::float8
            FROM messaging.parked p WHERE p.applied_at IS NULL AND p.given_up_at IS NULL) AS parked,
           coalesce((SELECT seconds FROM messaging.oldest_snapshot()), 0) AS snapshot`,
};

export const BURY = {
  name: 'relay-bury',
  text: `INSERT INTO messaging.outbox_dead (xid, id, event_id, aggregate_id, detail_type, envelope, error)
         SELECT xid, id, event_id, aggregate_id, detail_type, envelope, d.error
         FROM unnest($1::text[], $2::bigint[], $3::text[]) AS d (dead_xid, dead_id, error)
         JOIN messaging.outbox ON xid = d.dead_xid::xid8 AND id = d.dead_id
         ON CONFLICT DO NOTHING`,
};

/** Held by every relay, so that they can be counted. */
export const SIGN_ON = { name: 'relay-sign-on', text: 'SELECT pg_try_advisory_lock_shared($1, -1)' };

/** The number of shards, their epoch, the number of relays; and whether a cursor, or an event, is where this cluster has not been yet. */
export const READ_SHARES = {
  name: 'relay-read-shares',
  text: `SELECT count(*)::int AS shards, max(epoch) AS epoch, coalesce(bool_or(halted OR xid >= pg_snapshot_xmax(pg_current_snapshot())), false)
             OR EXISTS (SELECT FROM messaging.outbox o WHERE o.xid >= pg_snapshot_xmax(pg_current_snapshot())) AS ahead,
           (SELECT count(DISTINCT pid)::int FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
              AND classid = $1::int::oid AND objid = 4294967295 AND granted) AS relays
         FROM messaging.relay_cursor`,
};

/**
 * Until somebody has looked: by itself the cluster would get as far as the cursor some time, and pass by what was written until then. Not
 * if somebody has done so since the look that found it, which is a new epoch.
 */
export const HALT = { name: 'relay-halt', text: 'UPDATE messaging.relay_cursor SET halted = true WHERE NOT halted AND epoch = $1' };

export const TRY_LEAD = { name: 'relay-try-lead', text: 'SELECT pg_try_advisory_lock($1, $2) AS leads' };

export const MAINTAIN = { name: 'relay-maintain', text: 'SELECT messaging.maintain($1::interval, $2::interval, $3::interval) AS done' };

/** Takes back an announcement for a partition that is not made in this round: it would refuse rows one day. */
export const WITHDRAW = { name: 'relay-withdraw', text: 'SELECT messaging.withdraw_announced()' };

export const PRUNE = { name: 'relay-prune', text: 'SELECT messaging.prune($1::interval, $2::interval, $3::interval, $4::interval, $5) AS rows' };
