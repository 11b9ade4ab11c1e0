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
  announced text;
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
  FOR p IN SELECT v.parent, s.cleans, greatest((SELECT max(q.upper) FROM messaging.partition q WHERE q.parent = v.parent), date_bin(p_width, now(), '2000-01-01Z')) AS next
           FROM (VALUES ('outbox'), ('inbox')) AS v (parent) CROSS JOIN (VALUES (true), (false)) AS s (cleans) ORDER BY s.cleans DESC, v.parent DESC LOOP
    name := format('%s_%s', p.parent, to_char(p.next AT TIME ZONE 'UTC', 'YYYYMMDD_HH24MISS'));
    rest := format('messaging.%I', p.parent || '_default')::regclass;
    announced := format('%s_%s', name, extract(epoch FROM p_width));
    -- First, for both: what was announced and is not made now must not stay, see below.
    IF p.cleans THEN
      FOR other IN SELECT c.conname FROM pg_constraint c
                   WHERE c.conrelid = rest AND c.contype = 'c' AND (c.conname <> announced OR p.next >= now() + 7 * p_width) LOOP
        EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', rest, other);
      END LOOP;
      CONTINUE;
    END IF;
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
      SELECT c.convalidated INTO validated FROM pg_constraint c WHERE c.conrelid = rest AND c.conname = announced;
      BEGIN
        IF NOT found_rows AND validated IS NULL THEN
          EXECUTE format('SELECT EXISTS (SELECT FROM %s WHERE %I >= %L AND %I < %L)', rest, key, lower_key, key, upper_key) INTO found_rows;
          -- A constraint proves that it has no such rows. It is there for moments, a whole width before the first row could break it.
          IF NOT found_rows THEN
            EXECUTE format('ALTER TABLE %s ADD CONSTRAINT %I CHECK (%I < %L OR %I >= %L) NOT VALID', rest, announced, key, lower_key, key, upper_key);
            RETURN 'announced ' || name;
          END IF;
        ELSIF NOT found_rows AND NOT validated THEN
          EXECUTE format('ALTER TABLE %s VALIDATE CONSTRAINT %I', rest, announced);
          RETURN 'checked ' || name;
        END IF;
      EXCEPTION WHEN query_canceled OR check_violation THEN
        -- So large that the time of a statement is not enough, which would be so each time; or there are such rows.
        found_rows := true;
      END;
      IF found_rows THEN
        -- What was announced goes with the next step.
        INSERT INTO messaging.partition VALUES (name, p.parent, p.next, p.next + p_width);
        RETURN 'left to the default partition: ' || name;
      END IF;
    END IF;
    BEGIN
      EXECUTE format('CREATE TABLE messaging.%I PARTITION OF messaging.%I FOR VALUES FROM (%L) TO (%L)', name, p.parent, lower_key, upper_key);
      EXECUTE format('ALTER TABLE %s DROP CONSTRAINT IF EXISTS %I', rest, announced);
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
