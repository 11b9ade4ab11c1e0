REVOKE ALL ON SCHEMA messaging FROM PUBLIC, :command, :query;
REVOKE ALL ON ALL TABLES IN SCHEMA messaging FROM PUBLIC, :command, :query;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA messaging FROM PUBLIC, :command, :query;
REVOKE ALL ON ALL ROUTINES IN SCHEMA messaging FROM PUBLIC, :command, :query;

GRANT USAGE ON SCHEMA messaging TO :command, :query;
GRANT EXECUTE ON FUNCTION messaging.handled, messaging.first_id, messaging.remember, messaging.publish, messaging.maintain, messaging.withdraw_announced, messaging.prune, messaging.oldest_transaction, messaging.oldest_snapshot,
  messaging.park, messaging.waiting, messaging.waiting_since, messaging.unpark, messaging.parked_state, messaging.give_up_parked,
  messaging.begin_consumer, messaging.unremembered TO :command;
GRANT SELECT ON messaging.forgotten, messaging.partition TO :command;
GRANT SELECT, INSERT ON messaging.consumer TO :command;
GRANT SELECT, INSERT ON messaging.outbox, messaging.outbox_dead TO :command;
GRANT SELECT, INSERT, UPDATE ON messaging.parked, messaging.dead_letter TO :command;
GRANT SELECT, UPDATE ON messaging.relay_cursor TO :command;
-- DELETE: an event that must be tried again gives its inbox row back.
GRANT SELECT, INSERT, DELETE ON messaging.inbox TO :command;
-- The timeline of an order.
GRANT SELECT ON messaging.outbox, messaging.outbox_dead, messaging.parked TO :query;
GRANT EXECUTE ON FUNCTION messaging.dead_letters TO :query;
