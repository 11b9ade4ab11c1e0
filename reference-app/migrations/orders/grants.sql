REVOKE ALL ON SCHEMA orders FROM PUBLIC, :command, :query;
REVOKE ALL ON ALL TABLES IN SCHEMA orders FROM PUBLIC, :command, :query;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA orders FROM PUBLIC, :command, :query;
REVOKE ALL ON ALL ROUTINES IN SCHEMA orders FROM PUBLIC, :command, :query;

GRANT USAGE ON SCHEMA orders TO :command, :query;
GRANT SELECT, INSERT, UPDATE ON orders.orders TO :command;
GRANT SELECT ON orders.order_line TO :command;
GRANT SELECT, INSERT ON orders.status_change TO :command;
GRANT SELECT, INSERT ON orders.idempotency_key TO :command;
GRANT EXECUTE ON FUNCTION orders.accept, orders.is_transition, orders.states, orders.settle, orders.for_command, orders.request, orders.overdue, orders.count_overdue TO :command;
GRANT SELECT ON orders.orders, orders.order_line, orders.status_change TO :query;
