-- Deletes what lies in no partition of its own and is older than what is to be kept (NULL: forever), at most p_limit rows of each kind; answers how
-- many there were. For profiles with the schemas orders and notification; the others have no relay to call it.
CREATE OR REPLACE FUNCTION messaging.prune(p_outbox interval, p_inbox interval, p_keys interval, p_notifications interval, p_limit int) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  gone bigint;
  total bigint := 0;
BEGIN
  DELETE FROM messaging.outbox_default o WHERE o.ctid = ANY (ARRAY(
    SELECT d.ctid FROM messaging.outbox_default d
    WHERE d.created_at < now() - p_outbox AND (d.xid, d.id) <= (SELECT c.xid, c.id FROM messaging.relay_cursor c ORDER BY c.xid, c.id LIMIT 1) LIMIT p_limit));
  GET DIAGNOSTICS gone = ROW_COUNT; total := total + gone;
  DELETE FROM messaging.inbox_default i WHERE i.ctid = ANY (ARRAY(SELECT d.ctid FROM messaging.inbox_default d WHERE d.processed_at < now() - p_inbox LIMIT p_limit));
  GET DIAGNOSTICS gone = ROW_COUNT; total := total + gone;
  -- Here lies the history that new consumers were fed with; see messaging.unremembered.
  IF gone > 0 THEN
    INSERT INTO messaging.forgotten AS f VALUES ('inbox_default', now() - p_inbox) ON CONFLICT (parent) DO UPDATE SET before = greatest(f.before, excluded.before);
  END IF;
  DELETE FROM orders.idempotency_key k WHERE k.ctid = ANY (ARRAY(
    SELECT d.ctid FROM orders.idempotency_key d WHERE d.created_at < now() - p_keys ORDER BY d.created_at LIMIT p_limit));
  GET DIAGNOSTICS gone = ROW_COUNT; total := total + gone;
  -- The timeline is kept as long as its events; what was given up is still applied if its turn comes within a month.
  DELETE FROM messaging.parked p WHERE p.ctid = ANY (ARRAY(
    SELECT d.ctid FROM messaging.parked d WHERE d.applied_at < now() - p_outbox OR (d.applied_at IS NULL AND d.given_up_at < now() - p_inbox) LIMIT p_limit));
  GET DIAGNOSTICS gone = ROW_COUNT; total := total + gone;
  DELETE FROM messaging.dead_letter l WHERE l.ctid = ANY (ARRAY(
    SELECT d.ctid FROM messaging.dead_letter d WHERE d.at < now() - p_outbox LIMIT p_limit));
  GET DIAGNOSTICS gone = ROW_COUNT; total := total + gone;
  DELETE FROM messaging.outbox_dead o WHERE o.ctid = ANY (ARRAY(
    SELECT d.ctid FROM messaging.outbox_dead d WHERE d.failed_at < now() - p_outbox LIMIT p_limit));
  GET DIAGNOSTICS gone = ROW_COUNT; total := total + gone;
  -- Order ids begin with their time, so the primary key finds the old ones.
  DELETE FROM notification.notification n WHERE n.ctid = ANY (ARRAY(
    SELECT d.ctid FROM notification.notification d
    WHERE d.order_id < messaging.first_id(now() - p_notifications) AND d.sent_at < now() - p_notifications ORDER BY d.order_id LIMIT p_limit));
  GET DIAGNOSTICS gone = ROW_COUNT; total := total + gone;
  RETURN total;
END $$;
