-- What the ledger says about each order now; for people and checks.
CREATE OR REPLACE VIEW inventory.reservation AS
  SELECT l.document_id AS order_id, (array_agg(l.event_id ORDER BY l.version, l.line))[1] AS reservation_id, max(l.version) AS version,
         CASE WHEN sum(l.delta_reserved) > 0 THEN 'HELD' WHEN sum(l.delta_on_hand) < 0 THEN 'COMMITTED'
              WHEN bool_or(l.type = 'RETURN') THEN 'RETURNED' WHEN bool_or(l.type = 'RESERVE') THEN 'RELEASED' ELSE 'REJECTED' END AS state,
         min(l.at) AS created_at, max(l.at) AS updated_at
  FROM inventory.ledger l WHERE l.event_id IS NOT NULL GROUP BY l.document_id;
