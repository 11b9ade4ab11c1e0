-- Every consumer: its own rows of the inbox, of the events that wait, and of the dead letters ("rows" in workloads.json).
GRANT USAGE ON SCHEMA messaging TO :consumers, :publishers, :"outbox-relay", :"api-read-service";
GRANT EXECUTE ON FUNCTION messaging.handled, messaging.unremembered, messaging.first_id, messaging.remember, messaging.begin_consumer,
  messaging.park, messaging.waiting, messaging.waiting_since, messaging.unpark, messaging.parked_state, messaging.give_up_parked,
  messaging.note_refused TO :consumers;
GRANT SELECT ON messaging.forgotten, messaging.partition TO :consumers;
GRANT SELECT, INSERT ON messaging.consumer, messaging.inbox TO :consumers;
GRANT SELECT, INSERT, UPDATE ON messaging.parked, messaging.dead_letter TO :consumers;
-- An event that must be tried again gives its inbox row back.
GRANT DELETE ON messaging.inbox TO :"inventory-service";

-- Who changes something says so: each the types of its own events.
GRANT EXECUTE ON FUNCTION messaging.publish TO :publishers;
GRANT INSERT ON messaging.outbox TO :publishers;

-- The fan-out has no relay.
GRANT EXECUTE ON FUNCTION messaging.maintain, messaging.withdraw_announced, messaging.prune TO :"outbox-relay", :"order-consumer";
GRANT EXECUTE ON FUNCTION messaging.oldest_transaction, messaging.oldest_snapshot TO :"outbox-relay";
GRANT SELECT ON messaging.outbox TO :"outbox-relay";
GRANT SELECT, INSERT ON messaging.outbox_dead TO :"outbox-relay";
GRANT SELECT, UPDATE ON messaging.relay_cursor TO :"outbox-relay";
GRANT SELECT (parked_at, applied_at, given_up_at) ON messaging.parked TO :"outbox-relay";

-- The timeline of an order.
GRANT SELECT ON messaging.outbox, messaging.outbox_dead, messaging.parked TO :"api-read-service";
GRANT EXECUTE ON FUNCTION messaging.dead_letters TO :"api-read-service";
