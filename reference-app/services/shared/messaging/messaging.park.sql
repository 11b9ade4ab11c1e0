-- p_envelopes are JSON documents, a line each.
CREATE OR REPLACE FUNCTION messaging.park(p_consumer text, p_event_ids uuid[], p_order_ids uuid[], p_versions bigint[], p_envelopes text, p_reasons text[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO messaging.parked (consumer, event_id, order_id, version, envelope, reason)
  SELECT p_consumer, e.event_id, e.order_id, e.version, e.envelope, e.reason
  FROM unnest(p_event_ids, p_order_ids, p_versions, string_to_array(p_envelopes, E'\n'), p_reasons) AS e (event_id, order_id, version, envelope, reason)
  ORDER BY e.event_id
  ON CONFLICT DO NOTHING;
END $$;
