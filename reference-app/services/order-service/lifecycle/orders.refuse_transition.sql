-- For every writer: no status except by the table of transitions, and never without a new version.
CREATE OR REPLACE FUNCTION orders.refuse_transition() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'Order % cannot go from % to %', OLD.order_id, OLD.status, NEW.status USING ERRCODE = 'restrict_violation';
END $$;
CREATE OR REPLACE TRIGGER orders_transition BEFORE UPDATE OF status ON orders.orders FOR EACH ROW
  WHEN (NOT orders.is_transition(OLD.status, NEW.status) OR NEW.version <> OLD.version + 1) EXECUTE FUNCTION orders.refuse_transition();
