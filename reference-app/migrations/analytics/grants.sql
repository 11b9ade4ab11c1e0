REVOKE ALL ON SCHEMA analytics FROM PUBLIC, :command, :query;
REVOKE ALL ON ALL TABLES IN SCHEMA analytics FROM PUBLIC, :command, :query;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA analytics FROM PUBLIC, :command, :query;
REVOKE ALL ON ALL ROUTINES IN SCHEMA analytics FROM PUBLIC, :command, :query;

GRANT USAGE ON SCHEMA analytics TO :command;
GRANT EXECUTE ON FUNCTION analytics.add, analytics.fold, analytics.prune TO :command;
GRANT SELECT, INSERT, UPDATE ON analytics.order_minute TO :command;
GRANT SELECT, INSERT, UPDATE, DELETE ON analytics.sku_hour, analytics.sku_batch, analytics.sku_minute TO :command;
GRANT SELECT ON analytics.sku_count TO :command;
