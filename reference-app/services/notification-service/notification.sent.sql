CREATE OR REPLACE FUNCTION notification.sent(p_order_ids uuid[], p_versions int[], p_outcomes text[], p_channel text) RETURNS void
LANGUAGE plpgsql SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
  UPDATE notification.notification n SET sent_at = now(), channel = p_channel, last_error = NULL
  FROM unnest(p_order_ids, p_versions, p_outcomes) AS d (order_id, version, outcome) WHERE n.order_id = d.order_id AND n.version = d.version AND n.outcome = d.outcome;
END $$;
