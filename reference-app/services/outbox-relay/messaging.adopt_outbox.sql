-- For the owner, once, after a dump was restored into another cluster: there the transaction ids begin anew, so the cursor and what it has not
-- passed would be in the future forever. What was published stays so; what was written here since then has its own transaction as xmin.
CREATE OR REPLACE FUNCTION messaging.adopt_outbox() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  passed messaging.relay_cursor;
BEGIN
  LOCK TABLE messaging.relay_cursor IN EXCLUSIVE MODE;
  SELECT * INTO passed FROM messaging.relay_cursor ORDER BY xid, id LIMIT 1;
  UPDATE messaging.outbox o
  SET xid = CASE WHEN (o.xid, o.id) > (passed.xid, passed.id) OR o.xmin = o.xid::xid THEN pg_current_xact_id() ELSE '1' END;
  UPDATE messaging.relay_cursor
  SET xid = '1', id = (SELECT coalesce(max(o.id), 0) FROM messaging.outbox o), since = '-infinity', epoch = epoch + 1, halted = false;
END $$;
