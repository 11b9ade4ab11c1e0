-- no transaction
-- Orders come in while it is built. The key is first: the subject alone finds nothing.
DROP INDEX CONCURRENTLY IF EXISTS orders.idempotency_key_key_subject;
CREATE UNIQUE INDEX CONCURRENTLY idempotency_key_key_subject ON orders.idempotency_key (key, subject);
