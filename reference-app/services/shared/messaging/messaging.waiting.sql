-- What waits for versions of these orders, the lowest first. Asked after each batch, when as a rule nothing waits at all: then the ids, an array
-- as text, are not even looked at.
CREATE OR REPLACE FUNCTION messaging.waiting(p_consumer text, p_order_ids text, p_limit int) RETURNS SETOF text
LANGUAGE plpgsql STABLE SET enable_seqscan = off SET enable_bitmapscan = off AS $$
BEGIN
  IF EXISTS (SELECT FROM messaging.parked p WHERE p.consumer = p_consumer AND p.applied_at IS NULL) THEN
    RETURN QUERY SELECT p.envelope FROM messaging.parked p
    WHERE p.consumer = p_consumer AND p.order_id = ANY (p_order_ids::uuid[]) AND p.applied_at IS NULL ORDER BY p.order_id, p.version LIMIT p_limit;
  END IF;
END $$;
