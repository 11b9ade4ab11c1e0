-- For programs of the version before, which know neither customers nor subjects. To be deleted with the next release.
CREATE OR REPLACE FUNCTION orders.for_command(
  p_order_id uuid, p_key text, p_skus text[],
  OUT status text, OUT version int, OUT customer_id text, OUT created_at timestamptz, OUT items jsonb, OUT last_event_id uuid,
  OUT key_order_id uuid, OUT key_version int, OUT key_hash bytea, OUT unknown_skus text[])
LANGUAGE plpgsql STABLE AS $$
BEGIN
  SELECT s.* INTO status, version, customer_id, created_at, items, last_event_id, key_order_id, key_version, key_hash, unknown_skus
  FROM orders.command_state(p_order_id, p_key, p_skus, NULL, '') s;
END $$;
