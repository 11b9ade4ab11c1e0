-- When each consumer began, and how far back the inbox reached then. What is older it can't have handled before.
CREATE TABLE messaging.consumer (
  consumer       text        PRIMARY KEY COLLATE "C",
  began_at       timestamptz NOT NULL DEFAULT now(),
  -- NULL: it handled events before there was this table, so nothing is known.
  history_before timestamptz
);
-- Reads all of the inbox, so it comes before the locks of the rest.
INSERT INTO messaging.consumer (consumer) SELECT DISTINCT i.consumer FROM messaging.inbox i;

-- Events that wait are tried less and less often, and given up in the end.
ALTER TABLE messaging.parked
  ADD COLUMN tries       int         NOT NULL DEFAULT 0,
  ADD COLUMN due_at      timestamptz NOT NULL DEFAULT now() + interval '1 second',
  -- Set when it became a dead letter. It is applied all the same if its gap closes some day.
  ADD COLUMN given_up_at timestamptz;
CREATE INDEX parked_due ON messaging.parked (consumer, due_at) WHERE applied_at IS NULL AND given_up_at IS NULL;
-- How long the oldest waits is measured every second.
CREATE INDEX parked_at ON messaging.parked (parked_at) WHERE applied_at IS NULL AND given_up_at IS NULL;
