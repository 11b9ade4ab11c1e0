-- Notes messages that a consumer refused, for as long as a dead-letter queue holds them, and not more than 10,000 of a consumer: a sender
-- of messages to its queue must not be able to fill the disk. A consumer notes its own only: the policies of the inbox say who may write
-- which rows.
CREATE OR REPLACE FUNCTION messaging.note_refused(p_consumer text, p_message_ids text[], p_causes text[], p_errors text[], p_claims text[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
BEGIN
  IF NOT pg_has_role(session_user, current_user, 'USAGE') AND NOT EXISTS (
    SELECT FROM pg_policy p, unnest(p.polroles) AS r (role)
    WHERE p.polrelid = 'messaging.inbox'::regclass AND r.role <> 0 AND pg_has_role(session_user, r.role, 'USAGE')
      AND pg_get_expr(p.polqual, p.polrelid) IN ('true', format('(consumer = %L::text)', p_consumer))
  ) THEN
    RAISE EXCEPTION 'The login % may not note what % has refused.', session_user, p_consumer USING ERRCODE = 'insufficient_privilege';
  END IF;
  DELETE FROM messaging.refused r WHERE r.ctid = ANY (ARRAY(SELECT o.ctid FROM messaging.refused o WHERE o.at < now() - interval '14 days' LIMIT 1000));
  INSERT INTO messaging.refused AS r (consumer, message_id, cause, error, claims)
  SELECT p_consumer, m.message_id, m.cause, left(m.error, 500), left(m.claims, 500)
  FROM unnest(p_message_ids, p_causes, p_errors, p_claims) AS m (message_id, cause, error, claims)
  ORDER BY m.message_id
  LIMIT greatest(0, 10000 - (SELECT count(*) FROM (SELECT FROM messaging.refused n WHERE n.consumer = p_consumer LIMIT 10000) AS few))
  ON CONFLICT (consumer, message_id) DO UPDATE SET cause = excluded.cause, error = excluded.error, at = now();
END $$;
