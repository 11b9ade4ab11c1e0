CREATE OR REPLACE FUNCTION inventory.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'inventory.ledger is append-only: add an entry that corrects it' USING ERRCODE = 'restrict_violation';
END $$;
CREATE OR REPLACE TRIGGER ledger_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON inventory.ledger
  FOR EACH STATEMENT EXECUTE FUNCTION inventory.refuse_change();
