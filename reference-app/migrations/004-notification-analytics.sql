CREATE SCHEMA notification;

-- One row per order and outcome; it waits with sent_at NULL until the sender has delivered it.
CREATE TABLE notification.notification (
  order_id      uuid        NOT NULL,
  outcome       text        NOT NULL,
  customer_id   text,
  channel       text,
  recorded_at   timestamptz NOT NULL DEFAULT now(),
  claimed_until timestamptz NOT NULL DEFAULT '-infinity',
  attempts      int         NOT NULL DEFAULT 0,
  last_error    text,
  sent_at       timestamptz,
  traceparent   text,
  PRIMARY KEY (order_id, outcome)
) WITH (fillfactor = 70);
CREATE INDEX notification_unsent ON notification.notification (claimed_until) WHERE sent_at IS NULL;

-- Records what customers are to be told; returns what was not recorded before. A deduction does not say whose order it
-- is; the order does.
CREATE FUNCTION notification.record(p_order_ids uuid[], p_outcomes text[], p_customer_ids text[], p_traceparents text[])
RETURNS TABLE (order_id uuid, outcome text)
LANGUAGE sql SET enable_seqscan = off AS $$
  INSERT INTO notification.notification (order_id, outcome, customer_id, traceparent)
  SELECT d.order_id, d.outcome, coalesce(d.customer_id, o.customer_id), d.traceparent
  FROM unnest(p_order_ids, p_outcomes, p_customer_ids, p_traceparents) AS d (order_id, outcome, customer_id, traceparent)
  LEFT JOIN (SELECT order_id, customer_id FROM orders.orders WHERE order_id = ANY (p_order_ids)) o USING (order_id)
  ORDER BY d.order_id, d.outcome
  ON CONFLICT (order_id, outcome) DO NOTHING
  RETURNING order_id, outcome
$$;

CREATE SCHEMA analytics;

-- By the minute in which each thing happened.
CREATE TABLE analytics.order_minute (
  minute                  timestamptz      PRIMARY KEY,
  accepted                int              NOT NULL DEFAULT 0,
  confirmed               int              NOT NULL DEFAULT 0,
  rejected                int              NOT NULL DEFAULT 0,
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
  sku            text        NOT NULL,
  units_ordered  bigint      NOT NULL DEFAULT 0,
  units_reserved bigint      NOT NULL DEFAULT 0,
  units_deducted bigint      NOT NULL DEFAULT 0,
  rejections     int         NOT NULL DEFAULT 0,
  PRIMARY KEY (minute, sku)
) WITH (fillfactor = 50);
