-- For programs of the version before, which know no subjects. To be deleted with the next release.
CREATE OR REPLACE FUNCTION orders.request(
  p_key text, p_hash bytea,
  p_order_ids text, p_versions int[], p_from text[], p_statuses text[], p_items text, p_requested text, p_reasons text[], p_shortages text,
  p_at timestamptz, p_cause_ids text[], p_event_ids uuid[], p_detail_types text[], p_envelopes text)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  PERFORM orders.command(
    p_key, p_hash, p_order_ids, p_versions, p_from, p_statuses, p_items, p_requested, p_reasons, p_shortages,
    p_at, p_cause_ids, p_event_ids, p_detail_types, p_envelopes, '');
END $$;
