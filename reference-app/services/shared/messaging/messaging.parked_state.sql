-- How many events of the consumer wait, since when the oldest one does, and how many were given up.
CREATE OR REPLACE FUNCTION messaging.parked_state(p_consumer text, OUT waiting int, OUT seconds float8, OUT given_up int)
LANGUAGE sql STABLE SET enable_seqscan = off AS $$
  SELECT count(*) FILTER (WHERE p.given_up_at IS NULL)::int,
         greatest(0, coalesce(extract(epoch FROM clock_timestamp() - min(p.parked_at) FILTER (WHERE p.given_up_at IS NULL)), 0))::float8,
         count(p.given_up_at)::int
  FROM messaging.parked p WHERE p.consumer = p_consumer AND p.applied_at IS NULL
$$;
