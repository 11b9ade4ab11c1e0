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
  consumer     text        NOT NULL COLLATE "C",
  event_id     uuid        NOT NULL,
  processed_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (event_id, consumer)
);

-- About the functions of all schemas: a plan is made while tables are small and kept while they grow. Nested loops over the
-- batch with an index look-up each are right for any size, so every other way is switched off. Never `= ANY` beside a join:
-- each look-up would go through the whole array.

-- Which of the events the consumer has handled.
CREATE FUNCTION messaging.handled(p_consumer text, p_event_ids uuid[]) RETURNS uuid[]
LANGUAGE plpgsql STABLE SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
  RETURN ARRAY(SELECT i.event_id FROM messaging.inbox i WHERE i.event_id = ANY (p_event_ids) AND i.consumer = p_consumer);
END $$;

-- For the transaction that handles them. Fails with unique_violation when another transaction has handled one meanwhile. Sorted, so
-- that two batches with the same events in another order wait for each other instead of both.
CREATE FUNCTION messaging.remember(p_consumer text, p_event_ids uuid[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO messaging.inbox (consumer, event_id) SELECT p_consumer, e FROM unnest(p_event_ids) AS e ORDER BY e;
END $$;

-- Adds events to the outbox of the transaction that makes them true, in the order given. p_envelopes are the JSON documents, a
-- line each: one text without the escapes that an array of them needs.
CREATE FUNCTION messaging.publish(p_event_ids uuid[], p_aggregate_ids text[], p_detail_types text[], p_envelopes text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO messaging.outbox (event_id, aggregate_id, detail_type, envelope)
  SELECT * FROM unnest(p_event_ids, p_aggregate_ids, p_detail_types, string_to_array(p_envelopes, E'\n'));
END $$;
