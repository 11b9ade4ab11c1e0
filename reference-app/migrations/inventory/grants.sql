REVOKE ALL ON SCHEMA inventory FROM PUBLIC, :command, :query;
REVOKE ALL ON ALL TABLES IN SCHEMA inventory FROM PUBLIC, :command, :query;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA inventory FROM PUBLIC, :command, :query;
REVOKE ALL ON ALL ROUTINES IN SCHEMA inventory FROM PUBLIC, :command, :query;

GRANT USAGE ON SCHEMA inventory TO :command, :query;
GRANT SELECT ON inventory.product TO :command;
GRANT SELECT, UPDATE ON inventory.stock_level TO :command;
GRANT SELECT, INSERT ON inventory.ledger TO :command;
GRANT EXECUTE ON FUNCTION inventory.available, inventory.read, inventory.claim, inventory.write TO :command;
GRANT SELECT ON inventory.product, inventory.stock_level TO :query;
