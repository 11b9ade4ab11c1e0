-- One step of what is to be done about partitions: makes one of the next time ahead, or drops one of which all is older than what is to be
-- kept (NULL: forever) and, for the outbox, published. Answers what it did, or NULL when nothing is left to do. A step locks the whole
-- table, but only for a moment: rather than make traffic wait for the lock, it fails with lock_not_available and can be tried again.
CREATE OR REPLACE FUNCTION messaging.maintain(p_outbox interval, p_inbox interval, p_width interval) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '100ms'
-- Whether a partition has unpublished rows is asked under a lock that everybody waits for: by the index, or it takes as long as reading all of it.
SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE
  p record;
  name text;
  other text;
  key text;
  lower_key text;
  upper_key text;
  rest regclass;
  found_rows boolean;
  validated boolean;
  unpublished boolean;
BEGIN
  IF least(p_outbox, p_inbox, p_width) < interval '0' THEN
    RAISE EXCEPTION 'intervals must not be negative' USING ERRCODE = 'invalid_parameter_value';
  END IF;
  IF NOT pg_try_advisory_xact_lock(hashtext('messaging.maintain')) THEN
    RETURN NULL;
  END IF;
  FOR p IN SELECT v.parent, greatest((SELECT max(q.upper) FROM messaging.partition q WHERE q.parent = v.parent), date_bin(p_width, now(), '2000-01-01Z')) AS next
           FROM (VALUES ('outbox'), ('inbox')) AS v (parent) LOOP
    name := format('%s_%s', p.parent, to_char(p.next AT TIME ZONE 'UTC', 'YYYYMMDD_HH24MISS'));
    rest := format('messaging.%I', p.parent || '_default')::regclass;
    -- What was begun for another width must not stay: see below.
    FOR other IN SELECT c.conname FROM pg_constraint c WHERE c.conrelid = rest AND c.contype = 'c' AND c.conname <> name LOOP
      EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', rest, other);
    END LOOP;
    -- Far ahead, so that the default partition stays empty when nobody maintains for days: each new partition has to look through it.
    CONTINUE WHEN p.next >= now() + 7 * p_width;
    IF p.parent = 'outbox' THEN
      key := 'created_at'; lower_key := p.next; upper_key := p.next + p_width;
    ELSE
      key := 'event_id'; lower_key := messaging.first_id(p.next); upper_key := messaging.first_id(p.next + p_width);
    END IF;
    -- A large default partition is never looked through under the lock that a new partition takes. What lies in it, or may come soon, stays there.
    IF pg_relation_size(rest) > 8 * 1024 * 1024 THEN
      found_rows := p.next < now() + p_width;
      IF NOT found_rows THEN
        EXECUTE format('SELECT EXISTS (SELECT FROM %s WHERE %I >= %L AND %I < %L)', rest, key, lower_key, key, upper_key) INTO found_rows;
      END IF;
      IF found_rows THEN
        INSERT INTO messaging.partition VALUES (name, p.parent, p.next, p.next + p_width);
        RETURN 'left to the default partition: ' || name;
      END IF;
      -- A constraint proves that it has no such rows. It is there for moments, a whole width before the first row could break it.
      SELECT c.convalidated INTO validated FROM pg_constraint c WHERE c.conrelid = rest AND c.conname = name;
      IF NOT FOUND THEN
        EXECUTE format('ALTER TABLE %s ADD CONSTRAINT %I CHECK (%I < %L OR %I >= %L) NOT VALID', rest, name, key, lower_key, key, upper_key);
        RETURN 'announced ' || name;
      ELSIF NOT validated THEN
        EXECUTE format('ALTER TABLE %s VALIDATE CONSTRAINT %I', rest, name);
        RETURN 'checked ' || name;
      END IF;
    END IF;
    BEGIN
      EXECUTE format('CREATE TABLE messaging.%I PARTITION OF messaging.%I FOR VALUES FROM (%L) TO (%L)', name, p.parent, lower_key, upper_key);
      EXECUTE format('ALTER TABLE %s DROP CONSTRAINT IF EXISTS %I', rest, name);
    EXCEPTION WHEN check_violation THEN
      -- Nobody made it in time: rows of its time lie in the default partition already, and stay there.
      NULL;
    END;
    INSERT INTO messaging.partition VALUES (name, p.parent, p.next, p.next + p_width);
    RETURN 'made ' || name;
  END LOOP;

  FOR p IN SELECT * FROM messaging.partition q WHERE q.upper <= now() - CASE q.parent WHEN 'outbox' THEN p_outbox ELSE p_inbox END ORDER BY q.upper LOOP
    IF p.parent = 'outbox' AND to_regclass(format('messaging.%I', p.name)) IS NOT NULL THEN
      -- First the lock, so that nobody who still writes to it is overlooked; of the parent before it, as those do who read or write.
      LOCK TABLE ONLY messaging.outbox IN ACCESS EXCLUSIVE MODE;
      EXECUTE format('LOCK TABLE messaging.%I IN ACCESS EXCLUSIVE MODE', p.name);
      EXECUTE format('SELECT EXISTS (SELECT FROM messaging.%I o WHERE (o.xid, o.id) > (SELECT c.xid, c.id FROM messaging.relay_cursor c ORDER BY c.xid, c.id LIMIT 1))', p.name)
      INTO unpublished;
      CONTINUE WHEN unpublished;
    END IF;
    EXECUTE format('DROP TABLE IF EXISTS messaging.%I', p.name);
    DELETE FROM messaging.partition q WHERE q.name = p.name;
    INSERT INTO messaging.forgotten AS f VALUES (p.parent, p.upper) ON CONFLICT (parent) DO UPDATE SET before = greatest(f.before, excluded.before);
    RETURN 'dropped ' || p.name;
  END LOOP;
  RETURN NULL;
END $$;
