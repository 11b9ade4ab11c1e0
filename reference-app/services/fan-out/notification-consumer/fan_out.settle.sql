-- p_waits are the seconds until the next try, 0 for what is sent.
CREATE OR REPLACE FUNCTION fan_out.settle(p_order_ids uuid[], p_versions bigint[], p_waits float8[]) RETURNS void
LANGUAGE plpgsql SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
  UPDATE fan_out.notification n
  SET attempts = n.attempts + 1, sent_at = CASE WHEN s.wait = 0 THEN now() END, due_at = now() + make_interval(secs => s.wait)
  FROM unnest(p_order_ids, p_versions, p_waits) AS s (order_id, version, wait)
  WHERE n.order_id = s.order_id AND n.version = s.version;
END $$;
