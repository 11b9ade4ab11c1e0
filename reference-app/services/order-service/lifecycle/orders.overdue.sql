-- Orders that have been in one of the statuses for longer than they may, oldest first, and no other sweeper's: locked until the end of the transaction.
-- Found by the index on the status: nothing may be asked of the id, or the planner walks all orders that are old enough.
CREATE OR REPLACE FUNCTION orders.overdue(p_statuses text[], p_age interval, p_limit int)
RETURNS TABLE (order_id uuid, status text, version int, customer_id text, created_at timestamptz, last_event_id uuid)
LANGUAGE plpgsql SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
  one text;
  found_rows int;
BEGIN
  FOREACH one IN ARRAY p_statuses LOOP
    RETURN QUERY
    WITH late AS (
      SELECT o.order_id, o.status, o.version, o.customer_id, o.created_at FROM orders.orders o
      WHERE o.status = one AND o.updated_at < now() - p_age
      ORDER BY o.updated_at LIMIT p_limit FOR NO KEY UPDATE SKIP LOCKED)
    SELECT l.order_id, l.status, l.version, l.customer_id, l.created_at,
           (SELECT c.event_id FROM orders.status_change c WHERE c.order_id = l.order_id AND c.version = l.version)
    FROM late l;
    GET DIAGNOSTICS found_rows = ROW_COUNT;
    p_limit := p_limit - found_rows;
    EXIT WHEN p_limit <= 0;
  END LOOP;
END $$;
