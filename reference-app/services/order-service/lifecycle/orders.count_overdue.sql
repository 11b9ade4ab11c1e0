-- How many there are, for the metric.
CREATE OR REPLACE FUNCTION orders.count_overdue(p_statuses text[], p_age interval) RETURNS TABLE (status text, count bigint)
LANGUAGE plpgsql STABLE SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
  RETURN QUERY
  SELECT s, (SELECT count(*) FROM orders.orders o
             WHERE o.status = s AND o.updated_at < now() - p_age)
  FROM unnest(p_statuses) AS s;
END $$;
