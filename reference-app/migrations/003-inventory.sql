CREATE SCHEMA inventory;

-- Rows that only ever appear together, in one statement, carry no foreign keys: a check per row would cost more than
-- the insert. The invariant checks compare the sets instead.

CREATE TABLE inventory.product (
  sku  text PRIMARY KEY,
  name text NOT NULL
);

-- Counters: what makes a reservation safe. Few, hot rows: most of a page stays free for their next versions (HOT).
CREATE TABLE inventory.stock_level (
  sku      text   NOT NULL REFERENCES inventory.product,
  location text   NOT NULL DEFAULT 'MAIN',
  on_hand  int    NOT NULL CHECK (on_hand >= 0),
  reserved int    NOT NULL DEFAULT 0 CHECK (reserved BETWEEN 0 AND on_hand),
  version  bigint NOT NULL DEFAULT 1,
  PRIMARY KEY (sku, location)
) WITH (fillfactor = 20);

-- REJECTED is recorded too, so that a second StockValidated of the order can't reserve what the first could not.
CREATE TABLE inventory.reservation (
  order_id       uuid        PRIMARY KEY,
  reservation_id uuid        NOT NULL UNIQUE,
  state          text        NOT NULL CHECK (state IN ('HELD', 'COMMITTED', 'RELEASED', 'REJECTED')),
  version        int         NOT NULL DEFAULT 1,
  created_at     timestamptz NOT NULL DEFAULT now(),
  updated_at     timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 80);

CREATE TABLE inventory.reservation_line (
  order_id uuid NOT NULL,
  sku      text NOT NULL,
  location text NOT NULL,
  quantity int  NOT NULL CHECK (quantity > 0),
  PRIMARY KEY (order_id, sku, location)
);

-- Ledger: what makes the counters auditable.
CREATE TABLE inventory.stock_movement (
  id             bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  sku            text        NOT NULL,
  location       text        NOT NULL,
  type           text        NOT NULL CHECK (type IN ('RECEIPT', 'ADJUSTMENT', 'RESERVE', 'RELEASE', 'COMMIT', 'RETURN')),
  delta_on_hand  int         NOT NULL,
  delta_reserved int         NOT NULL,
  order_id       uuid,
  event_id       uuid,
  at             timestamptz NOT NULL DEFAULT now(),
  UNIQUE (order_id, sku, location, type)
);

CREATE FUNCTION inventory.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'inventory.stock_movement is append-only: add a movement that corrects it' USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER stock_movement_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON inventory.stock_movement
  FOR EACH STATEMENT EXECUTE FUNCTION inventory.refuse_change();

-- About the functions of this schema: a plan is made while tables are small and kept while they grow. So every table is
-- bounded by "= ANY (the ids of the batch)", and enable_seqscan is off, which leaves an index as the only way.

-- Reserves stock for a batch of orders: all lines of an order or none, in the order given (greedy is exact; a running
-- sum per SKU would reject orders that can be filled). Locations of a SKU are used up in sorted order.
--
-- p_skus are distinct; line i belongs to order line_order[i] (1-based, grouped and ascending) and wants line_quantity[i] of
-- p_skus[line_sku[i]]. Each order and each SKU of an order appears once. Answers per order: 1 reserved, 2 rejected,
-- 0 decided before; and per line what the SKU had when the order's turn was over, summed over its locations.
CREATE FUNCTION inventory.reserve(
  p_order_ids uuid[], p_reservation_ids uuid[], p_event_ids uuid[], p_skus text[],
  line_order int[], line_sku int[], line_quantity int[],
  OUT verdicts smallint[], OUT line_on_hand int[], OUT line_reserved int[])
LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
  n int := cardinality(p_order_ids);
  m int := cardinality(line_order);
  decided boolean[];
  -- one element per stock row (SKU and location), in lock order
  row_sku text[]; row_location text[]; row_on_hand int[]; row_reserved int[]; row_free int[]; row_taken int[];
  -- one element per SKU: its first stock row and the sums over all of them
  sku_first int[]; sku_on_hand int[]; sku_reserved int[];
  -- one element per piece of a reservation
  take_order int[]; take_row int[]; take_quantity int[]; takes int := 0;
  first_line int := 1; last_line int; r int; o int; s int; missing int; part int; fits boolean; written int;
