GRANT USAGE ON SCHEMA orders TO :"api-write-service", :"api-read-service", :"order-status", :"notification-service", :"outbox-relay", :"inventory-service";

GRANT EXECUTE ON FUNCTION orders.intake, orders.command_state, orders.command, orders.settle, orders.is_transition TO :"api-write-service";
-- For the version before.
GRANT EXECUTE ON FUNCTION orders.accept, orders.for_command, orders.request TO :"api-write-service";
GRANT EXECUTE ON FUNCTION orders.states, orders.settle, orders.overdue, orders.count_overdue, orders.is_transition TO :"order-status";
GRANT INSERT ON orders.orders TO :"api-write-service";
GRANT SELECT, UPDATE (status, version, updated_at, items, requested, reason, shortages) ON orders.orders TO :"api-write-service", :"order-status";
GRANT SELECT, INSERT ON orders.status_change TO :"api-write-service", :"order-status";
GRANT SELECT, INSERT ON orders.idempotency_key TO :"api-write-service";

GRANT SELECT ON orders.orders, orders.order_line, orders.status_change TO :"api-read-service";
-- It reports how many orders are overdue.
GRANT EXECUTE ON FUNCTION orders.count_overdue TO :"outbox-relay";
GRANT SELECT (status, updated_at) ON orders.orders TO :"outbox-relay";
-- Whether the orders say what an event says.
GRANT EXECUTE ON FUNCTION orders.unfounded TO :"inventory-service";
-- Whose order it is.
GRANT SELECT (order_id, customer_id) ON orders.orders TO :"notification-service";
