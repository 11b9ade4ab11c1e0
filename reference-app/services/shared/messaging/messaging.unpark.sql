CREATE OR REPLACE FUNCTION messaging.unpark(p_consumer text, p_event_ids uuid[]) RETURNS void
LANGUAGE plpgsql SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
  UPDATE messaging.parked p SET applied_at = clock_timestamp()
  WHERE p.consumer = p_consumer AND p.event_id = ANY (p_event_ids) AND p.applied_at IS NULL;
END $$;
