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
