CREATE SCHEMA orders;

CREATE TABLE orders.orders (
  order_id    uuid        PRIMARY KEY,
  customer_id text        NOT NULL COLLATE "C",
  status      text        NOT NULL CHECK (status IN (
    'PENDING', 'CONFIRMED', 'FULFILLING', 'SHIPPED', 'DELIVERED', 'COMPLETED',
    'REJECTED', 'CANCELLED', 'EXPIRED', 'FAILED', 'UPDATE_PENDING', 'CANCEL_PENDING')),
  version     int         NOT NULL CHECK (version >= 1),
  created_at  timestamptz NOT NULL DEFAULT now(),
  updated_at  timestamptz NOT NULL DEFAULT now(),
  -- [{"sku": …, "quantity": …}], sorted by SKU, each SKU once. Always read and written whole: a row per line would be the larger part of all writes.
  items       jsonb       NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(items) = 'array'),
  -- The items that an update asks for, until the update is decided.
  requested   jsonb       CHECK (requested IS NULL OR status = 'UPDATE_PENDING'),
  reason      text,
  shortages   jsonb,
  traceparent text
) WITH (
  fillfactor = 80,
  -- The list of the orders of a status walks the index entries of all that have left it since the last vacuum; a replica does so each
  -- time, because it cannot mark them dead. So their number must not grow with the table, as it does by default (a fifth of it), and vacuum
  -- must not leave them in the index, as it does by default when few pages of the table have any.
  autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 50000, vacuum_index_cleanup = on
);
CREATE INDEX orders_customer_id_order_id ON orders.orders (customer_id, order_id DESC);
CREATE INDEX orders_status_order_id ON orders.orders (status, order_id DESC);

-- One row per version of an order, the first with from_status NULL. event_id is the event that reports the change, cause_id its cause.
-- orders.is_transition.sql adds the constraint that only known transitions are stored.
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
  key        text        PRIMARY KEY COLLATE "C",
  body_hash  bytea       NOT NULL,
  order_id   uuid        NOT NULL,
  -- The version of the order that the request made.
  version    int         NOT NULL DEFAULT 1,
  created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX idempotency_key_created_at ON orders.idempotency_key (created_at);
