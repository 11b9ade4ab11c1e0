-- What a client's command needs to know: the order, whether the key was used before, and which of the SKUs are unknown. An order of another customer
-- than p_customer_id (NULL: of any) is not there. Whose keys count says orders.intake.sql.
CREATE OR REPLACE FUNCTION orders.command_state(
  p_order_id uuid, p_key text, p_skus text[], p_customer_id text, p_subject text,
  OUT status text, OUT version int, OUT customer_id text, OUT created_at timestamptz, OUT items jsonb, OUT last_event_id uuid,
  OUT key_order_id uuid, OUT key_version int, OUT key_hash bytea, OUT unknown_skus text[])
LANGUAGE plpgsql STABLE SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
  of_customer text;
BEGIN
  SELECT o.status, o.version, o.customer_id, o.created_at, o.items, c.event_id INTO status, version, of_customer, created_at, items, last_event_id
  FROM orders.orders o LEFT JOIN orders.status_change c ON c.order_id = o.order_id AND c.version = o.version
  WHERE o.order_id = p_order_id AND (p_customer_id IS NULL OR o.customer_id = p_customer_id);
  customer_id := of_customer;
  SELECT k.order_id, k.version, k.body_hash INTO key_order_id, key_version, key_hash FROM orders.idempotency_key k
  WHERE k.key = p_key AND (k.subject = p_subject OR ('' IN (k.subject, p_subject) AND EXISTS (
    SELECT FROM orders.orders o WHERE o.order_id = k.order_id AND o.customer_id = of_customer)))
  ORDER BY k.subject <> p_subject LIMIT 1;
  unknown_skus := ARRAY(SELECT s FROM unnest(p_skus) AS s WHERE NOT EXISTS (SELECT FROM inventory.product p WHERE p.sku = s));
END $$;
