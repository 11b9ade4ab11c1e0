-- The fan-out profile: three consumers that each get every event of an order and apply them by their versions.
CREATE SCHEMA fan_out;

-- The last version of an order that a consumer applied.
CREATE TABLE fan_out.progress (
  consumer text   NOT NULL COLLATE "C",
  order_id uuid   NOT NULL,
  version  bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (order_id, consumer)
) WITH (fillfactor = 70);

-- The orders as order processing knows them.
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
  -- Pieces in created orders, after their updates.
  units     bigint NOT NULL
) WITH (fillfactor = 70);

-- One row per version of an order that is reported to the customer; it waits with sent_at NULL until the sender has delivered it.
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
