-- The oldest snapshot of the cluster: nothing that was deleted or changed after it can be cleaned up, so rows that change often get slow. A writer
-- counts, too. A slot of replication has no time, and a session of a standby neither: for them it is the time of the first event after their snapshot.
CREATE OR REPLACE FUNCTION messaging.oldest_snapshot(OUT seconds float8, OUT pid int, OUT holder text, OUT database text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
  SELECT greatest(0, extract(epoch FROM clock_timestamp() - coalesce(h.since, o.created_at)))::float8, h.pid, h.holder, h.database
  FROM (SELECT a.xact_start AS since, a.backend_xmin AS xmin, a.pid, a.application_name AS holder, a.datname AS database FROM pg_stat_activity a
        WHERE coalesce(a.backend_xmin, a.backend_xid) IS NOT NULL AND a.pid <> pg_backend_pid() AND a.backend_type <> 'autovacuum worker'
        UNION ALL SELECT x.prepared, NULL, NULL, x.gid, x.database FROM pg_prepared_xacts x
        UNION ALL SELECT NULL, CASE WHEN s.catalog_xmin IS NULL OR age(s.xmin) > age(s.catalog_xmin) THEN s.xmin ELSE s.catalog_xmin END, s.active_pid, s.slot_name, s.database
        FROM pg_replication_slots s WHERE coalesce(s.xmin, s.catalog_xmin) IS NOT NULL) AS h
  LEFT JOIN LATERAL (
    SELECT e.created_at FROM messaging.outbox e
    WHERE h.since IS NULL AND e.xid >= (pg_snapshot_xmax(pg_current_snapshot())::text::bigint - age(h.xmin))::text::xid8
    ORDER BY e.xid, e.id LIMIT 1) AS o ON true
  WHERE coalesce(h.since, o.created_at) IS NOT NULL
  ORDER BY coalesce(h.since, o.created_at) LIMIT 1
$$;
