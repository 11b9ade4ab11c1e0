CREATE SCHEMA inventory;

CREATE TABLE inventory.product (
  sku  text NOT NULL COLLATE "C" PRIMARY KEY,
  name text NOT NULL
);

-- The counters make a reservation safe. Few, hot rows: most of a page stays free for their next versions (HOT).
CREATE TABLE inventory.stock_level (
  sku      text NOT NULL COLLATE "C" REFERENCES inventory.product,
  location text NOT NULL COLLATE "C" DEFAULT 'MAIN',
  on_hand  int  NOT NULL CHECK (on_hand >= 0),
  reserved int  NOT NULL DEFAULT 0 CHECK (reserved BETWEEN 0 AND on_hand),
  PRIMARY KEY (sku, location)
) WITH (fillfactor = 20);

-- The ledger makes the counters auditable, and holds the reservations. The document is an order, or a receipt or
-- adjustment itself. The reservation of an order has a version for each of the order's: the decision (RESERVE, or REJECT, so that a second
-- StockValidated cannot reserve after the first was refused), then COMMIT or RELEASE, RETURN of committed stock, and RESERVE of the stock that
-- an update needs on top. The event of a version is its InventoryUpdated; the one of version 1 gives the reservation its id.
--
-- Every version has a line 1 (if nothing moves, without location), so the key lets only one of two transactions decide about a version.
CREATE TABLE inventory.ledger (
  document_id    uuid        NOT NULL DEFAULT gen_random_uuid(),
  version        int         NOT NULL DEFAULT 1 CHECK (version >= 1),
  line           int         NOT NULL DEFAULT 1 CHECK (line >= 1),
  sku            text        NOT NULL COLLATE "C",
  location       text        COLLATE "C",
  type           text        NOT NULL COLLATE "C",
  delta_on_hand  int         NOT NULL,
  delta_reserved int         NOT NULL,
  event_id       uuid,
  at             timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (document_id, version, line),
  CONSTRAINT ledger_deltas CHECK (CASE type
    WHEN 'RESERVE'    THEN delta_on_hand = 0 AND delta_reserved >= 0
    WHEN 'COMMIT'     THEN delta_on_hand < 0 AND delta_reserved = delta_on_hand
    WHEN 'REJECT'     THEN delta_on_hand = 0 AND delta_reserved = 0
    WHEN 'RELEASE'    THEN delta_on_hand = 0 AND delta_reserved <= 0
    WHEN 'RETURN'     THEN delta_on_hand >= 0 AND delta_reserved = 0
    WHEN 'RECEIPT'    THEN delta_on_hand >= 0 AND delta_reserved = 0
    WHEN 'ADJUSTMENT' THEN delta_reserved = 0
    ELSE false END),
  -- An entry of an order that moves nothing has no location. Only an entry that no order caused has no event.
  CHECK ((location IS NULL) = (delta_on_hand = 0 AND delta_reserved = 0 AND event_id IS NOT NULL)),
  CHECK ((event_id IS NULL) = (type IN ('RECEIPT', 'ADJUSTMENT')))
);
