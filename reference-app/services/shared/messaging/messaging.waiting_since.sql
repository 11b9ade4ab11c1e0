-- The events that have waited for p_seconds since somebody last looked at them. The caller looks at them now. Several may ask at once.
CREATE OR REPLACE FUNCTION messaging.waiting_since(p_consumer text, p_seconds float8, p_limit int) RETURNS SETOF text
LANGUAGE plpgsql SET enable_seqscan = off AS $$
BEGIN
  RETURN QUERY
  UPDATE messaging.parked p SET tried_at = now()
  WHERE p.ctid = ANY (ARRAY(
    SELECT w.ctid FROM messaging.parked w
    WHERE w.consumer = p_consumer AND w.applied_at IS NULL AND w.tried_at <= now() - make_interval(secs => p_seconds)
    ORDER BY w.tried_at LIMIT p_limit FOR UPDATE SKIP LOCKED))
  RETURNING p.envelope;
END $$;
