-- Orders that have been in one of the statuses for longer than they may, oldest first: locked until the end of the transaction, as all of the
-- sweep is, for in an outage one that looks in vain is enough.
-- Found by the index on the status: nothing may be asked of the id, or the planner walks all orders that are old enough.
--
-- Only those whose answer will not come: the bus or a consumer gave one of their events up, or every consumer on the way to a decision handled,
-- a tenth of the deadline ago, an event that is younger than their last one by as much. If relay or consumers stand still, their orders wait.
-- With the rights of its owner: it looks at the inbox rows and dead letters of other consumers, which its caller may not.
-- Queues have no order: after an outage the first event to be handled may be a new one, and that time is for those that waited.
CREATE OR REPLACE FUNCTION orders.overdue(p_statuses text[], p_age interval, p_limit int)
RETURNS TABLE (order_id uuid, status text, version int, customer_id text, created_at timestamptz, last_event_id uuid)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
  patience interval := p_age / 10;
  consumers text[] := ARRAY['stock-service', 'inventory-service', 'order-status'];
  -- What all of them had come to by then; NULL if one of them had handled nothing of twice the deadline.
  reached uuid;
  newest uuid;
  one text;
  found_rows int;
BEGIN
  IF NOT EXISTS (SELECT FROM orders.orders o WHERE o.status = ANY (p_statuses) AND o.updated_at < now() - p_age) THEN
    RETURN;
  END IF;
  IF NOT pg_try_advisory_xact_lock(hashtext('orders.overdue'))
    OR EXISTS (
      SELECT FROM messaging.relay_cursor c CROSS JOIN LATERAL (
        SELECT e.created_at FROM messaging.outbox e
        WHERE (e.xid, e.id) > (c.xid, c.id) AND (hashtext(e.aggregate_id) & 2147483647) % (SELECT count(*) FROM messaging.relay_cursor) = c.shard
        ORDER BY e.xid, e.id LIMIT 1) AS pending
      WHERE pending.created_at < now() - patience)
  THEN
    RETURN;
  END IF;
  -- Samples, from the newest back: while a long queue is worked off, there are too many younger rows to look at each.
  FOREACH one IN ARRAY consumers LOOP
    SELECT h.event_id INTO newest
    FROM generate_series(now() + patience, now() - 2 * p_age, - patience / 5) AS t CROSS JOIN LATERAL (
      SELECT i.event_id, i.consumer, i.processed_at FROM messaging.inbox i
      WHERE i.event_id > messaging.first_id(now() - 2 * p_age) AND i.event_id < messaging.first_id(t) ORDER BY i.event_id DESC LIMIT 200) AS h
    WHERE h.consumer = one AND h.processed_at < now() - patience LIMIT 1;
    reached := CASE WHEN newest IS NOT NULL THEN least(reached, newest) END;
    EXIT WHEN reached IS NULL;
  END LOOP;
  FOREACH one IN ARRAY p_statuses LOOP
    RETURN QUERY
    WITH late AS (
      SELECT o.order_id, o.status, o.version, o.customer_id, o.created_at, o.updated_at FROM orders.orders o
      WHERE o.status = one AND o.updated_at < now() - p_age
      ORDER BY o.updated_at LIMIT p_limit FOR NO KEY UPDATE SKIP LOCKED)
    SELECT l.order_id, l.status, l.version, l.customer_id, l.created_at,
           (SELECT c.event_id FROM orders.status_change c WHERE c.order_id = l.order_id AND c.version = l.version)
    FROM late l
    CROSS JOIN LATERAL (SELECT max(e.created_at) AS at FROM messaging.outbox e WHERE e.aggregate_id = l.order_id::text) AS last
    WHERE last.at IS NULL OR reached > messaging.first_id(last.at + patience)
      OR EXISTS (SELECT FROM messaging.dead_letter d WHERE d.order_id = l.order_id AND d.consumer = ANY (consumers) AND d.at > l.updated_at)
      OR EXISTS (SELECT FROM messaging.outbox_dead d WHERE d.aggregate_id = l.order_id::text);
    GET DIAGNOSTICS found_rows = ROW_COUNT;
    p_limit := p_limit - found_rows;
    EXIT WHEN p_limit <= 0;
  END LOOP;
END $$;
