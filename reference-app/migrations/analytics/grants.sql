GRANT USAGE ON SCHEMA analytics TO :"analytics-service";
GRANT EXECUTE ON FUNCTION analytics.add, analytics.fold, analytics.prune TO :"analytics-service";
GRANT SELECT, INSERT, UPDATE ON analytics.order_minute TO :"analytics-service";
GRANT SELECT, INSERT, UPDATE, DELETE ON analytics.sku_hour TO :"analytics-service";
GRANT SELECT, INSERT, UPDATE, DELETE ON analytics.sku_batch TO :"analytics-service";
GRANT SELECT, DELETE ON analytics.sku_minute TO :"analytics-service";
GRANT SELECT ON analytics.sku_count TO :"analytics-service";