BEGIN
  SELECT array_agg(d.order_id IS NOT NULL ORDER BY t.o) INTO decided
  FROM unnest(p_order_ids) WITH ORDINALITY t(order_id, o)
  LEFT JOIN (SELECT order_id FROM inventory.reservation WHERE order_id = ANY (p_order_ids)) d USING (order_id);

  SELECT array_agg(l.sku), array_agg(l.location), array_agg(l.on_hand), array_agg(l.reserved), array_agg(l.on_hand - l.reserved), array_agg(0)
  INTO row_sku, row_location, row_on_hand, row_reserved, row_free, row_taken
  FROM (
    SELECT sku, location, on_hand, reserved FROM inventory.stock_level
    WHERE sku = ANY (p_skus) ORDER BY sku, location FOR NO KEY UPDATE
  ) l;

  SELECT array_agg(q.first ORDER BY p.s), array_agg(coalesce(q.on_hand, 0) ORDER BY p.s), array_agg(coalesce(q.reserved, 0) ORDER BY p.s)
  INTO sku_first, sku_on_hand, sku_reserved
  FROM unnest(p_skus) WITH ORDINALITY p(sku, s)
  LEFT JOIN (
    SELECT u.sku, min(u.r)::int AS first, sum(u.on_hand)::int AS on_hand, sum(u.reserved)::int AS reserved
    FROM unnest(row_sku, row_on_hand, row_reserved) WITH ORDINALITY u(sku, on_hand, reserved, r) GROUP BY u.sku
  ) q USING (sku);

  verdicts := array_fill(0::smallint, ARRAY[n]);
  line_on_hand := array_fill(0, ARRAY[m]);
  line_reserved := array_fill(0, ARRAY[m]);
  WHILE first_line <= m LOOP
    o := line_order[first_line];
    last_line := first_line;
    fits := true;
    LOOP
      s := line_sku[last_line];
      fits := fits AND sku_on_hand[s] - sku_reserved[s] >= line_quantity[last_line];
      EXIT WHEN last_line = m OR line_order[last_line + 1] <> o;
      last_line := last_line + 1;
    END LOOP;
    IF NOT decided[o] THEN
      verdicts[o] := CASE WHEN fits THEN 1 ELSE 2 END;
      FOR i IN first_line .. last_line LOOP
        s := line_sku[i];
        IF fits THEN
          sku_reserved[s] := sku_reserved[s] + line_quantity[i];
          missing := line_quantity[i];
          r := sku_first[s];
          WHILE missing > 0 LOOP
            part := least(missing, row_free[r]);
            IF part > 0 THEN
              row_free[r] := row_free[r] - part;
              row_taken[r] := row_taken[r] + part;
              takes := takes + 1;
              take_order[takes] := o; take_row[takes] := r; take_quantity[takes] := part;
              missing := missing - part;
            END IF;
            r := r + 1;
          END LOOP;
        END IF;
        line_on_hand[i] := sku_on_hand[s];
        line_reserved[i] := sku_reserved[s];
      END LOOP;
    END IF;
    first_line := last_line + 1;
  END LOOP;

  INSERT INTO inventory.reservation (order_id, reservation_id, state)
  SELECT d.order_id, d.reservation_id, CASE d.verdict WHEN 1 THEN 'HELD' ELSE 'REJECTED' END
  FROM unnest(p_order_ids, p_reservation_ids, verdicts) d(order_id, reservation_id, verdict)
  WHERE d.verdict > 0 ORDER BY d.order_id
  ON CONFLICT (order_id) DO NOTHING;
  GET DIAGNOSTICS written = ROW_COUNT;
  IF written <> (SELECT count(*) FROM unnest(verdicts) v WHERE v > 0) THEN
    -- Another transaction decided one of the orders meanwhile; the next try sees its decision.
    RAISE EXCEPTION 'an order was decided concurrently' USING ERRCODE = 'serialization_failure';
  END IF;
  IF takes > 0 THEN
    INSERT INTO inventory.reservation_line (order_id, sku, location, quantity)
    SELECT p_order_ids[t.o], row_sku[t.r], row_location[t.r], t.quantity
    FROM unnest(take_order, take_row, take_quantity) t(o, r, quantity);
    INSERT INTO inventory.stock_movement (sku, location, type, delta_on_hand, delta_reserved, order_id, event_id)
    SELECT row_sku[t.r], row_location[t.r], 'RESERVE', 0, t.quantity, p_order_ids[t.o], p_event_ids[t.o]
    FROM unnest(take_order, take_row, take_quantity) t(o, r, quantity);
    UPDATE inventory.stock_level l SET reserved = l.reserved + d.taken, version = l.version + 1
    FROM unnest(row_sku, row_location, row_taken) d(sku, location, taken)
    WHERE l.sku = ANY (p_skus) AND l.sku = d.sku AND l.location = d.location AND d.taken > 0;
  END IF;
