-- The fan-out profile: three consumers that each get every event of an order and apply them by their versions.
CREATE SCHEMA fan_out;

-- Up to which version of an order a consumer is.
CREATE TABLE fan_out.progress (
  consumer text   NOT NULL COLLATE "C",
  order_id uuid   NOT NULL,
  version  bigint NOT NULL DEFAULT 0,
  -- How many came before their turn.
  early    bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (order_id, consumer)
) WITH (fillfactor = 70);

-- Events that wait for an earlier version of their order.
CREATE TABLE fan_out.parked (
  consumer  text        NOT NULL COLLATE "C",
  order_id  uuid        NOT NULL,
  version   bigint      NOT NULL,
  event_id  uuid        NOT NULL,
  envelope  text        NOT NULL,
  parked_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (order_id, consumer, version)
);

-- Remembers events, and answers with those whose turn has come: of the given ones and of those that waited for them, by order and
-- version. The caller applies them in this transaction. p_envelopes and due hold a JSON document a line.
CREATE FUNCTION fan_out.take(
  p_consumer text, p_event_ids uuid[], p_order_ids uuid[], p_versions bigint[], p_envelopes text,
  OUT handled uuid[], OUT early uuid[], OUT late uuid[], OUT due text)
LANGUAGE plpgsql SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
  handled := messaging.handled(p_consumer, p_event_ids);
  PERFORM messaging.remember(p_consumer, ARRAY(SELECT e FROM unnest(p_event_ids) AS e WHERE e <> ALL (handled)));
  -- Locks the orders, always in the same order: of two transactions with versions of one, the second sees what the first has parked.
  INSERT INTO fan_out.progress AS p (consumer, order_id)
  SELECT p_consumer, o.order_id FROM (SELECT DISTINCT unnest(p_order_ids) AS order_id) AS o ORDER BY o.order_id
  ON CONFLICT (order_id, consumer) DO UPDATE SET version = p.version;

  WITH given AS (
    SELECT DISTINCT ON (e.order_id, e.version) e.*
    FROM unnest(p_event_ids, p_order_ids, p_versions, string_to_array(p_envelopes, E'\n')) AS e (event_id, order_id, version, envelope)
    WHERE e.event_id <> ALL (handled)
    ORDER BY e.order_id, e.version
  ), fresh AS (
    SELECT g.*, true AS fresh
    FROM given g JOIN fan_out.progress p ON p.order_id = g.order_id AND p.consumer = p_consumer
    WHERE g.version > p.version
      AND NOT EXISTS (SELECT FROM fan_out.parked w WHERE w.order_id = g.order_id AND w.consumer = p_consumer AND w.version = g.version)
  ), waiting AS (
    SELECT w.event_id, w.order_id, w.version, w.envelope, false AS fresh
    FROM (SELECT DISTINCT g.order_id FROM given g) AS o JOIN fan_out.parked w ON w.order_id = o.order_id AND w.consumer = p_consumer
  ), turns AS (
    SELECT a.*, a.version = p.version + row_number() OVER (PARTITION BY a.order_id ORDER BY a.version) AS due
    FROM (SELECT * FROM fresh UNION ALL SELECT * FROM waiting) AS a JOIN fan_out.progress p ON p.order_id = a.order_id AND p.consumer = p_consumer
  ), parked AS (
    INSERT INTO fan_out.parked (consumer, order_id, version, event_id, envelope)
    SELECT p_consumer, t.order_id, t.version, t.event_id, t.envelope FROM turns t WHERE t.fresh AND NOT t.due
  ), unparked AS (
    DELETE FROM fan_out.parked w USING turns t
    WHERE t.due AND NOT t.fresh AND w.order_id = t.order_id AND w.consumer = p_consumer AND w.version = t.version
  ), progress AS (
    UPDATE fan_out.progress p SET version = greatest(p.version, m.version), early = p.early + m.early
    FROM (SELECT t.order_id, max(t.version) FILTER (WHERE t.due) AS version, count(*) FILTER (WHERE t.fresh AND NOT t.due) AS early
          FROM turns t GROUP BY t.order_id) AS m
    WHERE p.order_id = m.order_id AND p.consumer = p_consumer
  )
  SELECT coalesce(array_agg(t.event_id) FILTER (WHERE t.fresh AND NOT t.due), '{}'),
         string_agg(t.envelope, E'\n' ORDER BY t.order_id, t.version) FILTER (WHERE t.due),
         ARRAY(SELECT e FROM unnest(p_event_ids) AS e WHERE e <> ALL (handled) AND NOT EXISTS (SELECT FROM turns o WHERE o.event_id = e))
  INTO early, due, late FROM turns t;
END $$;

-- What order processing knows of an order.
CREATE TABLE fan_out.orders (
  order_id    uuid   PRIMARY KEY,
  customer_id text   NOT NULL,
  version     bigint NOT NULL,
  status      text   NOT NULL,
  items       jsonb  NOT NULL
) WITH (fillfactor = 70);

CREATE TABLE fan_out.order_minute (
  minute    timestamptz PRIMARY KEY,
  created   bigint NOT NULL,
  updated   bigint NOT NULL,
  cancelled bigint NOT NULL,
  -- Pieces in created orders, and what updates made of them.
  units     bigint NOT NULL
) WITH (fillfactor = 70);

-- One row per version of an order that a customer is told of; it waits with sent_at NULL until the sender has delivered it.
CREATE TABLE fan_out.notification (
  order_id    uuid        NOT NULL,
  version     bigint      NOT NULL,
  outcome     text        NOT NULL,
  customer_id text        NOT NULL,
  traceparent text,
  recorded_at timestamptz NOT NULL DEFAULT now(),
  due_at      timestamptz NOT NULL DEFAULT now(),
  attempts    int         NOT NULL DEFAULT 0,
  sent_at     timestamptz,
  PRIMARY KEY (order_id, version)
) WITH (fillfactor = 70);
CREATE INDEX notification_unsent ON fan_out.notification (due_at) WHERE sent_at IS NULL;
