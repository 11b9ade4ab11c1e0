-- Records the notifications of customers, and remembers the events; answers which of them were handled before, and which
-- things were recorded (an earlier event may have said the same of the order). An event with outcome NULL
-- is only remembered. A deduction does not say whose order it is; the order does.
CREATE OR REPLACE FUNCTION notification.record(
  p_consumer text, p_event_ids uuid[], p_order_ids uuid[], p_versions int[], p_outcomes text[], p_customer_ids text[], p_traceparents text[],
  OUT handled uuid[], OUT recorded_order_ids uuid[], OUT recorded_versions int[], OUT recorded_outcomes text[])
LANGUAGE plpgsql SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
  handled := messaging.handled(p_consumer, p_event_ids);
  PERFORM messaging.remember(p_consumer, ARRAY(SELECT e FROM unnest(p_event_ids) AS e WHERE e <> ALL (handled)));
  WITH told AS (
    INSERT INTO notification.notification (order_id, version, outcome, customer_id, traceparent)
    SELECT d.order_id, d.version, d.outcome, coalesce(d.customer_id, (SELECT o.customer_id FROM orders.orders o WHERE o.order_id = d.order_id)), d.traceparent
    FROM unnest(p_event_ids, p_order_ids, p_versions, p_outcomes, p_customer_ids, p_traceparents) AS d (event_id, order_id, version, outcome, customer_id, traceparent)
    WHERE d.outcome IS NOT NULL AND d.event_id <> ALL (handled)
    ORDER BY d.order_id, d.version, d.outcome
    ON CONFLICT (order_id, version, outcome) DO NOTHING
    RETURNING order_id, version, outcome
  )
  SELECT array_agg(t.order_id), array_agg(t.version), array_agg(t.outcome) INTO recorded_order_ids, recorded_versions, recorded_outcomes FROM told t;
END $$;
