-- The dead letters of an order, each with the time at which the consumer handled it after all: moved back, it came again. For readers, who may not look into the inbox.
CREATE OR REPLACE FUNCTION messaging.dead_letters(p_order_id uuid)
RETURNS TABLE (consumer text, event_id uuid, type text, error text, at timestamptz, handled_at timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off AS $$
BEGIN
  RETURN QUERY
  SELECT d.consumer, d.event_id, d.type, d.error, d.at, (SELECT i.processed_at FROM messaging.inbox i WHERE i.event_id = d.event_id AND i.consumer = d.consumer)
  FROM messaging.dead_letter d WHERE d.order_id = p_order_id;
END $$;
