CREATE SCHEMA notification;

-- One row per version of an order and outcome; it waits with sent_at NULL until the sender has delivered it.
CREATE TABLE notification.notification (
  order_id      uuid        NOT NULL,
  version       int         NOT NULL,
  outcome       text        NOT NULL,
  customer_id   text,
  channel       text,
  recorded_at   timestamptz NOT NULL DEFAULT now(),
  claimed_until timestamptz NOT NULL DEFAULT '-infinity',
  attempts      int         NOT NULL DEFAULT 0,
  last_error    text,
  sent_at       timestamptz,
  traceparent   text,
  PRIMARY KEY (order_id, version, outcome)
) WITH (fillfactor = 70);
CREATE INDEX notification_unsent ON notification.notification (claimed_until) WHERE sent_at IS NULL;

-- Records what customers are to be told, and remembers the events; answers which of them were handled before, and which
-- things were recorded (an earlier event may have said the same of the order). An event with outcome NULL
-- is only remembered. A deduction does not say whose order it is; the order does.
CREATE FUNCTION notification.record(
  p_consumer text, p_event_ids uuid[], p_order_ids uuid[], p_versions int[], p_outcomes text[], p_customer_ids text[], p_traceparents text[],
  OUT handled uuid[], OUT recorded_order_ids uuid[], OUT recorded_versions int[], OUT recorded_outcomes text[])
LANGUAGE plpgsql SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
  handled := messaging.handled(p_consumer, p_event_ids);
  PERFORM messaging.remember(p_consumer, ARRAY(SELECT e FROM unnest(p_event_ids) AS e WHERE e <> ALL (handled)));
  WITH told AS (
    INSERT INTO notification.notification (order_id, version, outcome, customer_id, traceparent)
    SELECT d.order_id, d.version, d.outcome, coalesce(d.customer_id, (SELECT o.customer_id FROM orders.orders o WHERE o.order_id = d.order_id)), d.traceparent
    FROM unnest(p_event_ids, p_order_ids, p_versions, p_outcomes, p_customer_ids, p_traceparents) AS d (event_id, order_id, version, outcome, customer_id, traceparent)
    WHERE d.outcome IS NOT NULL AND d.event_id <> ALL (handled)
    ORDER BY d.order_id, d.version, d.outcome
    ON CONFLICT (order_id, version, outcome) DO NOTHING
    RETURNING order_id, version, outcome
  )
  SELECT array_agg(t.order_id), array_agg(t.version), array_agg(t.outcome) INTO recorded_order_ids, recorded_versions, recorded_outcomes FROM told t;
END $$;

-- Takes notifications that wait, so that no other sender has them for so many seconds. Several may claim at once.
CREATE FUNCTION notification.claim(p_count int, p_seconds float8) RETURNS SETOF notification.notification
LANGUAGE plpgsql SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
  RETURN QUERY
  UPDATE notification.notification n SET claimed_until = now() + make_interval(secs => p_seconds), attempts = n.attempts + 1
  WHERE n.ctid = ANY (ARRAY(
    SELECT w.ctid FROM notification.notification w WHERE w.sent_at IS NULL AND w.claimed_until < now()
    ORDER BY w.claimed_until LIMIT p_count FOR UPDATE SKIP LOCKED))
  RETURNING n.*;
END $$;

CREATE FUNCTION notification.sent(p_order_ids uuid[], p_versions int[], p_outcomes text[], p_channel text) RETURNS void
LANGUAGE plpgsql SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
  UPDATE notification.notification n SET sent_at = now(), channel = p_channel, last_error = NULL
  FROM unnest(p_order_ids, p_versions, p_outcomes) AS d (order_id, version, outcome) WHERE n.order_id = d.order_id AND n.version = d.version AND n.outcome = d.outcome;
END $$;

-- They are tried again after so many seconds each.
CREATE FUNCTION notification.failed(p_order_ids uuid[], p_versions int[], p_outcomes text[], p_errors text[], p_waits float8[]) RETURNS void
LANGUAGE plpgsql SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
  UPDATE notification.notification n SET last_error = d.error, claimed_until = now() + make_interval(secs => d.wait)
  FROM unnest(p_order_ids, p_versions, p_outcomes, p_errors, p_waits) AS d (order_id, version, outcome, error, wait)
  WHERE n.order_id = d.order_id AND n.version = d.version AND n.outcome = d.outcome;
