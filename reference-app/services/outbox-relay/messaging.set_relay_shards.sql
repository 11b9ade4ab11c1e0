-- Everything is published up to the lowest cursor, so all shards go on from there; what some had published after it is published again.
-- A halt is for all, and stays.
CREATE OR REPLACE FUNCTION messaging.set_relay_shards(p_shards int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF p_shards NOT BETWEEN 1 AND 32 THEN
    RAISE EXCEPTION 'the outbox can have 1 to 32 shards, not %', p_shards USING ERRCODE = 'invalid_parameter_value';
  END IF;
  LOCK TABLE messaging.relay_cursor IN EXCLUSIVE MODE;
  IF p_shards = (SELECT count(*) FROM messaging.relay_cursor) THEN
    RETURN;
  END IF;
  WITH before AS (DELETE FROM messaging.relay_cursor RETURNING epoch, xid, id, since, halted)
  INSERT INTO messaging.relay_cursor (shard, epoch, xid, id, since, halted)
  SELECT s, b.epoch + 1, b.xid, b.id, b.since, (SELECT bool_or(h.halted) FROM before AS h)
  FROM generate_series(0, p_shards - 1) AS s, (SELECT * FROM before ORDER BY xid, id LIMIT 1) AS b;
END $$;
