-- For when the events can't be decided about without locks: remembers them (the answer is those that were not known), then locks
-- the stock that their decisions may change, in sorted order. What is read afterwards stays so until the transaction ends.
CREATE OR REPLACE FUNCTION inventory.claim(p_consumer text, p_event_ids uuid[], p_order_ids uuid[], p_skus text[]) RETURNS uuid[]
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
