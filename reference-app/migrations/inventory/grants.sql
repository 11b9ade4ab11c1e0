GRANT USAGE ON SCHEMA inventory TO :"stock-service", :"inventory-service", :"api-write-service", :"api-read-service", :"order-status";
GRANT EXECUTE ON FUNCTION inventory.available TO :"stock-service";
GRANT SELECT (sku, on_hand, reserved) ON inventory.stock_level TO :"stock-service";

GRANT EXECUTE ON FUNCTION inventory.read, inventory.claim, inventory.write TO :"inventory-service";
GRANT SELECT, UPDATE (on_hand, reserved) ON inventory.stock_level TO :"inventory-service";
GRANT SELECT, INSERT ON inventory.ledger TO :"inventory-service";

-- Whether the ledger says what an answer says.
GRANT EXECUTE ON FUNCTION inventory.unfounded TO :"order-status";
GRANT SELECT (sku) ON inventory.product TO :"api-write-service";
GRANT SELECT ON inventory.product, inventory.stock_level TO :"api-read-service";
