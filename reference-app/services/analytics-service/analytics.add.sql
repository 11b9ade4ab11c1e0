-- Remembers the events and adds what they count for: a row for each minute, sorted, so that two batches wait for each other instead of both; and
-- one row with the counts of all SKUs, of which analytics.fold makes those of hours. The rows of minutes come last: every batch of the same time
-- waits for them.
CREATE OR REPLACE FUNCTION analytics.add(
  p_consumer text, p_handled uuid[],
  s_hours timestamptz[], s_skus text[], s_ordered bigint[], s_reserved bigint[], s_deducted bigint[], s_rejections int[],
  m_minutes timestamptz[], m_accepted int[], m_confirmed int[], m_rejected int[], m_updated int[], m_cancelled int[], m_expired int[], m_units_accepted bigint[], m_units_confirmed bigint[], m_units_rejected bigint[],
  m_units_deducted bigint[], m_seconds float8[], m_seconds_max float8[])
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  PERFORM messaging.remember(p_consumer, p_handled);
  IF cardinality(s_skus) > 0 THEN
    INSERT INTO analytics.sku_batch (hours, skus, ordered, reserved, deducted, rejections) VALUES (s_hours, s_skus, s_ordered, s_reserved, s_deducted, s_rejections);
  END IF;
  INSERT INTO analytics.order_minute AS t
    (minute, accepted, confirmed, rejected, updated, cancelled, expired, units_accepted, units_confirmed, units_rejected, units_deducted, seconds_to_terminal_sum, seconds_to_terminal_max)
  SELECT * FROM unnest(m_minutes, m_accepted, m_confirmed, m_rejected, m_updated, m_cancelled, m_expired, m_units_accepted, m_units_confirmed, m_units_rejected, m_units_deducted, m_seconds, m_seconds_max)
  ON CONFLICT (minute) DO UPDATE SET
    accepted = t.accepted + excluded.accepted, confirmed = t.confirmed + excluded.confirmed, rejected = t.rejected + excluded.rejected,
    updated = t.updated + excluded.updated, cancelled = t.cancelled + excluded.cancelled, expired = t.expired + excluded.expired,
    units_accepted = t.units_accepted + excluded.units_accepted, units_confirmed = t.units_confirmed + excluded.units_confirmed,
    units_rejected = t.units_rejected + excluded.units_rejected, units_deducted = t.units_deducted + excluded.units_deducted,
    seconds_to_terminal_sum = t.seconds_to_terminal_sum + excluded.seconds_to_terminal_sum,
    seconds_to_terminal_max = greatest(t.seconds_to_terminal_max, excluded.seconds_to_terminal_max);
END $$;
