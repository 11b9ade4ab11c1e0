-- Whose turn it is: not of events that were handled, nor of a version that was there already (late), nor of one with others missing before
-- it (early). All but the early ones are remembered; the caller applies those that are left, in this transaction.
CREATE OR REPLACE FUNCTION fan_out.take(p_consumer text, p_event_ids uuid[], p_order_ids uuid[], p_versions bigint[], OUT handled uuid[], OUT early uuid[], OUT late uuid[])
LANGUAGE plpgsql SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
  handled := messaging.handled(p_consumer, p_event_ids);
  -- Locks the orders, always in the same order: two transactions with versions of one order take turns.
  INSERT INTO fan_out.progress AS p (consumer, order_id)
  SELECT p_consumer, o.order_id FROM (SELECT DISTINCT unnest(p_order_ids) AS order_id) AS o ORDER BY o.order_id
  ON CONFLICT (order_id, consumer) DO UPDATE SET version = p.version;

  WITH fresh AS (
    SELECT DISTINCT ON (e.order_id, e.version) e.event_id, e.order_id, e.version, p.version AS reached
    FROM unnest(p_event_ids, p_order_ids, p_versions) AS e (event_id, order_id, version)
    JOIN fan_out.progress p ON p.order_id = e.order_id AND p.consumer = p_consumer
    WHERE e.version > p.version AND e.event_id <> ALL (handled)
    ORDER BY e.order_id, e.version
  ), turns AS (
    SELECT f.*, f.version = f.reached + row_number() OVER (PARTITION BY f.order_id ORDER BY f.version) AS due FROM fresh f
  ), progress AS (
    UPDATE fan_out.progress p SET version = m.version
    FROM (SELECT t.order_id, max(t.version) AS version FROM turns t WHERE t.due GROUP BY t.order_id) AS m
    WHERE p.order_id = m.order_id AND p.consumer = p_consumer
  )
  SELECT ARRAY(SELECT t.event_id FROM turns t WHERE NOT t.due),
         ARRAY(SELECT e FROM unnest(p_event_ids) AS e WHERE e <> ALL (handled) AND NOT EXISTS (SELECT FROM turns t WHERE t.event_id = e))
  INTO early, late;
  PERFORM messaging.remember(p_consumer, ARRAY(SELECT e FROM unnest(p_event_ids) AS e WHERE e <> ALL (handled) AND e <> ALL (early)));
END $$;
