-- Writes what was decided, in one transaction: inbox, ledger, outbox, and last the counters, which others wait for. Line i of the
-- ledger belongs to the event p_entry_event[i] (1-based), whose order and version are those of the change. Stock rows come in
-- sorted order, which is the order of their locks. Fails with unique_violation when another transaction was first, and with
-- check_violation when stock does not allow it any more or is not there.
CREATE OR REPLACE FUNCTION inventory.write(
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
