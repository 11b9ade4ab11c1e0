-- Stores new orders with lines, first status change, idempotency keys and outbox events, all of them or, if something has to be sorted
-- out first, none: then it says which SKUs are unknown, which keys are taken (by which order, with which body) and which of the
-- orders are stored already. p_items and p_envelopes (the events) are JSON documents, a line for each order; p_skus are the distinct
-- SKUs of all; key i belongs to order key_order[i] (1-based) and is one of p_subjects[i]. A key without a subject (empty), of the version before or of
-- an API without authorization, counts for every subject where the customer is the same, and the other way round: so a request that comes again finds its
-- order across a rollout and a rollback. Fails with unique_violation when another transaction takes a key meanwhile; keys are
-- claimed in sorted order, so that two batches with the same keys queue up instead of deadlocking.
CREATE OR REPLACE FUNCTION orders.intake(
  p_order_ids uuid[], p_customer_ids text[], p_created_at timestamptz[], p_traceparents text[], p_cause_ids text[],
  p_items text, p_event_ids uuid[], p_envelopes text, p_skus text[],
  key_order int[], p_keys text[], p_hashes bytea[], p_subjects text[],
  OUT accepted boolean, OUT unknown_skus text[], OUT taken_keys text[], OUT taken_by uuid[], OUT taken_hashes bytea[], OUT stored uuid[],
  OUT taken_subjects text[])
LANGUAGE plpgsql SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
  unknown_skus := ARRAY(SELECT s FROM unnest(p_skus) AS s WHERE NOT EXISTS (SELECT FROM inventory.product p WHERE p.sku = s));
  stored := ARRAY(SELECT o.order_id FROM orders.orders o WHERE o.order_id = ANY (p_order_ids));
  -- Hardly ever is a key there, of whatever subject.
  IF cardinality(p_keys) > 0 AND EXISTS (SELECT FROM orders.idempotency_key k WHERE k.key = ANY (p_keys)) THEN
    -- The subject's own comes last, which is the one that counts.
    SELECT array_agg(w.key ORDER BY w.own), array_agg(w.subject ORDER BY w.own), array_agg(w.order_id ORDER BY w.own), array_agg(w.body_hash ORDER BY w.own)
    INTO taken_keys, taken_subjects, taken_by, taken_hashes
    FROM (
      SELECT n.key, n.subject, k.order_id, k.body_hash, k.subject = n.subject AS own
      FROM unnest(key_order, p_keys, p_subjects) AS n (o, key, subject) JOIN orders.idempotency_key k ON k.key = n.key
      WHERE k.subject = n.subject OR ('' IN (k.subject, n.subject) AND EXISTS (
        SELECT FROM orders.orders o WHERE o.order_id = k.order_id AND o.customer_id = p_customer_ids[n.o]))) AS w;
  END IF;
  accepted := cardinality(unknown_skus) = 0 AND cardinality(stored) = 0 AND taken_keys IS NULL;
  IF NOT accepted THEN
    RETURN;
  END IF;
  IF cardinality(p_keys) > 0 THEN
    INSERT INTO orders.idempotency_key (key, subject, body_hash, order_id, created_at)
    SELECT k.key, k.subject, k.body_hash, p_order_ids[k.o], p_created_at[k.o]
    FROM unnest(key_order, p_keys, p_subjects, p_hashes) AS k (o, key, subject, body_hash) ORDER BY k.key, k.subject;
  END IF;
  INSERT INTO orders.orders (order_id, customer_id, status, version, created_at, updated_at, items, traceparent)
  SELECT i.order_id, i.customer_id, 'PENDING', 1, i.created_at, i.created_at, i.items::jsonb, i.traceparent
  FROM unnest(p_order_ids, p_customer_ids, p_created_at, string_to_array(p_items, E'\n'), p_traceparents) AS i (order_id, customer_id, created_at, items, traceparent);
  INSERT INTO orders.status_change (order_id, version, from_status, to_status, event_id, cause_id, at)
  SELECT i.order_id, 1, NULL, 'PENDING', i.event_id, i.cause_id, i.created_at
  FROM unnest(p_order_ids, p_event_ids, p_cause_ids, p_created_at) AS i (order_id, event_id, cause_id, created_at);
  PERFORM messaging.publish(p_event_ids, p_order_ids::text[], array_fill('OrderCreated'::text, ARRAY[cardinality(p_order_ids)]), p_envelopes);
END $$;
