CREATE SCHEMA orders;

-- What may follow what. Made from services/order-service/lifecycle/transitions.ts by generate.ts beside it.
-- transitions: begin
CREATE FUNCTION orders.is_transition(p_from text, p_to text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
  SELECT (p_from || '>' || p_to) IN (
    'PENDING>CONFIRMED',
    'PENDING>REJECTED',
    'PENDING>CANCEL_PENDING',
    'PENDING>EXPIRED',
    'CONFIRMED>UPDATE_PENDING',
    'CONFIRMED>CANCEL_PENDING',
    'UPDATE_PENDING>CONFIRMED',
    'UPDATE_PENDING>EXPIRED',
    'CANCEL_PENDING>CANCELLED',
    'CANCEL_PENDING>EXPIRED',
    'CONFIRMED>FULFILLING',
    'FULFILLING>SHIPPED',
    'SHIPPED>DELIVERED',
    'DELIVERED>COMPLETED',
    'FULFILLING>FAILED',
    'SHIPPED>FAILED')
$$;
-- transitions: end

CREATE TABLE orders.orders (
  order_id    uuid        PRIMARY KEY,
  customer_id text        NOT NULL COLLATE "C",
  status      text        NOT NULL CHECK (status IN (
    'PENDING', 'CONFIRMED', 'FULFILLING', 'SHIPPED', 'DELIVERED', 'COMPLETED',
    'REJECTED', 'CANCELLED', 'EXPIRED', 'FAILED', 'UPDATE_PENDING', 'CANCEL_PENDING')),
  version     int         NOT NULL CHECK (version >= 1),
  created_at  timestamptz NOT NULL DEFAULT now(),
  updated_at  timestamptz NOT NULL DEFAULT now(),
  -- [{"sku": …, "quantity": …}] by SKU, each once: always read and written whole, and a row per line would be most of what intake writes
  items       jsonb       NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(items) = 'array'),
  -- The items that an update asks for, as long as it is not decided on.
  requested   jsonb       CHECK (requested IS NULL OR status = 'UPDATE_PENDING'),
  reason      text,
  shortages   jsonb,
  traceparent text
) WITH (
  fillfactor = 80,
  -- The list of the orders of a status walks the index entries of all that have left it since the last vacuum; a replica does so each
  -- time, as it can't mark them dead. So their number must not grow with the table, as it does by default (a fifth of it), and vacuum
  -- must not leave them in the index, as it does by default when few pages of the table have any.
  autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 50000, vacuum_index_cleanup = on
);
CREATE INDEX orders_customer_id_order_id ON orders.orders (customer_id, order_id DESC);
CREATE INDEX orders_status_order_id ON orders.orders (status, order_id DESC);

-- Whoever writes: no status but by the table of transitions, and never without a new version.
CREATE FUNCTION orders.refuse_transition() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'Order % can not go from % to %', OLD.order_id, OLD.status, NEW.status USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER orders_transition BEFORE UPDATE OF status ON orders.orders FOR EACH ROW
  WHEN (NOT orders.is_transition(OLD.status, NEW.status) OR NEW.version <> OLD.version + 1) EXECUTE FUNCTION orders.refuse_transition();

CREATE VIEW orders.order_line AS
  SELECT o.order_id, l.sku, l.quantity FROM orders.orders o, jsonb_to_recordset(o.items) AS l (sku text, quantity int);

-- One row per version of an order, the first with from_status NULL. event_id is the event that says it,
-- cause_id what it follows from.
CREATE TABLE orders.status_change (
  order_id    uuid        NOT NULL,
  version     int         NOT NULL CHECK (version >= 1),
  from_status text        CHECK ((from_status IS NULL) = (version = 1)),
  to_status   text        NOT NULL,
  CONSTRAINT status_change_transition CHECK (CASE WHEN from_status IS NULL THEN to_status = 'PENDING' ELSE orders.is_transition(from_status, to_status) END),
  event_id    uuid        NOT NULL,
  cause_id    text,
  at          timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (order_id, version)
);

