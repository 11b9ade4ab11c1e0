CREATE SCHEMA messaging;

-- Events of committed changes, published by the relay. Ordered by (xid, id): an identity alone is handed out before
-- the commit, so a cursor over it would pass by the rows of a transaction that commits late.
CREATE TABLE messaging.outbox (
  xid          xid8        NOT NULL DEFAULT pg_current_xact_id(),
  id           bigint      GENERATED ALWAYS AS IDENTITY,
  event_id     uuid        NOT NULL,
  aggregate_id text        NOT NULL,
  detail_type  text        NOT NULL,
  envelope     text        NOT NULL,
  created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (xid, id)
);
CREATE INDEX outbox_aggregate_id ON messaging.outbox (aggregate_id);

CREATE TABLE messaging.relay_cursor (
  shard      int         PRIMARY KEY,
  xid        xid8        NOT NULL,
  id         bigint      NOT NULL,
  updated_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO messaging.relay_cursor (shard, xid, id) VALUES (0, '0', 0);

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
  consumer     text        NOT NULL,
  event_id     uuid        NOT NULL,
  processed_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (consumer, event_id)
);
