CREATE OR REPLACE VIEW analytics.sku_count AS
  SELECT c.hour, c.sku, sum(c.units_ordered)::bigint AS units_ordered, sum(c.units_reserved)::bigint AS units_reserved,
         sum(c.units_deducted)::bigint AS units_deducted, sum(c.rejections)::bigint AS rejections
  FROM (SELECT * FROM analytics.sku_hour
        UNION ALL
        SELECT date_trunc('hour', u.hour), u.sku, u.ordered, u.reserved, u.deducted, u.rejections
        FROM analytics.sku_batch b, unnest(b.hours, b.skus, b.ordered, b.reserved, b.deducted, b.rejections) AS u (hour, sku, ordered, reserved, deducted, rejections)) AS c
  GROUP BY c.hour, c.sku;
