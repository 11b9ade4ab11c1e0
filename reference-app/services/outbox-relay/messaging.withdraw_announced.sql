-- Takes back what messaging.maintain has announced: rows of the time of a partition that is never made would be refused one day.
CREATE OR REPLACE FUNCTION messaging.withdraw_announced() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '100ms' AS $$
DECLARE
  c record;
BEGIN
  FOR c IN SELECT k.conrelid::regclass AS rest, k.conname FROM pg_constraint k
           WHERE k.contype = 'c' AND k.conrelid IN ('messaging.outbox_default'::regclass, 'messaging.inbox_default'::regclass) LOOP
    EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', c.rest, c.conname);
  END LOOP;
END $$;
