CREATE SCHEMA orders;

CREATE TABLE orders.orders (
  order_id    uuid        PRIMARY KEY,
  customer_id text        NOT NULL,
  status      text        NOT NULL CHECK (status IN (
    'PENDING', 'CONFIRMED', 'FULFILLING', 'SHIPPED', 'DELIVERED', 'COMPLETED',
    'REJECTED', 'CANCELLED', 'EXPIRED', 'FAILED', 'UPDATE_PENDING', 'CANCEL_PENDING')),
  version     int         NOT NULL CHECK (version >= 1),
  created_at  timestamptz NOT NULL DEFAULT now(),
  updated_at  timestamptz NOT NULL DEFAULT now(),
  reason      text,
  shortages   jsonb,
  traceparent text
) WITH (fillfactor = 80);
CREATE INDEX orders_customer_id_order_id ON orders.orders (customer_id, order_id DESC);
CREATE INDEX orders_status_order_id ON orders.orders (status, order_id DESC);

CREATE TABLE orders.order_line (
  order_id uuid NOT NULL,
  sku      text NOT NULL,
  quantity int  NOT NULL CHECK (quantity > 0),
  PRIMARY KEY (order_id, sku)
);

-- One row per version of an order, the first with from_status NULL. event_id is the event that says it,
-- cause_id what it follows from.
CREATE TABLE orders.status_change (
  order_id    uuid        NOT NULL,
  version     int         NOT NULL CHECK (version >= 1),
  from_status text        CHECK ((from_status IS NULL) = (version = 1)),
  to_status   text        NOT NULL,
  event_id    uuid        NOT NULL,
  cause_id    text,
  at          timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (order_id, version)
);

CREATE TABLE orders.idempotency_key (
  key        text        PRIMARY KEY,
  body_hash  bytea       NOT NULL,
  order_id   uuid        NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now()
);

-- Decides the fate of pending orders. Returns one row per order that exists: from_status tells whether the
-- transition happened (PENDING) or was absorbed by a state that no longer takes it.
CREATE FUNCTION orders.settle(p_order_ids uuid[], p_statuses text[], p_reasons text[], p_shortages jsonb[], p_event_ids uuid[], p_cause_ids text[])
RETURNS TABLE (order_id uuid, customer_id text, from_status text, version int, created_at timestamptz, settled_at timestamptz)
-- A plan that was made while the table was small must not scan it when it has grown.
LANGUAGE sql SET enable_seqscan = off AS $$
  WITH locked AS MATERIALIZED (
    SELECT o.order_id, o.customer_id, o.status, o.version, o.created_at, d.status AS to_status, d.reason, d.shortages, d.event_id, d.cause_id
    FROM unnest(p_order_ids, p_statuses, p_reasons, p_shortages, p_event_ids, p_cause_ids)
      AS d (order_id, status, reason, shortages, event_id, cause_id)
    JOIN orders.orders o USING (order_id)
    WHERE o.order_id = ANY (p_order_ids)
    ORDER BY o.order_id
    FOR NO KEY UPDATE OF o
  ), settled AS (
    UPDATE orders.orders o
    SET status = l.to_status, version = o.version + 1, updated_at = clock_timestamp(), reason = l.reason, shortages = l.shortages
    FROM locked l
    WHERE o.order_id = ANY (p_order_ids) AND o.order_id = l.order_id AND l.status = 'PENDING'
    RETURNING o.order_id, o.version, o.updated_at
  ), changes AS (
    INSERT INTO orders.status_change (order_id, version, from_status, to_status, event_id, cause_id, at)
    SELECT s.order_id, s.version, l.status, l.to_status, l.event_id, l.cause_id, s.updated_at
    FROM settled s JOIN locked l USING (order_id)
  )
  SELECT l.order_id, l.customer_id, l.status, coalesce(s.version, l.version), l.created_at, s.updated_at
  FROM locked l LEFT JOIN settled s USING (order_id)
$$;
