-- Writes a client's command: its key of its subject (NULL for none) and what orders.settle writes. Fails with unique_violation when the key was taken meanwhile.
CREATE OR REPLACE FUNCTION orders.command(
  p_key text, p_hash bytea,
  p_order_ids text, p_versions int[], p_from text[], p_statuses text[], p_items text, p_requested text, p_reasons text[], p_shortages text,
  p_at timestamptz, p_cause_ids text[], p_event_ids uuid[], p_detail_types text[], p_envelopes text,
  p_subject text)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF p_key IS NOT NULL THEN
    INSERT INTO orders.idempotency_key (key, subject, body_hash, order_id, version) VALUES (p_key, p_subject, p_hash, (p_order_ids::uuid[])[1], p_versions[1] + 1);
  END IF;
  PERFORM orders.settle('', '{}', p_order_ids, p_versions, p_from, p_statuses, p_items, p_requested, p_reasons, p_shortages,
    p_at, p_cause_ids, p_event_ids, p_detail_types, p_envelopes);
END $$;
