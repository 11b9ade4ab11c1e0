-- The fan-out profile: three consumers that each get every event of an order and apply them by their versions.
CREATE SCHEMA fan_out;

-- Up to which version of an order a consumer is.
CREATE TABLE fan_out.progress (
  consumer text   NOT NULL COLLATE "C",
  order_id uuid   NOT NULL,
  version  bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (order_id, consumer)
) WITH (fillfactor = 70);

-- Whose turn it is: not of events that were handled, nor of a version that was there already (late), nor of one with others missing before
-- it (early). All but the early ones are remembered; the caller applies those that are left, in this transaction.
CREATE FUNCTION fan_out.take(p_consumer text, p_event_ids uuid[], p_order_ids uuid[], p_versions bigint[], OUT handled uuid[], OUT early uuid[], OUT late uuid[])
LANGUAGE plpgsql SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
  handled := messaging.handled(p_consumer, p_event_ids);
  -- Locks the orders, always in the same order: two transactions with versions of one order take turns.
  INSERT INTO fan_out.progress AS p (consumer, order_id)
  SELECT p_consumer, o.order_id FROM (SELECT DISTINCT unnest(p_order_ids) AS order_id) AS o ORDER BY o.order_id
  ON CONFLICT (order_id, consumer) DO UPDATE SET version = p.version;

  WITH fresh AS (
    SELECT DISTINCT ON (e.order_id, e.version) e.event_id, e.order_id, e.version, p.version AS reached
    FROM unnest(p_event_ids, p_order_ids, p_versions) AS e (event_id, order_id, version)
    JOIN fan_out.progress p ON p.order_id = e.order_id AND p.consumer = p_consumer
    WHERE e.version > p.version AND e.event_id <> ALL (handled)
    ORDER BY e.order_id, e.version
  ), turns AS (
    SELECT f.*, f.version = f.reached + row_number() OVER (PARTITION BY f.order_id ORDER BY f.version) AS due FROM fresh f
  ), progress AS (
    UPDATE fan_out.progress p SET version = m.version
    FROM (SELECT t.order_id, max(t.version) AS version FROM turns t WHERE t.due GROUP BY t.order_id) AS m
    WHERE p.order_id = m.order_id AND p.consumer = p_consumer
  )
  SELECT ARRAY(SELECT t.event_id FROM turns t WHERE NOT t.due),
         ARRAY(SELECT e FROM unnest(p_event_ids) AS e WHERE e <> ALL (handled) AND NOT EXISTS (SELECT FROM turns t WHERE t.event_id = e))
  INTO early, late;
  PERFORM messaging.remember(p_consumer, ARRAY(SELECT e FROM unnest(p_event_ids) AS e WHERE e <> ALL (handled) AND e <> ALL (early)));
END $$;

-- What order processing knows of an order.
CREATE TABLE fan_out.orders (
  order_id    uuid   PRIMARY KEY,
  customer_id text   NOT NULL,
  version     bigint NOT NULL,
  status      text   NOT NULL,
  items       jsonb  NOT NULL
) WITH (fillfactor = 70);

-- What is NULL is as it was; an order without a creation has no items, which its table refuses. A terminal order stays what it is.
CREATE FUNCTION fan_out.save(p_order_ids uuid[], p_customer_ids text[], p_versions bigint[], p_statuses text[], p_items text[]) RETURNS void
LANGUAGE plpgsql SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
  INSERT INTO fan_out.orders AS o (order_id, customer_id, version, status, items)
  SELECT n.order_id, n.customer_id, n.version, coalesce(n.status, b.status), coalesce(n.items::jsonb, b.items)
  FROM unnest(p_order_ids, p_customer_ids, p_versions, p_statuses, p_items) AS n (order_id, customer_id, version, status, items)
  LEFT JOIN fan_out.orders b ON b.order_id = n.order_id
  ORDER BY n.order_id
  ON CONFLICT (order_id) DO UPDATE SET version = excluded.version, status = excluded.status, items = excluded.items
  WHERE o.status NOT IN ('REJECTED', 'CANCELLED', 'EXPIRED');
END $$;

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

-- What waits to be sent, held until the transaction ends. Not the cancellation before the creation: what another process sends right now
-- counts as unsent.
CREATE FUNCTION fan_out.claim(p_limit int) RETURNS SETOF fan_out.notification
LANGUAGE plpgsql SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
  RETURN QUERY
  SELECT n.* FROM fan_out.notification n
  WHERE n.sent_at IS NULL AND n.due_at <= now()
    AND NOT EXISTS (SELECT FROM fan_out.notification e WHERE e.order_id = n.order_id AND e.version < n.version AND e.sent_at IS NULL)
  ORDER BY n.due_at LIMIT p_limit FOR UPDATE SKIP LOCKED;
END $$;

-- p_waits are the seconds until the next try, 0 for what is sent.
CREATE FUNCTION fan_out.settle(p_order_ids uuid[], p_versions bigint[], p_waits float8[]) RETURNS void
LANGUAGE plpgsql SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
  UPDATE fan_out.notification n
  SET attempts = n.attempts + 1, sent_at = CASE WHEN s.wait = 0 THEN now() END, due_at = now() + make_interval(secs => s.wait)
  FROM unnest(p_order_ids, p_versions, p_waits) AS s (order_id, version, wait)
  WHERE n.order_id = s.order_id AND n.version = s.version;
END $$;
