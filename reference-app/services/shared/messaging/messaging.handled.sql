-- Which of the events the consumer has handled. Those that it can't know any more (messaging.unremembered) count as handled.
CREATE OR REPLACE FUNCTION messaging.handled(p_consumer text, p_event_ids uuid[]) RETURNS uuid[]
LANGUAGE plpgsql STABLE SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
  oldest uuid := (SELECT min(e::text)::uuid FROM unnest(p_event_ids) AS e);
  newest uuid := (SELECT max(e::text)::uuid FROM unnest(p_event_ids) AS e);
  remembers uuid := (SELECT messaging.first_id(f.before) FROM messaging.forgotten f WHERE f.parent = 'inbox');
  -- The bounds choose the partitions; an array alone would be looked up in all of them.
  handled uuid[] := ARRAY(SELECT i.event_id FROM messaging.inbox i
                          WHERE i.event_id BETWEEN oldest AND newest AND i.event_id = ANY (p_event_ids) AND i.consumer = p_consumer);
BEGIN
  IF oldest < remembers THEN
    handled := handled || messaging.unremembered(p_consumer, p_event_ids);
  END IF;
  RETURN handled;
END $$;
