-- Adds events to the outbox of the transaction that makes them true, in the order given. p_envelopes are the JSON documents, a
-- line each: one text without the escapes that an array of them needs.
-- unnest in the list and not after FROM, where each array would be copied to a temporary table first.
CREATE OR REPLACE FUNCTION messaging.publish(p_event_ids uuid[], p_aggregate_ids text[], p_detail_types text[], p_envelopes text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO messaging.outbox (event_id, aggregate_id, detail_type, envelope)
  SELECT unnest(p_event_ids), unnest(p_aggregate_ids), unnest(p_detail_types), unnest(string_to_array(p_envelopes, E'\n'));
END $$;
