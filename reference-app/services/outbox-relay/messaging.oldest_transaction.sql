-- The transaction that the outbox waits for: the relay reads nothing that may still get company from an older transaction, of any database of
-- the cluster. Its owner may see other sessions, which the command role may not. One that is prepared has no session: its name and no pid.
CREATE OR REPLACE FUNCTION messaging.oldest_transaction(OUT seconds float8, OUT pid int, OUT application_name text, OUT database text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT extract(epoch FROM clock_timestamp() - t.since)::float8, t.pid, t.name, t.database
  FROM (SELECT a.xact_start AS since, a.pid, a.application_name AS name, a.datname AS database FROM pg_stat_activity a
        WHERE a.backend_xid IS NOT NULL AND a.pid <> pg_backend_pid()
        UNION ALL SELECT x.prepared, NULL, x.gid, x.database FROM pg_prepared_xacts x) AS t
  ORDER BY t.since LIMIT 1
$$;
