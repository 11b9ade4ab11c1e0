-- Which of these events, each an InventoryUpdated, are not what the ledger says: event i is about version p_versions[i] of the reservation of its
-- order, and p_types[i] is what it did. For consumers, who may not look into the ledger.
CREATE OR REPLACE FUNCTION inventory.unfounded(p_event_ids uuid[], p_order_ids uuid[], p_versions bigint[], p_types text[]) RETURNS uuid[]
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
  RETURN ARRAY(
    SELECT e.event_id FROM (SELECT unnest(p_event_ids), unnest(p_order_ids), unnest(p_versions), unnest(p_types)) AS e (event_id, order_id, version, type)
    WHERE NOT EXISTS (
      SELECT FROM inventory.ledger l WHERE l.document_id = e.order_id AND l.version = e.version AND l.event_id = e.event_id AND l.type = e.type));
END $$;