END $$;

CREATE SCHEMA analytics;

-- By the minute in which each thing happened.
CREATE TABLE analytics.order_minute (
  minute                  timestamptz      PRIMARY KEY,
  accepted                int              NOT NULL DEFAULT 0,
  confirmed               int              NOT NULL DEFAULT 0,
  rejected                int              NOT NULL DEFAULT 0,
  updated                 int              NOT NULL DEFAULT 0,
  cancelled               int              NOT NULL DEFAULT 0,
  expired                 int              NOT NULL DEFAULT 0,
  units_accepted          bigint           NOT NULL DEFAULT 0,
  units_confirmed         bigint           NOT NULL DEFAULT 0,
  units_rejected          bigint           NOT NULL DEFAULT 0,
  units_deducted          bigint           NOT NULL DEFAULT 0,
  -- over the confirmed and rejected of the minute: divide by their count for the mean time to a decision
  seconds_to_terminal_sum double precision NOT NULL DEFAULT 0,
  seconds_to_terminal_max double precision NOT NULL DEFAULT 0
) WITH (fillfactor = 20);

CREATE TABLE analytics.sku_minute (
  minute         timestamptz NOT NULL,
  sku            text        NOT NULL COLLATE "C",
  units_ordered  bigint      NOT NULL DEFAULT 0,
  units_reserved bigint      NOT NULL DEFAULT 0,
  units_deducted bigint      NOT NULL DEFAULT 0,
  rejections     int         NOT NULL DEFAULT 0,
  PRIMARY KEY (minute, sku)
) WITH (fillfactor = 50);

-- Remembers the events and adds what they count for: a row for each minute, and for each minute and SKU, both sorted, so that two batches
-- wait for each other instead of both. The rows of minutes come last: every batch of the same time waits for them.
CREATE FUNCTION analytics.add(
  p_consumer text, p_handled uuid[],
  s_minutes timestamptz[], s_skus text[], s_ordered bigint[], s_reserved bigint[], s_deducted bigint[], s_rejections int[],
  m_minutes timestamptz[], m_accepted int[], m_confirmed int[], m_rejected int[], m_updated int[], m_cancelled int[], m_expired int[], m_units_accepted bigint[], m_units_confirmed bigint[], m_units_rejected bigint[],
  m_units_deducted bigint[], m_seconds float8[], m_seconds_max float8[])
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  PERFORM messaging.remember(p_consumer, p_handled);
  INSERT INTO analytics.sku_minute AS t (minute, sku, units_ordered, units_reserved, units_deducted, rejections)
  SELECT * FROM unnest(s_minutes, s_skus, s_ordered, s_reserved, s_deducted, s_rejections)
  ON CONFLICT (minute, sku) DO UPDATE SET
    units_ordered = t.units_ordered + excluded.units_ordered, units_reserved = t.units_reserved + excluded.units_reserved,
    units_deducted = t.units_deducted + excluded.units_deducted, rejections = t.rejections + excluded.rejections;
  INSERT INTO analytics.order_minute AS t
    (minute, accepted, confirmed, rejected, updated, cancelled, expired, units_accepted, units_confirmed, units_rejected, units_deducted, seconds_to_terminal_sum, seconds_to_terminal_max)
  SELECT * FROM unnest(m_minutes, m_accepted, m_confirmed, m_rejected, m_updated, m_cancelled, m_expired, m_units_accepted, m_units_confirmed, m_units_rejected, m_units_deducted, m_seconds, m_seconds_max)
  ON CONFLICT (minute) DO UPDATE SET
    accepted = t.accepted + excluded.accepted, confirmed = t.confirmed + excluded.confirmed, rejected = t.rejected + excluded.rejected,
    updated = t.updated + excluded.updated, cancelled = t.cancelled + excluded.cancelled, expired = t.expired + excluded.expired,
    units_accepted = t.units_accepted + excluded.units_accepted, units_confirmed = t.units_confirmed + excluded.units_confirmed,
    units_rejected = t.units_rejected + excluded.units_rejected, units_deducted = t.units_deducted + excluded.units_deducted,
    seconds_to_terminal_sum = t.seconds_to_terminal_sum + excluded.seconds_to_terminal_sum,
    seconds_to_terminal_max = greatest(t.seconds_to_terminal_max, excluded.seconds_to_terminal_max);
END $$;
