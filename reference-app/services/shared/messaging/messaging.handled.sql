-- Which of the events the consumer has handled. An event from before the inbox' memory counts as handled: no queue holds one that
-- long, so it is a replay of history.
CREATE OR REPLACE FUNCTION messaging.handled(p_consumer text, p_event_ids uuid[]) RETURNS uuid[]
LANGUAGE plpgsql STABLE SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
  oldest uuid := (SELECT min(e::text)::uuid FROM unnest(p_event_ids) AS e);
  newest uuid := (SELECT max(e::text)::uuid FROM unnest(p_event_ids) AS e);
  remembers uuid := (SELECT messaging.first_id(f.before) FROM messaging.forgotten f WHERE f.parent = 'inbox');
BEGIN
  -- The bounds choose the partitions; an array alone would be looked up in all of them.
  RETURN ARRAY(SELECT i.event_id FROM messaging.inbox i
               WHERE i.event_id BETWEEN oldest AND newest AND i.event_id = ANY (p_event_ids) AND i.consumer = p_consumer)
    || ARRAY(SELECT e FROM unnest(p_event_ids) AS e WHERE oldest < remembers AND e < remembers AND substr(e::text, 15, 1) = '7');
END $$;
