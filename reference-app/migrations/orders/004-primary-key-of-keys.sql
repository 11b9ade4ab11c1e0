-- A moment: the index is there, and its columns are never NULL.
ALTER TABLE orders.idempotency_key
  DROP CONSTRAINT idempotency_key_pkey,
  ADD CONSTRAINT idempotency_key_pkey PRIMARY KEY USING INDEX idempotency_key_key_subject;
