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
-- For rows that have no partition of their own, because nobody made one in time.
CREATE TABLE messaging.outbox_default PARTITION OF messaging.outbox DEFAULT;

-- One row per shard: how many there are is how the relays share the work. Change it with messaging.set_relay_shards only.
CREATE TABLE messaging.relay_cursor (
  shard      int         PRIMARY KEY,
  -- Changes with the number of shards; a leader of another epoch may not move the cursor.
  epoch      int         NOT NULL DEFAULT 1,
  xid        xid8        NOT NULL DEFAULT '0',
  id         bigint      NOT NULL DEFAULT 0,
  -- Rows after the cursor were written after this time: reads need not look at partitions that are older by an hour.
  since      timestamptz NOT NULL DEFAULT '-infinity',
  -- Set by a relay that found the cursor ahead of this cluster's transaction ids; only adopt_outbox() sets it back.
  halted     boolean     NOT NULL DEFAULT false,
  updated_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO messaging.relay_cursor (shard) VALUES (0);

-- Events that the bus refused for good, kept for an operator.
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

-- Ids of events that were handled, per consumer. An id of version 7 begins with its time, so partitions of ids are partitions of time.
CREATE TABLE messaging.inbox (
  consumer     text        NOT NULL COLLATE "C",
  event_id     uuid        NOT NULL,
  processed_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (event_id, consumer)
) PARTITION BY RANGE (event_id);
CREATE TABLE messaging.inbox_default PARTITION OF messaging.inbox DEFAULT;

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

-- Events that a consumer gave up. An event counts as handled if the inbox has it since then.
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

-- Retention: whole partitions of outbox and inbox are dropped. Deleting single rows would leave bloat. messaging.maintain makes and drops them.
CREATE TABLE messaging.partition (
  name   text        PRIMARY KEY,
  parent text        NOT NULL CHECK (parent IN ('outbox', 'inbox')),
  lower  timestamptz NOT NULL,
  upper  timestamptz NOT NULL CHECK (upper > lower)
);
-- The time up to which the history of a table was dropped.
CREATE TABLE messaging.forgotten (
  parent text        PRIMARY KEY,
  before timestamptz NOT NULL
);
