-- What is NULL is as it was; an order without a creation has no items, which its table refuses. A terminal order stays what it is.
CREATE OR REPLACE FUNCTION fan_out.save(p_order_ids uuid[], p_customer_ids text[], p_versions bigint[], p_statuses text[], p_items text[]) RETURNS void
LANGUAGE plpgsql SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
  INSERT INTO fan_out.orders AS o (order_id, customer_id, version, status, items)
  SELECT n.order_id, n.customer_id, n.version, coalesce(n.status, b.status), coalesce(n.items::jsonb, b.items)
  FROM unnest(p_order_ids, p_customer_ids, p_versions, p_statuses, p_items) AS n (order_id, customer_id, version, status, items)
  LEFT JOIN fan_out.orders b ON b.order_id = n.order_id
  ORDER BY n.order_id
  ON CONFLICT (order_id) DO UPDATE SET version = excluded.version, status = excluded.status, items = excluded.items
  WHERE o.status NOT IN ('REJECTED', 'CANCELLED', 'EXPIRED');
END $$;
