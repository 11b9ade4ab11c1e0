-- Applied on every run, whole: what is not listed here is taken away. :command and :query are the role names.
REVOKE ALL ON ALL TABLES IN SCHEMA orders, inventory, notification, analytics, messaging, fan_out FROM PUBLIC, :command, :query;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA orders, inventory, notification, analytics, messaging, fan_out FROM PUBLIC, :command, :query;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;

GRANT USAGE ON SCHEMA orders, inventory, notification, analytics, messaging TO :command;
GRANT SELECT, INSERT, UPDATE ON orders.orders TO :command;
GRANT SELECT ON orders.order_line TO :command;
GRANT SELECT, INSERT ON orders.status_change TO :command;
GRANT SELECT, INSERT ON orders.idempotency_key TO :command;
GRANT EXECUTE ON FUNCTION orders.accept, orders.is_transition, orders.states, orders.settle, orders.for_command, orders.request, orders.overdue, orders.count_overdue TO :command;

GRANT SELECT ON inventory.product TO :command;
GRANT SELECT, UPDATE ON inventory.stock_level TO :command;
GRANT SELECT, INSERT ON inventory.ledger TO :command;
GRANT EXECUTE ON FUNCTION inventory.available, inventory.read, inventory.claim, inventory.write TO :command;

GRANT EXECUTE ON FUNCTION notification.record, notification.claim, notification.sent, notification.failed, analytics.add TO :command;
GRANT SELECT, INSERT, UPDATE ON notification.notification, analytics.order_minute, analytics.sku_minute TO :command;

GRANT EXECUTE ON FUNCTION messaging.handled, messaging.first_id, messaging.remember, messaging.publish, messaging.maintain, messaging.prune, messaging.oldest_transaction,
  messaging.park, messaging.waiting, messaging.waiting_since, messaging.unpark TO :command;
GRANT SELECT ON messaging.forgotten TO :command;
GRANT SELECT, INSERT ON messaging.outbox, messaging.outbox_dead TO :command;
GRANT SELECT, INSERT, UPDATE ON messaging.parked, messaging.dead_letter TO :command;
GRANT SELECT, UPDATE ON messaging.relay_cursor TO :command;
-- DELETE: an event that must be tried again gives its inbox row back.
GRANT SELECT, INSERT, DELETE ON messaging.inbox TO :command;

GRANT USAGE ON SCHEMA fan_out TO :command;
GRANT SELECT, INSERT, UPDATE ON fan_out.progress, fan_out.orders, fan_out.order_minute, fan_out.notification TO :command;
GRANT EXECUTE ON FUNCTION fan_out.take, fan_out.save, fan_out.claim, fan_out.settle TO :command;

GRANT USAGE ON SCHEMA orders, inventory, messaging TO :query;
GRANT SELECT ON orders.orders, orders.order_line, orders.status_change TO :query;
GRANT SELECT ON inventory.product, inventory.stock_level TO :query;
-- The timeline of an order.
GRANT SELECT ON messaging.outbox, messaging.outbox_dead, messaging.parked TO :query;
GRANT EXECUTE ON FUNCTION messaging.dead_letters TO :query;
