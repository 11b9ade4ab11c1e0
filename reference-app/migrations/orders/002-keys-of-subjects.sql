-- Idempotency keys belong to who sends the request. Keys of before, and of programs of the version before, have no subject.
ALTER TABLE orders.idempotency_key ADD COLUMN subject text NOT NULL DEFAULT '';
