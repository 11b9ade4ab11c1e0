-- Notes failures. Each is tried again after its number of seconds in p_waits.
CREATE OR REPLACE FUNCTION notification.failed(p_order_ids uuid[], p_versions int[], p_outcomes text[], p_errors text[], p_waits float8[]) RETURNS void
LANGUAGE plpgsql SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
  UPDATE notification.notification n SET last_error = d.error, claimed_until = now() + make_interval(secs => d.wait)
  FROM unnest(p_order_ids, p_versions, p_outcomes, p_errors, p_waits) AS d (order_id, version, outcome, error, wait)
  WHERE n.order_id = d.order_id AND n.version = d.version AND n.outcome = d.outcome;
END $$;
