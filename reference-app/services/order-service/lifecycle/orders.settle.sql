-- Writes what was decided about orders, in one transaction: inbox, order, history, outbox. p_order_ids come sorted, which is the
-- order of their locks; p_versions and p_from are those that the decision was made on. p_items, p_requested and p_shortages are JSON documents, a
-- line each; empty for items that stay, and for none. Fails when an order is not as it was read any more, or another transaction has
-- handled one of the events.
CREATE OR REPLACE FUNCTION orders.settle(
  p_consumer text, p_handled uuid[],
  p_order_ids text, p_versions int[], p_from text[], p_statuses text[], p_items text, p_requested text, p_reasons text[], p_shortages text,
  p_at timestamptz, p_cause_ids text[], p_event_ids uuid[], p_detail_types text[], p_envelopes text)
RETURNS void
LANGUAGE plpgsql SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
  ids uuid[] := p_order_ids::uuid[];
  changed int;
BEGIN
  -- Who handles no event, as the write API, has no right to the inbox.
  IF cardinality(p_handled) > 0 THEN
    PERFORM messaging.remember(p_consumer, p_handled);
  END IF;
  UPDATE orders.orders o
  SET status = d.status, version = d.version + 1, updated_at = p_at, items = coalesce(nullif(d.items, '')::jsonb, o.items),
      requested = nullif(d.requested, '')::jsonb, reason = d.reason, shortages = nullif(d.shortages, '')::jsonb
  FROM unnest(ids, p_versions, p_from, p_statuses, string_to_array(p_items, E'\n'), string_to_array(p_requested, E'\n'), p_reasons, string_to_array(p_shortages, E'\n'))
    AS d (order_id, version, from_status, status, items, requested, reason, shortages)
  -- The version says the status too. With the status here, the planner walks the index of the few pending orders and of the many that were.
  WHERE o.order_id = d.order_id AND o.version = d.version;
  GET DIAGNOSTICS changed = ROW_COUNT;
  IF changed <> cardinality(ids) THEN
    RAISE EXCEPTION 'Orders have changed meanwhile: % of % are as they were read', changed, cardinality(ids) USING ERRCODE = 'serialization_failure';
  END IF;
  INSERT INTO orders.status_change (order_id, version, from_status, to_status, event_id, cause_id, at)
  SELECT d.order_id, d.version + 1, d.from_status, d.status, d.event_id, d.cause_id, p_at
  FROM unnest(ids, p_versions, p_from, p_statuses, p_event_ids, p_cause_ids) AS d (order_id, version, from_status, status, event_id, cause_id);
  PERFORM messaging.publish(p_event_ids, p_order_ids::text[], p_detail_types, p_envelopes);
END $$;
