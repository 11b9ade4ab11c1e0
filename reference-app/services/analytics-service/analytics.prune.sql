-- Deletes counts by SKU that are older than what is to be kept, at most p_limit rows of each table; answers how many there were. Those by the
-- minute are few, and stay.
CREATE OR REPLACE FUNCTION analytics.prune(p_skus interval, p_limit int) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  gone bigint;
  total bigint;
BEGIN
  DELETE FROM analytics.sku_hour h WHERE h.ctid = ANY (ARRAY(
    SELECT d.ctid FROM analytics.sku_hour d WHERE d.hour < now() - p_skus ORDER BY d.hour LIMIT p_limit));
  GET DIAGNOSTICS total = ROW_COUNT;
  DELETE FROM analytics.sku_minute m WHERE m.ctid = ANY (ARRAY(
    SELECT d.ctid FROM analytics.sku_minute d WHERE d.minute < now() - p_skus ORDER BY d.minute LIMIT p_limit));
  GET DIAGNOSTICS gone = ROW_COUNT;
  RETURN total + gone;
END $$;
