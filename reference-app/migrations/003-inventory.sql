CREATE SCHEMA inventory;

CREATE TABLE inventory.product (
  sku  text NOT NULL COLLATE "C" PRIMARY KEY,
  name text NOT NULL
);

-- Counters: what makes a reservation safe. Few, hot rows: most of a page stays free for their next versions (HOT).
CREATE TABLE inventory.stock_level (
  sku      text NOT NULL COLLATE "C" REFERENCES inventory.product,
  location text NOT NULL COLLATE "C" DEFAULT 'MAIN',
  on_hand  int  NOT NULL CHECK (on_hand >= 0),
  reserved int  NOT NULL DEFAULT 0 CHECK (reserved BETWEEN 0 AND on_hand),
  PRIMARY KEY (sku, location)
) WITH (fillfactor = 20);

-- Ledger: what makes the counters auditable, and at the same time the reservations. The document is an order, or a receipt or
-- adjustment itself. The reservation of an order has a version for each of the order's: the decision (RESERVE, or REJECT, so that a second
-- StockValidated can't reserve what the first could not), then COMMIT or RELEASE, RETURN of what was committed, and RESERVE of what
-- an update wants on top. The event that says a version is its InventoryUpdated; the one of version 1 gives the reservation its id.
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
  -- What moves nothing for an order stands nowhere; only what no order caused has no event.
  CHECK ((location IS NULL) = (delta_on_hand = 0 AND delta_reserved = 0 AND event_id IS NOT NULL)),
  CHECK ((event_id IS NULL) = (type IN ('RECEIPT', 'ADJUSTMENT')))
);

CREATE FUNCTION inventory.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'inventory.ledger is append-only: add an entry that corrects it' USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER ledger_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON inventory.ledger
  FOR EACH STATEMENT EXECUTE FUNCTION inventory.refuse_change();

-- What the ledger says about each order now; for people and checks.
CREATE VIEW inventory.reservation AS
  SELECT l.document_id AS order_id, (array_agg(l.event_id ORDER BY l.version, l.line))[1] AS reservation_id, max(l.version) AS version,
         CASE WHEN sum(l.delta_reserved) > 0 THEN 'HELD' WHEN sum(l.delta_on_hand) < 0 THEN 'COMMITTED'
              WHEN bool_or(l.type = 'RETURN') THEN 'RETURNED' WHEN bool_or(l.type = 'RESERVE') THEN 'RELEASED' ELSE 'REJECTED' END AS state,
         min(l.at) AS created_at, max(l.at) AS updated_at
  FROM inventory.ledger l WHERE l.event_id IS NOT NULL GROUP BY l.document_id;

-- Of each SKU, over all locations; those that are nowhere are left out.
CREATE FUNCTION inventory.available(p_skus text[], OUT skus text[], OUT available int[])
LANGUAGE plpgsql STABLE SET enable_seqscan = off SET enable_bitmapscan = off AS $$
BEGIN
  SELECT array_agg(s.sku), array_agg(s.available) INTO skus, available
  FROM (SELECT l.sku, sum(l.on_hand - l.reserved)::int AS available FROM inventory.stock_level l WHERE l.sku = ANY (p_skus) GROUP BY l.sku) AS s;
END $$;

-- What a decision about these events needs: which of them were handled, what the ledger says about their orders, and the stock of
-- their SKUs and of those in the ledger. Of one snapshot, without locks.
CREATE FUNCTION inventory.read(
  p_consumer text, p_event_ids uuid[], p_order_ids uuid[], p_skus text[],
  OUT handled uuid[],
  OUT entry_order_id uuid[], OUT entry_version int[], OUT entry_sku text[], OUT entry_location text[],
  OUT entry_on_hand int[], OUT entry_reserved int[], OUT entry_event_id uuid[],
  OUT stock_sku text[], OUT stock_location text[], OUT stock_on_hand int[], OUT stock_reserved int[])
