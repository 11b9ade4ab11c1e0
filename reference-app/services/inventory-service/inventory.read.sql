-- What a decision about these events needs: which of them were handled, what the ledger says about their orders, and the stock of
-- their SKUs and of those in the ledger. Of one snapshot, without locks.
CREATE OR REPLACE FUNCTION inventory.read(
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
