-- Those of the events of which nobody knows any more whether the consumer has handled them: they are from before the inbox' memory. No queue
-- holds one that long, so it is a replay of history. A new consumer may handle what was forgotten before it began (messaging.consumer), until
-- the rows by which the inbox remembers such events are deleted, too.
CREATE OR REPLACE FUNCTION messaging.unremembered(p_consumer text, p_event_ids uuid[]) RETURNS uuid[] LANGUAGE plpgsql STABLE AS $$
DECLARE
  remembers uuid := (SELECT messaging.first_id(f.before) FROM messaging.forgotten f WHERE f.parent = 'inbox');
  history uuid;
BEGIN
  IF remembers IS NULL THEN
    RETURN '{}';
  END IF;
  SELECT messaging.first_id(c.history_before) INTO history FROM messaging.consumer c
  WHERE c.consumer = p_consumer AND c.began_at >= coalesce((SELECT f.before FROM messaging.forgotten f WHERE f.parent = 'inbox_default'), '-infinity');
  RETURN ARRAY(SELECT e FROM unnest(p_event_ids) AS e WHERE e < remembers AND (history IS NULL OR e >= history) AND substr(e::text, 15, 1) = '7');
END $$;
