-- Makes dead letters of events that have been parked for p_seconds, and answers their types. If the version before comes after all, they are
-- applied as before; so a dead letter of an event that is in the inbox since then is no longer open.
CREATE OR REPLACE FUNCTION messaging.give_up_parked(p_consumer text, p_seconds float8, p_limit int) RETURNS SETOF text
LANGUAGE plpgsql SET enable_seqscan = off AS $$
BEGIN
  RETURN QUERY
  WITH gone AS (
    UPDATE messaging.parked p SET given_up_at = now()
    WHERE p.ctid = ANY (ARRAY(
      SELECT w.ctid FROM messaging.parked w
      WHERE w.consumer = p_consumer AND w.applied_at IS NULL AND w.given_up_at IS NULL AND w.parked_at <= now() - make_interval(secs => p_seconds)
      LIMIT p_limit FOR UPDATE SKIP LOCKED))
    RETURNING p.*)
  INSERT INTO messaging.dead_letter AS d (consumer, event_id, order_id, type, error)
  SELECT g.consumer, g.event_id, g.order_id, g.envelope::jsonb ->> 'type', format('parked since %s: %s', g.parked_at, coalesce(g.reason, 'its turn did not come')) FROM gone g
  ON CONFLICT (event_id, consumer) DO UPDATE SET error = excluded.error, at = now()
  RETURNING d.type;
END $$;
