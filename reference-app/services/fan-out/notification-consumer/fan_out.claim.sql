-- What waits to be sent, held until the transaction ends. Not the cancellation before the creation: what another process sends right now
-- counts as unsent.
CREATE OR REPLACE FUNCTION fan_out.claim(p_limit int) RETURNS SETOF fan_out.notification
LANGUAGE plpgsql SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
  RETURN QUERY
  SELECT n.* FROM fan_out.notification n
  WHERE n.sent_at IS NULL AND n.due_at <= now()
    AND NOT EXISTS (SELECT FROM fan_out.notification e WHERE e.order_id = n.order_id AND e.version < n.version AND e.sent_at IS NULL)
  ORDER BY n.due_at LIMIT p_limit FOR UPDATE SKIP LOCKED;
END $$;