END $$;

-- Turns held reservations into deductions, each at most once. Answers per order and SKU; `state` is what the
-- reservation was before: HELD lines are deducted now, any other state changes nothing. An order without reservation
-- has no row.
CREATE FUNCTION inventory.commit_reservations(p_order_ids uuid[], p_event_ids uuid[])
RETURNS TABLE (order_id uuid, reservation_id uuid, state text, version int, sku text, quantity int, on_hand int, reserved int)
LANGUAGE plpgsql SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
  skus text[];
BEGIN
  skus := ARRAY(SELECT DISTINCT q.sku FROM inventory.reservation_line q WHERE q.order_id = ANY (p_order_ids));
  -- Stock before reservations, in sorted order, as inventory.reserve does.
  PERFORM 1 FROM inventory.stock_level l WHERE l.sku = ANY (skus) ORDER BY l.sku, l.location FOR NO KEY UPDATE;

  RETURN QUERY
  WITH event AS (
    SELECT t.order_id, t.event_id, t.o FROM unnest(p_order_ids, p_event_ids) WITH ORDINALITY t(order_id, event_id, o)
  ), before AS MATERIALIZED (
    SELECT r.order_id, r.reservation_id, r.state, r.version FROM inventory.reservation r
    WHERE r.order_id = ANY (p_order_ids) ORDER BY r.order_id FOR NO KEY UPDATE
  ), line AS (
    SELECT e.o, e.event_id, q.order_id, q.sku, q.location, q.quantity
    FROM before b JOIN event e USING (order_id) JOIN inventory.reservation_line q USING (order_id)
    WHERE b.state = 'HELD' AND q.order_id = ANY (p_order_ids)
  ), committed AS (
    UPDATE inventory.reservation r SET state = 'COMMITTED', version = r.version + 1, updated_at = clock_timestamp()
    FROM before b WHERE r.order_id = ANY (p_order_ids) AND r.order_id = b.order_id AND b.state = 'HELD'
    RETURNING r.order_id, r.version
  ), movement AS (
    INSERT INTO inventory.stock_movement (sku, location, type, delta_on_hand, delta_reserved, order_id, event_id)
    SELECT line.sku, line.location, 'COMMIT', -line.quantity, -line.quantity, line.order_id, line.event_id FROM line
  ), stock AS (
    UPDATE inventory.stock_level l
    SET on_hand = l.on_hand - d.quantity, reserved = l.reserved - d.quantity, version = l.version + 1
    FROM (SELECT line.sku, line.location, sum(line.quantity)::int AS quantity FROM line GROUP BY 1, 2) d
    WHERE l.sku = ANY (skus) AND l.sku = d.sku AND l.location = d.location
  ), level AS (
    -- This statement still sees the counters from before its own update.
    SELECT l.sku, sum(l.on_hand)::int AS on_hand, sum(l.reserved)::int AS reserved
    FROM inventory.stock_level l WHERE l.sku = ANY (skus) GROUP BY l.sku
  ), per_sku AS (
    SELECT line.o, line.order_id, line.sku, sum(line.quantity)::int AS quantity FROM line GROUP BY 1, 2, 3
  ), running AS (
    SELECT s.order_id, s.sku, s.quantity, sum(s.quantity) OVER (PARTITION BY s.sku ORDER BY s.o)::int AS used FROM per_sku s
  )
  SELECT b.order_id, b.reservation_id, b.state, coalesce(c.version, b.version), u.sku, u.quantity, v.on_hand - u.used, v.reserved - u.used
  FROM before b
  LEFT JOIN committed c USING (order_id)
  LEFT JOIN running u USING (order_id)
  LEFT JOIN level v ON v.sku = u.sku
  ORDER BY b.order_id, u.sku;
END $$;
