-- Orders that have been in one of the statuses for longer than they may, oldest first, and no other sweeper's: locked until the end of the transaction.
-- Found by the index on the status: nothing may be asked of the id, or the planner walks all orders that are old enough.
--
-- Only those whose answer will not come: the bus or a consumer gave one of their events up, or every consumer on the way to a decision
-- has handled events that are younger than their last one by a tenth of the deadline. If relay or consumers stand still, their orders wait.
CREATE OR REPLACE FUNCTION orders.overdue(p_statuses text[], p_age interval, p_limit int)
RETURNS TABLE (order_id uuid, status text, version int, customer_id text, created_at timestamptz, last_event_id uuid)
LANGUAGE plpgsql SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
  patience interval := p_age / 10;
  consumers text[] := ARRAY['stock-service', 'inventory-service', 'order-status'];
  -- What all of them have come to; NULL if one of them has done nothing for twice the deadline.
  reached uuid;
  one text;
  found_rows int;
BEGIN
  IF NOT EXISTS (SELECT FROM orders.orders o WHERE o.status = ANY (p_statuses) AND o.updated_at < now() - p_age)
    OR EXISTS (
      SELECT FROM messaging.relay_cursor c CROSS JOIN LATERAL (
        SELECT e.created_at FROM messaging.outbox e
        WHERE (e.xid, e.id) > (c.xid, c.id) AND (hashtext(e.aggregate_id) & 2147483647) % (SELECT count(*) FROM messaging.relay_cursor) = c.shard
        ORDER BY e.xid, e.id LIMIT 1) AS pending
      WHERE pending.created_at < now() - patience)
  THEN
    RETURN;
  END IF;
  SELECT CASE WHEN count(i.event_id) = cardinality(consumers) THEN min(i.event_id::text)::uuid END INTO reached
  FROM unnest(consumers) AS c LEFT JOIN LATERAL (
    SELECT h.event_id FROM messaging.inbox h WHERE h.consumer = c AND h.event_id > messaging.first_id(now() - 2 * p_age) ORDER BY h.event_id DESC LIMIT 1) AS i ON true;
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
