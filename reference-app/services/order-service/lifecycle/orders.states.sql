-- What deciding about orders needs to know: which events were handled, and what the orders are. Of one snapshot, without locks. The
-- second group is about those of them that an update or a cancellation waits for.
CREATE OR REPLACE FUNCTION orders.states(
  p_consumer text, p_event_ids uuid[], p_order_ids uuid[],
  OUT handled uuid[],
  OUT order_ids uuid[], OUT statuses text[], OUT versions int[], OUT customer_ids text[], OUT created_ms bigint[], OUT last_event_ids uuid[],
  OUT changing_ids uuid[], OUT changing_items text, OUT changing_requested text, OUT changing_reasons text[])
LANGUAGE plpgsql STABLE SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
  handled := messaging.handled(p_consumer, p_event_ids);
  SELECT array_agg(o.order_id), array_agg(o.status), array_agg(o.version), array_agg(o.customer_id), array_agg(floor(extract(epoch FROM o.created_at) * 1000)::bigint),
         array_agg(c.event_id),
         array_agg(o.order_id) FILTER (WHERE o.status IN ('UPDATE_PENDING', 'CANCEL_PENDING')),
         string_agg(o.items::text, E'\n') FILTER (WHERE o.status IN ('UPDATE_PENDING', 'CANCEL_PENDING')),
         string_agg(coalesce(o.requested, '[]')::text, E'\n') FILTER (WHERE o.status IN ('UPDATE_PENDING', 'CANCEL_PENDING')),
         array_agg(coalesce(o.reason, '')) FILTER (WHERE o.status IN ('UPDATE_PENDING', 'CANCEL_PENDING'))
  INTO order_ids, statuses, versions, customer_ids, created_ms, last_event_ids, changing_ids, changing_items, changing_requested, changing_reasons
  FROM orders.orders o LEFT JOIN orders.status_change c ON c.order_id = o.order_id AND c.version = o.version
  WHERE o.order_id = ANY (p_order_ids);
END $$;