LANGUAGE plpgsql STABLE SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
  handled := messaging.handled(p_consumer, p_event_ids);
  SELECT array_agg(l.document_id), array_agg(l.version), array_agg(l.sku), array_agg(coalesce(l.location, '-')),
         array_agg(l.delta_on_hand), array_agg(l.delta_reserved), array_agg(l.event_id)
  INTO entry_order_id, entry_version, entry_sku, entry_location, entry_on_hand, entry_reserved, entry_event_id
  FROM inventory.ledger l WHERE l.document_id = ANY (p_order_ids);
  SELECT array_agg(s.sku), array_agg(s.location), array_agg(s.on_hand), array_agg(s.reserved)
  INTO stock_sku, stock_location, stock_on_hand, stock_reserved
  FROM inventory.stock_level s WHERE s.sku = ANY (p_skus || entry_sku);
END $$;

-- For when the events can't be decided about without locks: remembers them (the answer is those that were not known), then locks
-- the stock that their decisions may change, in sorted order. What is read afterwards stays so until the transaction ends.
CREATE FUNCTION inventory.claim(p_consumer text, p_event_ids uuid[], p_order_ids uuid[], p_skus text[]) RETURNS uuid[]
LANGUAGE plpgsql SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
  claimed uuid[];
BEGIN
  WITH fresh AS (
    INSERT INTO messaging.inbox (consumer, event_id) SELECT p_consumer, e FROM unnest(p_event_ids) AS e ORDER BY e
    ON CONFLICT DO NOTHING RETURNING event_id
  )
  SELECT coalesce(array_agg(event_id), '{}') INTO claimed FROM fresh;
  PERFORM FROM inventory.stock_level s
  WHERE s.sku = ANY (p_skus || ARRAY(SELECT l.sku FROM inventory.ledger l WHERE l.document_id = ANY (p_order_ids)))
  ORDER BY s.sku, s.location FOR NO KEY UPDATE;
  RETURN claimed;
END $$;

-- Writes what was decided, in one transaction: inbox, ledger, outbox, and last the counters, which others wait for. Line i of the
-- ledger belongs to the event p_entry_event[i] (1-based), whose order and version are those of the change. Stock rows come in
-- sorted order, which is the order of their locks. Fails with unique_violation when another transaction was first, and with
-- check_violation when stock does not allow it any more or is not there.
CREATE FUNCTION inventory.write(
  p_consumer text, p_handled uuid[],
  p_event_ids uuid[], p_order_ids text, p_versions int[], p_envelopes text,
  p_entry_event int[], p_entry_line int[], p_entry_type text[], p_entry_sku text[], p_entry_location text[], p_entry_on_hand int[], p_entry_reserved int[],
  p_stock_sku text[], p_stock_location text[], p_stock_on_hand int[], p_stock_reserved int[])
RETURNS void
LANGUAGE plpgsql SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
  order_ids uuid[] := p_order_ids::uuid[];
  changed int;
BEGIN
  PERFORM messaging.remember(p_consumer, p_handled);
  INSERT INTO inventory.ledger (document_id, version, line, type, sku, location, delta_on_hand, delta_reserved, event_id)
  SELECT order_ids[e.event], p_versions[e.event], e.line, e.type, e.sku, e.location, e.on_hand, e.reserved, p_event_ids[e.event]
  FROM (SELECT unnest(p_entry_event), unnest(p_entry_line), unnest(p_entry_type), unnest(p_entry_sku), unnest(p_entry_location),
               unnest(p_entry_on_hand), unnest(p_entry_reserved)) AS e (event, line, type, sku, location, on_hand, reserved);
  PERFORM messaging.publish(p_event_ids, p_order_ids::text[], array_fill('InventoryUpdated'::text, ARRAY[cardinality(p_event_ids)]), p_envelopes);
  UPDATE inventory.stock_level s SET on_hand = s.on_hand + d.on_hand, reserved = s.reserved + d.reserved
  FROM unnest(p_stock_sku, p_stock_location, p_stock_on_hand, p_stock_reserved) AS d (sku, location, on_hand, reserved)
  WHERE s.sku = d.sku AND s.location = d.location;
  GET DIAGNOSTICS changed = ROW_COUNT;
  IF changed <> cardinality(p_stock_sku) THEN
    RAISE EXCEPTION 'Stock is missing: % of % rows are there', changed, cardinality(p_stock_sku) USING ERRCODE = 'check_violation';
  END IF;
END $$;
