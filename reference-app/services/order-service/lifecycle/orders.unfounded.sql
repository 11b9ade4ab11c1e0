-- Which of these events rest on nothing that the orders say, and why; event i is about version p_versions[i] of its order. With that version the
-- order became p_statuses[i], by the event p_event_ids[i] (NULL: this one only answers it), and its items are p_items[i], a line each as JSON, sorted
-- (empty: it names none). For consumers, who may not look into these tables: an order was written in the transaction that published its event.
-- Items can be compared as long as the event was not handled: an update becomes the items of an order only when the inventory has answered it, and
-- what an update asks for is forgotten when it is over, and then nothing is said about them.
CREATE OR REPLACE FUNCTION orders.unfounded(
  p_order_ids uuid[], p_versions bigint[], p_event_ids uuid[], p_statuses text[], p_items text, OUT events int[], OUT causes text[])
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
  SELECT array_agg(f.event), array_agg(f.cause) INTO events, causes
  FROM (
    SELECT e.event, CASE
             WHEN c.order_id IS NULL THEN 'absent'
             WHEN c.event_id <> e.event_id OR c.to_status <> e.status THEN 'other-change'
             WHEN e.items <> '' AND e.items::jsonb <> CASE WHEN e.status <> 'UPDATE_PENDING' THEN o.items WHEN o.version = e.version THEN o.requested END THEN 'other-items'
           END AS cause
    FROM (SELECT generate_subscripts(p_order_ids, 1), unnest(p_order_ids), unnest(p_versions), unnest(p_event_ids), unnest(p_statuses),
                 unnest(string_to_array(p_items, E'\n'))) AS e (event, order_id, version, event_id, status, items)
    LEFT JOIN orders.status_change c ON c.order_id = e.order_id AND c.version = e.version
    LEFT JOIN orders.orders o ON o.order_id = e.order_id AND e.items <> ''
  ) AS f
  WHERE f.cause IS NOT NULL;
END $$;