CREATE TABLE orders.idempotency_key (
  key        text        PRIMARY KEY COLLATE "C",
  body_hash  bytea       NOT NULL,
  order_id   uuid        NOT NULL,
  -- Of the order, made by the request.
  version    int         NOT NULL DEFAULT 1,
  created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX idempotency_key_created_at ON orders.idempotency_key (created_at);

-- Stores new orders with lines, first status change, idempotency keys and outbox events, all of them or, if something has to be sorted
-- out first, none: then it says which SKUs are unknown, which keys are taken (by which order, with which body) and which of the
-- orders are stored already. p_items and p_envelopes (the events) are JSON documents, a line for each order; p_skus are the distinct
-- SKUs of all; key i belongs to order key_order[i] (1-based). Fails with unique_violation when another transaction takes a key meanwhile; keys are
-- claimed in sorted order, so that two batches with the same keys queue up instead of deadlocking.
CREATE FUNCTION orders.accept(
  p_order_ids uuid[], p_customer_ids text[], p_created_at timestamptz[], p_traceparents text[], p_cause_ids text[],
  p_items text, p_event_ids uuid[], p_envelopes text, p_skus text[],
  key_order int[], p_keys text[], p_hashes bytea[],
  OUT accepted boolean, OUT unknown_skus text[], OUT taken_keys text[], OUT taken_by uuid[], OUT taken_hashes bytea[], OUT stored uuid[])
LANGUAGE plpgsql SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
  unknown_skus := ARRAY(SELECT s FROM unnest(p_skus) AS s WHERE NOT EXISTS (SELECT FROM inventory.product p WHERE p.sku = s));
  stored := ARRAY(SELECT o.order_id FROM orders.orders o WHERE o.order_id = ANY (p_order_ids));
  IF cardinality(p_keys) > 0 THEN
    SELECT array_agg(k.key), array_agg(k.order_id), array_agg(k.body_hash) INTO taken_keys, taken_by, taken_hashes
    FROM orders.idempotency_key k WHERE k.key = ANY (p_keys);
  END IF;
  accepted := cardinality(unknown_skus) = 0 AND cardinality(stored) = 0 AND taken_keys IS NULL;
  IF NOT accepted THEN
    RETURN;
  END IF;
  IF cardinality(p_keys) > 0 THEN
    INSERT INTO orders.idempotency_key (key, body_hash, order_id, created_at)
    SELECT k.key, k.body_hash, p_order_ids[k.o], p_created_at[k.o] FROM unnest(key_order, p_keys, p_hashes) AS k (o, key, body_hash) ORDER BY k.key;
  END IF;
  INSERT INTO orders.orders (order_id, customer_id, status, version, created_at, updated_at, items, traceparent)
  SELECT i.order_id, i.customer_id, 'PENDING', 1, i.created_at, i.created_at, i.items::jsonb, i.traceparent
  FROM unnest(p_order_ids, p_customer_ids, p_created_at, string_to_array(p_items, E'\n'), p_traceparents) AS i (order_id, customer_id, created_at, items, traceparent);
  INSERT INTO orders.status_change (order_id, version, from_status, to_status, event_id, cause_id, at)
  SELECT i.order_id, 1, NULL, 'PENDING', i.event_id, i.cause_id, i.created_at
  FROM unnest(p_order_ids, p_event_ids, p_cause_ids, p_created_at) AS i (order_id, event_id, cause_id, created_at);
  PERFORM messaging.publish(p_event_ids, p_order_ids::text[], array_fill('OrderCreated'::text, ARRAY[cardinality(p_order_ids)]), p_envelopes);
END $$;

-- What deciding about orders needs to know: which events were handled, and what the orders are. Of one snapshot, without locks. The
-- second group is about those of them that an update or a cancellation waits for.
CREATE FUNCTION orders.states(
  p_consumer text, p_event_ids uuid[], p_order_ids uuid[],
  OUT handled uuid[],
  OUT order_ids uuid[], OUT statuses text[], OUT versions int[], OUT customer_ids text[], OUT created_ms bigint[], OUT last_event_ids uuid[],
  OUT changing_ids uuid[], OUT changing_items text, OUT changing_requested text, OUT changing_reasons text[])
LANGUAGE plpgsql STABLE SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
  handled := messaging.handled(p_consumer, p_event_ids);
  SELECT array_agg(o.order_id), array_agg(o.status), array_agg(o.version), array_agg(o.customer_id), array_agg(floor(extract(epoch FROM o.created_at) * 1000)::bigint),
         array_agg(c.event_id),
         array_agg(o.order_id) FILTER (WHERE o.status IN ('UPDATE_PENDING', 'CANCEL_PENDING')),
         string_agg(o.items::text, E'\n') FILTER (WHERE o.status IN ('UPDATE_PENDING', 'CANCEL_PENDING')),
         string_agg(coalesce(o.requested, '[]')::text, E'\n') FILTER (WHERE o.status IN ('UPDATE_PENDING', 'CANCEL_PENDING')),
         array_agg(coalesce(o.reason, '')) FILTER (WHERE o.status IN ('UPDATE_PENDING', 'CANCEL_PENDING'))
  INTO order_ids, statuses, versions, customer_ids, created_ms, last_event_ids, changing_ids, changing_items, changing_requested, changing_reasons
  FROM orders.orders o LEFT JOIN orders.status_change c ON c.order_id = o.order_id AND c.version = o.version
  WHERE o.order_id = ANY (p_order_ids);
END $$;

-- Writes what was decided about orders, in one transaction: inbox, order, history, outbox. p_order_ids come sorted, which is the
-- order of their locks; p_versions and p_from are those that the decision was made on. p_items, p_requested and p_shortages are JSON documents, a
-- line each; empty for items that stay, and for none. Fails when an order is not as it was read any more, or another transaction has
-- handled one of the events.
CREATE FUNCTION orders.settle(
  p_consumer text, p_handled uuid[],
  p_order_ids text, p_versions int[], p_from text[], p_statuses text[], p_items text, p_requested text, p_reasons text[], p_shortages text,
  p_at timestamptz, p_cause_ids text[], p_event_ids uuid[], p_detail_types text[], p_envelopes text)
RETURNS void
LANGUAGE plpgsql SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
  ids uuid[] := p_order_ids::uuid[];
  changed int;
BEGIN
  PERFORM messaging.remember(p_consumer, p_handled);
  UPDATE orders.orders o
  SET status = d.status, version = d.version + 1, updated_at = p_at, items = coalesce(nullif(d.items, '')::jsonb, o.items),
      requested = nullif(d.requested, '')::jsonb, reason = d.reason, shortages = nullif(d.shortages, '')::jsonb
  FROM unnest(ids, p_versions, p_from, p_statuses, string_to_array(p_items, E'\n'), string_to_array(p_requested, E'\n'), p_reasons, string_to_array(p_shortages, E'\n'))
    AS d (order_id, version, from_status, status, items, requested, reason, shortages)
  -- The version says the status too. With the status here, the planner walks the index of the few pending orders and of the many that were.
  WHERE o.order_id = d.order_id AND o.version = d.version;
  GET DIAGNOSTICS changed = ROW_COUNT;
  IF changed <> cardinality(ids) THEN
    RAISE EXCEPTION 'Orders have changed meanwhile: % of % are as they were read', changed, cardinality(ids) USING ERRCODE = 'serialization_failure';
  END IF;
  INSERT INTO orders.status_change (order_id, version, from_status, to_status, event_id, cause_id, at)
  SELECT d.order_id, d.version + 1, d.from_status, d.status, d.event_id, d.cause_id, p_at
  FROM unnest(ids, p_versions, p_from, p_statuses, p_event_ids, p_cause_ids) AS d (order_id, version, from_status, status, event_id, cause_id);
  PERFORM messaging.publish(p_event_ids, p_order_ids::text[], p_detail_types, p_envelopes);
END $$;

-- What a client's command needs to know: the order, whether the key was used before, and which of the SKUs are unknown.
CREATE FUNCTION orders.for_command(
  p_order_id uuid, p_key text, p_skus text[],
  OUT status text, OUT version int, OUT customer_id text, OUT created_at timestamptz, OUT items jsonb, OUT last_event_id uuid,
  OUT key_order_id uuid, OUT key_version int, OUT key_hash bytea, OUT unknown_skus text[])
LANGUAGE plpgsql STABLE SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
  SELECT o.status, o.version, o.customer_id, o.created_at, o.items, c.event_id INTO status, version, customer_id, created_at, items, last_event_id
  FROM orders.orders o LEFT JOIN orders.status_change c ON c.order_id = o.order_id AND c.version = o.version WHERE o.order_id = p_order_id;
  SELECT k.order_id, k.version, k.body_hash INTO key_order_id, key_version, key_hash FROM orders.idempotency_key k WHERE k.key = p_key;
  unknown_skus := ARRAY(SELECT s FROM unnest(p_skus) AS s WHERE NOT EXISTS (SELECT FROM inventory.product p WHERE p.sku = s));
END $$;

-- Writes a client's command: its key (NULL for none) and what orders.settle writes. Fails with unique_violation when the key was taken meanwhile.
CREATE FUNCTION orders.request(
  p_key text, p_hash bytea,
  p_order_ids text, p_versions int[], p_from text[], p_statuses text[], p_items text, p_requested text, p_reasons text[], p_shortages text,
  p_at timestamptz, p_cause_ids text[], p_event_ids uuid[], p_detail_types text[], p_envelopes text)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF p_key IS NOT NULL THEN
    INSERT INTO orders.idempotency_key (key, body_hash, order_id, version) VALUES (p_key, p_hash, (p_order_ids::uuid[])[1], p_versions[1] + 1);
  END IF;
  PERFORM orders.settle('', '{}', p_order_ids, p_versions, p_from, p_statuses, p_items, p_requested, p_reasons, p_shortages, p_at, p_cause_ids, p_event_ids, p_detail_types, p_envelopes);
END $$;

-- Orders that have been in one of the statuses for longer than they may, oldest first, and no other sweeper's: locked until the end of the transaction.
-- Found by the index on the status: nothing may be asked of the id, or the planner walks all orders that are old enough.
CREATE FUNCTION orders.overdue(p_statuses text[], p_age interval, p_limit int)
RETURNS TABLE (order_id uuid, status text, version int, customer_id text, created_at timestamptz, last_event_id uuid)
LANGUAGE plpgsql SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
  one text;
  found_rows int;
BEGIN
  FOREACH one IN ARRAY p_statuses LOOP
    RETURN QUERY
    WITH late AS (
      SELECT o.order_id, o.status, o.version, o.customer_id, o.created_at FROM orders.orders o
      WHERE o.status = one AND o.updated_at < now() - p_age
      ORDER BY o.updated_at LIMIT p_limit FOR NO KEY UPDATE SKIP LOCKED)
    SELECT l.order_id, l.status, l.version, l.customer_id, l.created_at,
           (SELECT c.event_id FROM orders.status_change c WHERE c.order_id = l.order_id AND c.version = l.version)
    FROM late l;
    GET DIAGNOSTICS found_rows = ROW_COUNT;
    p_limit := p_limit - found_rows;
    EXIT WHEN p_limit <= 0;
  END LOOP;
END $$;

-- How many there are, for the metric.
CREATE FUNCTION orders.count_overdue(p_statuses text[], p_age interval) RETURNS TABLE (status text, count bigint)
LANGUAGE plpgsql STABLE SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
  RETURN QUERY
  SELECT s, (SELECT count(*) FROM orders.orders o
             WHERE o.status = s AND o.updated_at < now() - p_age)
  FROM unnest(p_statuses) AS s;
END $$;
