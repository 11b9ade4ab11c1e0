-- For programs of the version before, which know no subjects. To be deleted with the next release.
CREATE OR REPLACE FUNCTION orders.accept(
  p_order_ids uuid[], p_customer_ids text[], p_created_at timestamptz[], p_traceparents text[], p_cause_ids text[],
  p_items text, p_event_ids uuid[], p_envelopes text, p_skus text[],
  key_order int[], p_keys text[], p_hashes bytea[],
  OUT accepted boolean, OUT unknown_skus text[], OUT taken_keys text[], OUT taken_by uuid[], OUT taken_hashes bytea[], OUT stored uuid[])
LANGUAGE plpgsql AS $$
BEGIN
  SELECT i.accepted, i.unknown_skus, i.taken_keys, i.taken_by, i.taken_hashes, i.stored INTO accepted, unknown_skus, taken_keys, taken_by, taken_hashes, stored
  FROM orders.intake(p_order_ids, p_customer_ids, p_created_at, p_traceparents, p_cause_ids, p_items, p_event_ids, p_envelopes, p_skus, key_order, p_keys, p_hashes,
    array_fill(''::text, ARRAY[cardinality(p_keys)])) i;
END $$;
