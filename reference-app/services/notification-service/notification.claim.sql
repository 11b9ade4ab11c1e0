-- Takes notifications that wait, so that no other sender has them for p_seconds. Several may claim at once.
CREATE OR REPLACE FUNCTION notification.claim(p_count int, p_seconds float8) RETURNS SETOF notification.notification
LANGUAGE plpgsql SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
  RETURN QUERY
  UPDATE notification.notification n SET claimed_until = now() + make_interval(secs => p_seconds), attempts = n.attempts + 1
  WHERE n.ctid = ANY (ARRAY(
    SELECT w.ctid FROM notification.notification w WHERE w.sent_at IS NULL AND w.claimed_until < now()
    ORDER BY w.claimed_until LIMIT p_count FOR UPDATE SKIP LOCKED))
  RETURNING n.*;
END $$;
