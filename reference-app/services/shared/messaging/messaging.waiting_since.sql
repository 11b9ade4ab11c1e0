-- The parked events that are due, or all of them with 0 seconds. The caller looks at them now, and they are due again after a time that doubles,
-- from p_seconds up to 32 times as much. Several may ask at once. One behind a dead letter is left out: it is applied when that one is.
CREATE OR REPLACE FUNCTION messaging.waiting_since(p_consumer text, p_seconds float8, p_limit int) RETURNS SETOF text
LANGUAGE plpgsql SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
  RETURN QUERY
  WITH due AS (
    UPDATE messaging.parked p
    SET tried_at = now(), tries = p.tries + 1, due_at = now() + make_interval(secs => p_seconds * 2 ^ least(p.tries, 5))
    WHERE p.ctid = ANY (ARRAY(
      SELECT w.ctid FROM messaging.parked w
      WHERE w.consumer = p_consumer AND w.applied_at IS NULL AND w.given_up_at IS NULL AND (w.due_at <= now() OR p_seconds = 0)
      ORDER BY w.due_at LIMIT p_limit FOR UPDATE SKIP LOCKED))
    RETURNING p.envelope)
  SELECT d.envelope FROM due d WHERE NOT EXISTS (
    SELECT FROM messaging.dead_letter l
    WHERE l.event_id = (d.envelope::jsonb ->> 'previousid')::uuid AND l.consumer = p_consumer
      AND NOT EXISTS (SELECT FROM messaging.inbox i WHERE i.event_id = l.event_id AND i.consumer = p_consumer));
END $$;
