-- For the transaction that handles them. Fails with unique_violation when another transaction has handled one meanwhile. Sorted, so
-- that two batches with the same events in another order wait for each other instead of both.
CREATE OR REPLACE FUNCTION messaging.remember(p_consumer text, p_event_ids uuid[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO messaging.inbox (consumer, event_id) SELECT p_consumer, e FROM unnest(p_event_ids) AS e ORDER BY e;
END $$;
