-- Messages that a consumer did not believe, for an operator. Whoever wrote them may have named any event and any order, so nothing here belongs to
-- one: no timeline, no sweep and no parked event looks at it. The message itself is in the dead-letter queue of the consumer.
CREATE TABLE messaging.refused (
  consumer   text        NOT NULL COLLATE "C",
  -- The queue's own id of the message.
  message_id text        NOT NULL COLLATE "C",
  cause      text        NOT NULL,
  error      text        NOT NULL,
  -- What the message says of itself, JSON of printable ASCII.
  claims     text        NOT NULL,
  at         timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (consumer, message_id)
);
CREATE INDEX refused_at ON messaging.refused (at);
