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
