-- Adds at most p_limit batches to their hours; answers how many there were. Several may fold at once.
CREATE OR REPLACE FUNCTION analytics.fold(p_limit int) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  batches bigint;
BEGIN
  WITH taken AS (
    DELETE FROM analytics.sku_batch b WHERE b.id = ANY (ARRAY(SELECT t.id FROM analytics.sku_batch t ORDER BY t.id LIMIT p_limit FOR UPDATE SKIP LOCKED))
    RETURNING b.*
  ), added AS (
    INSERT INTO analytics.sku_hour AS h (hour, sku, units_ordered, units_reserved, units_deducted, rejections)
    SELECT date_trunc('hour', u.hour), u.sku, sum(u.ordered), sum(u.reserved), sum(u.deducted), sum(u.rejections)
    FROM taken t, unnest(t.hours, t.skus, t.ordered, t.reserved, t.deducted, t.rejections) AS u (hour, sku, ordered, reserved, deducted, rejections)
    GROUP BY 1, 2 ORDER BY 1, 2
    ON CONFLICT (hour, sku) DO UPDATE SET
      units_ordered = h.units_ordered + excluded.units_ordered, units_reserved = h.units_reserved + excluded.units_reserved,
      units_deducted = h.units_deducted + excluded.units_deducted, rejections = h.rejections + excluded.rejections
  )
  SELECT count(*) INTO batches FROM taken;
  RETURN batches;
END $$;
