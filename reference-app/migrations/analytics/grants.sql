REVOKE ALL ON SCHEMA analytics FROM PUBLIC, :command, :query;
REVOKE ALL ON ALL TABLES IN SCHEMA analytics FROM PUBLIC, :command, :query;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA analytics FROM PUBLIC, :command, :query;
REVOKE ALL ON ALL ROUTINES IN SCHEMA analytics FROM PUBLIC, :command, :query;

GRANT USAGE ON SCHEMA analytics TO :command;
GRANT EXECUTE ON FUNCTION analytics.add TO :command;
GRANT SELECT, INSERT, UPDATE ON analytics.order_minute, analytics.sku_minute TO :command;
