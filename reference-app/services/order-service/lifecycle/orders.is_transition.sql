-- The table of transitions. Made from transitions.ts by generate.ts beside it.
-- transitions: begin
CREATE OR REPLACE FUNCTION orders.is_transition(p_from text, p_to text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  RETURN (p_from || '>' || p_to) IN (
    'PENDING>CONFIRMED',
    'PENDING>REJECTED',
    'PENDING>CANCEL_PENDING',
    'PENDING>EXPIRED',
    'CONFIRMED>UPDATE_PENDING',
    'CONFIRMED>CANCEL_PENDING',
    'UPDATE_PENDING>CONFIRMED',
    'CANCEL_PENDING>CANCELLED',
    'CANCEL_PENDING>EXPIRED',
    'CONFIRMED>FULFILLING',
    'FULFILLING>SHIPPED',
    'SHIPPED>DELIVERED',
    'DELIVERED>COMPLETED',
    'FULFILLING>FAILED',
    'SHIPPED>FAILED',
    'UPDATE_PENDING>EXPIRED');
END $$;
-- transitions: end

-- In the history too. Not in the numbered file of the table, which comes before this function.
DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conrelid = 'orders.status_change'::regclass AND c.conname = 'status_change_transition') THEN
    ALTER TABLE orders.status_change ADD CONSTRAINT status_change_transition
      CHECK (CASE WHEN from_status IS NULL THEN to_status = 'PENDING' ELSE orders.is_transition(from_status, to_status) END);
  END IF;
END $$;
