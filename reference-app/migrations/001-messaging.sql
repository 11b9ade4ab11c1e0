CREATE SCHEMA messaging;

-- Events of committed changes, published by the relay. Ordered by (xid, id): an identity alone is handed out before
-- the commit, so a cursor over it would pass by the rows of a transaction that commits late.
CREATE TABLE messaging.outbox (
  xid          xid8        NOT NULL DEFAULT pg_current_xact_id(),
  id           bigint      GENERATED ALWAYS AS IDENTITY,
  event_id     uuid        NOT NULL,
  aggregate_id text        NOT NULL COLLATE "C",
  detail_type  text        NOT NULL,
  envelope     text        NOT NULL,
  created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (xid, id, created_at)
) PARTITION BY RANGE (created_at);
CREATE INDEX outbox_aggregate_id ON messaging.outbox (aggregate_id);
-- For rows that have no partition of their own, should nobody have made one in time.
CREATE TABLE messaging.outbox_default PARTITION OF messaging.outbox DEFAULT;

-- One row per shard: how many there are is how the relays share the work. Change it with messaging.set_relay_shards only.
CREATE TABLE messaging.relay_cursor (
  shard      int         PRIMARY KEY,
  -- Changes with the number of shards; a leader of another epoch may not move the cursor.
  epoch      int         NOT NULL DEFAULT 1,
  xid        xid8        NOT NULL DEFAULT '0',
  id         bigint      NOT NULL DEFAULT 0,
  -- What comes after the cursor was written after this: reads need not look at partitions that are older by an hour.
  since      timestamptz NOT NULL DEFAULT '-infinity',
  -- Set by a relay that found the cursor ahead of this cluster's transaction ids; only adopt_outbox() sets it back.
  halted     boolean     NOT NULL DEFAULT false,
  updated_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO messaging.relay_cursor (shard) VALUES (0);

-- Everything is published up to the lowest cursor, so all shards go on from there; what some had published after it is published again.
CREATE FUNCTION messaging.set_relay_shards(p_shards int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF p_shards NOT BETWEEN 1 AND 32 THEN
    RAISE EXCEPTION 'the outbox can have 1 to 32 shards, not %', p_shards USING ERRCODE = 'invalid_parameter_value';
  END IF;
  LOCK TABLE messaging.relay_cursor IN EXCLUSIVE MODE;
  IF p_shards = (SELECT count(*) FROM messaging.relay_cursor) THEN
    RETURN;
  END IF;
  WITH before AS (DELETE FROM messaging.relay_cursor RETURNING epoch, xid, id, since)
  INSERT INTO messaging.relay_cursor (shard, epoch, xid, id, since)
  SELECT s, b.epoch + 1, b.xid, b.id, b.since
  FROM generate_series(0, p_shards - 1) AS s, (SELECT * FROM before ORDER BY xid, id LIMIT 1) AS b;
END $$;

-- For the owner, once, after a dump was restored into another cluster: there the transaction ids begin anew, so the cursor and what it has not
-- passed would be in the future for ever. What was published stays so; what was written here since then has its own transaction as xmin.
CREATE FUNCTION messaging.adopt_outbox() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  passed messaging.relay_cursor;
BEGIN
  LOCK TABLE messaging.relay_cursor IN EXCLUSIVE MODE;
  SELECT * INTO passed FROM messaging.relay_cursor ORDER BY xid, id LIMIT 1;
  UPDATE messaging.outbox o
  SET xid = CASE WHEN (o.xid, o.id) > (passed.xid, passed.id) OR o.xmin = o.xid::xid THEN pg_current_xact_id() ELSE '1' END;
  UPDATE messaging.relay_cursor
  SET xid = '1', id = (SELECT coalesce(max(o.id), 0) FROM messaging.outbox o), since = '-infinity', epoch = epoch + 1, halted = false;
END $$;

-- What the bus refused for good, kept for an operator.
CREATE TABLE messaging.outbox_dead (
  xid          xid8        NOT NULL,
  id           bigint      NOT NULL,
  event_id     uuid        NOT NULL,
  aggregate_id text        NOT NULL,
  detail_type  text        NOT NULL,
  envelope     text        NOT NULL,
  error        text        NOT NULL,
  failed_at    timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (xid, id)
);

-- Event ids already handled, per consumer.
CREATE TABLE messaging.inbox (
  consumer     text        NOT NULL COLLATE "C",
  event_id     uuid        NOT NULL,
  processed_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (event_id, consumer)
-- An id of version 7 begins with its time, so partitions of ids are partitions of time.
) PARTITION BY RANGE (event_id);
CREATE TABLE messaging.inbox_default PARTITION OF messaging.inbox DEFAULT;

-- About the functions of all schemas: a plan is made while tables are small and kept while they grow. Nested loops over the
-- batch with an index look-up each are right for any size, so every other way is switched off. Never `= ANY` beside a join:
-- each look-up would go through the whole array.

-- Which of the events the consumer has handled. An event from before the inbox' memory counts as handled: no queue holds one that
-- long, so it is a replay of history.
CREATE FUNCTION messaging.handled(p_consumer text, p_event_ids uuid[]) RETURNS uuid[]
LANGUAGE plpgsql STABLE SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
  oldest uuid := (SELECT min(e::text)::uuid FROM unnest(p_event_ids) AS e);
  newest uuid := (SELECT max(e::text)::uuid FROM unnest(p_event_ids) AS e);
  remembers uuid := (SELECT messaging.first_id(f.before) FROM messaging.forgotten f WHERE f.parent = 'inbox');
BEGIN
  -- The bounds choose the partitions; an array alone would be looked up in all of them.
  RETURN ARRAY(SELECT i.event_id FROM messaging.inbox i
               WHERE i.event_id BETWEEN oldest AND newest AND i.event_id = ANY (p_event_ids) AND i.consumer = p_consumer)
    || ARRAY(SELECT e FROM unnest(p_event_ids) AS e WHERE oldest < remembers AND e < remembers AND substr(e::text, 15, 1) = '7');
END $$;

-- For the transaction that handles them. Fails with unique_violation when another transaction has handled one meanwhile. Sorted, so
-- that two batches with the same events in another order wait for each other instead of both.
CREATE FUNCTION messaging.remember(p_consumer text, p_event_ids uuid[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO messaging.inbox (consumer, event_id) SELECT p_consumer, e FROM unnest(p_event_ids) AS e ORDER BY e;
END $$;

-- Adds events to the outbox of the transaction that makes them true, in the order given. p_envelopes are the JSON documents, a
-- line each: one text without the escapes that an array of them needs.
-- unnest in the list and not after FROM, where each array would be copied to a temporary table first.
CREATE FUNCTION messaging.publish(p_event_ids uuid[], p_aggregate_ids text[], p_detail_types text[], p_envelopes text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO messaging.outbox (event_id, aggregate_id, detail_type, envelope)
  SELECT unnest(p_event_ids), unnest(p_aggregate_ids), unnest(p_detail_types), unnest(string_to_array(p_envelopes, E'\n'));
END $$;

-- Events that came before an earlier version of their order, per consumer. Not in the inbox until they are applied; kept afterwards for the
-- order's timeline.
CREATE TABLE messaging.parked (
  consumer   text        NOT NULL COLLATE "C",
  event_id   uuid        NOT NULL,
  order_id   uuid        NOT NULL,
  version    bigint      NOT NULL,
  envelope   text        NOT NULL,
  reason     text,
  parked_at  timestamptz NOT NULL DEFAULT now(),
  tried_at   timestamptz NOT NULL DEFAULT now(),
  applied_at timestamptz,
  PRIMARY KEY (event_id, consumer)
);
CREATE INDEX parked_waiting ON messaging.parked (consumer, order_id, version) WHERE applied_at IS NULL;
CREATE INDEX parked_order_id ON messaging.parked (order_id);

-- p_envelopes are JSON documents, a line each.
CREATE FUNCTION messaging.park(p_consumer text, p_event_ids uuid[], p_order_ids uuid[], p_versions bigint[], p_envelopes text, p_reasons text[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO messaging.parked (consumer, event_id, order_id, version, envelope, reason)
  SELECT p_consumer, e.event_id, e.order_id, e.version, e.envelope, e.reason
  FROM unnest(p_event_ids, p_order_ids, p_versions, string_to_array(p_envelopes, E'\n'), p_reasons) AS e (event_id, order_id, version, envelope, reason)
  ORDER BY e.event_id
  ON CONFLICT DO NOTHING;
END $$;

-- What waits for versions of these orders, the lowest first. Asked after each batch, when as a rule nothing waits at all: then the ids, an array
-- as text, are not even looked at.
CREATE FUNCTION messaging.waiting(p_consumer text, p_order_ids text, p_limit int) RETURNS SETOF text
LANGUAGE plpgsql STABLE SET enable_seqscan = off SET enable_bitmapscan = off AS $$
BEGIN
  IF EXISTS (SELECT FROM messaging.parked p WHERE p.consumer = p_consumer AND p.applied_at IS NULL) THEN
    RETURN QUERY SELECT p.envelope FROM messaging.parked p
    WHERE p.consumer = p_consumer AND p.order_id = ANY (p_order_ids::uuid[]) AND p.applied_at IS NULL ORDER BY p.order_id, p.version LIMIT p_limit;
  END IF;
END $$;

-- What has waited for so many seconds since it was last looked at, for who looks at it now. Several may ask at once.
CREATE FUNCTION messaging.waiting_since(p_consumer text, p_seconds float8, p_limit int) RETURNS SETOF text
LANGUAGE plpgsql SET enable_seqscan = off AS $$
BEGIN
  RETURN QUERY
  UPDATE messaging.parked p SET tried_at = now()
  WHERE p.ctid = ANY (ARRAY(
    SELECT w.ctid FROM messaging.parked w
    WHERE w.consumer = p_consumer AND w.applied_at IS NULL AND w.tried_at <= now() - make_interval(secs => p_seconds)
    ORDER BY w.tried_at LIMIT p_limit FOR UPDATE SKIP LOCKED))
  RETURNING p.envelope;
END $$;

CREATE FUNCTION messaging.unpark(p_consumer text, p_event_ids uuid[]) RETURNS void
LANGUAGE plpgsql SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
  UPDATE messaging.parked p SET applied_at = clock_timestamp()
  WHERE p.consumer = p_consumer AND p.event_id = ANY (p_event_ids) AND p.applied_at IS NULL;
END $$;

-- What a consumer gave up, as far as it could still say so; handled if the inbox has it since then.
CREATE TABLE messaging.dead_letter (
  consumer text        NOT NULL COLLATE "C",
  event_id uuid        NOT NULL,
  order_id uuid        NOT NULL,
  type     text        NOT NULL,
  error    text        NOT NULL,
  at       timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (event_id, consumer)
);
CREATE INDEX dead_letter_order_id ON messaging.dead_letter (order_id);

-- Of an order, and since when the consumer has handled it all the same: moved back, it came again. For readers, who may not look into the inbox.
CREATE FUNCTION messaging.dead_letters(p_order_id uuid)
RETURNS TABLE (consumer text, event_id uuid, type text, error text, at timestamptz, handled_at timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off AS $$
BEGIN
  RETURN QUERY
  SELECT d.consumer, d.event_id, d.type, d.error, d.at, (SELECT i.processed_at FROM messaging.inbox i WHERE i.event_id = d.event_id AND i.consumer = d.consumer)
  FROM messaging.dead_letter d WHERE d.order_id = p_order_id;
END $$;

-- Retention: outbox and inbox are dropped by the partition, not deleted by the row, so they leave no bloat.

CREATE TABLE messaging.partition (
  name   text        PRIMARY KEY,
  parent text        NOT NULL CHECK (parent IN ('outbox', 'inbox')),
  lower  timestamptz NOT NULL,
  upper  timestamptz NOT NULL CHECK (upper > lower)
);
-- Up to when a table's history has been dropped.
CREATE TABLE messaging.forgotten (
  parent text        PRIMARY KEY,
  before timestamptz NOT NULL
);

-- The lowest UUID of version 7 at a time.
CREATE FUNCTION messaging.first_id(p_at timestamptz) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
  SELECT (lpad(to_hex(floor(extract(epoch FROM p_at) * 1000)::bigint), 12, '0') || '70008000000000000000')::uuid
$$;

-- One step of what is to be done about partitions: makes one of the next time ahead, or drops one of which all is older than what is to be
-- kept (NULL: for ever) and, for the outbox, published. Answers what it did, or NULL when nothing is left to do. A step locks the whole
-- table, but only for a moment: rather than make traffic wait for the lock, it fails with lock_not_available and can be tried again.
CREATE FUNCTION messaging.maintain(p_outbox interval, p_inbox interval, p_width interval) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '100ms'
-- Whether a partition has unpublished rows is asked under a lock that everybody waits for: by the index, or it takes as long as reading all of it.
SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE
  p record;
  name text;
  unpublished boolean;
BEGIN
  IF least(p_outbox, p_inbox, p_width) < interval '0' THEN
    RAISE EXCEPTION 'intervals must not be negative' USING ERRCODE = 'invalid_parameter_value';
  END IF;
  IF NOT pg_try_advisory_xact_lock(hashtext('messaging.maintain')) THEN
    RETURN NULL;
  END IF;
  FOR p IN SELECT v.parent, greatest((SELECT max(q.upper) FROM messaging.partition q WHERE q.parent = v.parent), date_bin(p_width, now(), '2000-01-01Z')) AS next
           FROM (VALUES ('outbox'), ('inbox')) AS v (parent) LOOP
    -- Far ahead, so that the default partition stays empty when nobody maintains for days: each new partition has to look through it.
    CONTINUE WHEN p.next >= now() + 7 * p_width;
    name := format('%s_%s', p.parent, to_char(p.next AT TIME ZONE 'UTC', 'YYYYMMDD_HH24MISS'));
    BEGIN
      IF p.parent = 'outbox' THEN
        EXECUTE format('CREATE TABLE messaging.%I PARTITION OF messaging.outbox FOR VALUES FROM (%L) TO (%L)', name, p.next, p.next + p_width);
      ELSE
        EXECUTE format('CREATE TABLE messaging.%I PARTITION OF messaging.inbox FOR VALUES FROM (%L) TO (%L)', name, messaging.first_id(p.next), messaging.first_id(p.next + p_width));
      END IF;
    EXCEPTION WHEN check_violation THEN
      -- Nobody made it in time: rows of its time lie in the default partition already, and stay there.
      NULL;
    END;
    INSERT INTO messaging.partition VALUES (name, p.parent, p.next, p.next + p_width);
    RETURN 'made ' || name;
  END LOOP;

  FOR p IN SELECT * FROM messaging.partition q WHERE q.upper <= now() - CASE q.parent WHEN 'outbox' THEN p_outbox ELSE p_inbox END ORDER BY q.upper LOOP
    IF p.parent = 'outbox' AND to_regclass(format('messaging.%I', p.name)) IS NOT NULL THEN
      -- First the lock, so that nobody who still writes to it is overlooked; of the parent before it, as those do who read or write.
      LOCK TABLE ONLY messaging.outbox IN ACCESS EXCLUSIVE MODE;
      EXECUTE format('LOCK TABLE messaging.%I IN ACCESS EXCLUSIVE MODE', p.name);
      EXECUTE format('SELECT EXISTS (SELECT FROM messaging.%I o WHERE (o.xid, o.id) > (SELECT c.xid, c.id FROM messaging.relay_cursor c ORDER BY c.xid, c.id LIMIT 1))', p.name)
      INTO unpublished;
      CONTINUE WHEN unpublished;
    END IF;
    EXECUTE format('DROP TABLE IF EXISTS messaging.%I', p.name);
    DELETE FROM messaging.partition q WHERE q.name = p.name;
    INSERT INTO messaging.forgotten AS f VALUES (p.parent, p.upper) ON CONFLICT (parent) DO UPDATE SET before = greatest(f.before, excluded.before);
    RETURN 'dropped ' || p.name;
  END LOOP;
  RETURN NULL;
END $$;

-- Deletes what lies in no partition of its own and is older than what is to be kept (NULL: for ever), at most p_limit rows of each kind; answers how
-- many there were.
CREATE FUNCTION messaging.prune(p_outbox interval, p_inbox interval, p_keys interval, p_notifications interval, p_limit int) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  gone bigint;
  total bigint := 0;
BEGIN
  DELETE FROM messaging.outbox_default o WHERE o.ctid = ANY (ARRAY(
    SELECT d.ctid FROM messaging.outbox_default d
    WHERE d.created_at < now() - p_outbox AND (d.xid, d.id) <= (SELECT c.xid, c.id FROM messaging.relay_cursor c ORDER BY c.xid, c.id LIMIT 1) LIMIT p_limit));
  GET DIAGNOSTICS gone = ROW_COUNT; total := total + gone;
  DELETE FROM messaging.inbox_default i WHERE i.ctid = ANY (ARRAY(SELECT d.ctid FROM messaging.inbox_default d WHERE d.processed_at < now() - p_inbox LIMIT p_limit));
  GET DIAGNOSTICS gone = ROW_COUNT; total := total + gone;
  DELETE FROM orders.idempotency_key k WHERE k.key = ANY (ARRAY(
    SELECT d.key FROM orders.idempotency_key d WHERE d.created_at < now() - p_keys ORDER BY d.created_at LIMIT p_limit));
  GET DIAGNOSTICS gone = ROW_COUNT; total := total + gone;
  -- The timeline is kept as long as its events.
  DELETE FROM messaging.parked p WHERE p.ctid = ANY (ARRAY(
    SELECT d.ctid FROM messaging.parked d WHERE d.applied_at < now() - p_outbox LIMIT p_limit));
  GET DIAGNOSTICS gone = ROW_COUNT; total := total + gone;
  DELETE FROM messaging.dead_letter l WHERE l.ctid = ANY (ARRAY(
    SELECT d.ctid FROM messaging.dead_letter d WHERE d.at < now() - p_outbox LIMIT p_limit));
  GET DIAGNOSTICS gone = ROW_COUNT; total := total + gone;
  -- Order ids begin with their time, so the primary key finds the old ones.
  DELETE FROM notification.notification n WHERE n.ctid = ANY (ARRAY(
    SELECT d.ctid FROM notification.notification d
    WHERE d.order_id < messaging.first_id(now() - p_notifications) AND d.sent_at < now() - p_notifications ORDER BY d.order_id LIMIT p_limit));
  GET DIAGNOSTICS gone = ROW_COUNT; total := total + gone;
  RETURN total;
END $$;

-- The transaction that the outbox waits for: the relay reads nothing that may still get company from an older transaction, of any database of
-- the cluster. Its owner may see other sessions, which the command role may not. One that is prepared has no session: its name and no pid.
CREATE FUNCTION messaging.oldest_transaction(OUT seconds float8, OUT pid int, OUT application_name text, OUT database text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT extract(epoch FROM clock_timestamp() - t.since)::float8, t.pid, t.name, t.database
  FROM (SELECT a.xact_start AS since, a.pid, a.application_name AS name, a.datname AS database FROM pg_stat_activity a
        WHERE a.backend_xid IS NOT NULL AND a.pid <> pg_backend_pid()
        UNION ALL SELECT x.prepared, NULL, x.gid, x.database FROM pg_prepared_xacts x) AS t
  ORDER BY t.since LIMIT 1
$$;
