CREATE OR REPLACE VIEW orders.order_line AS
  SELECT o.order_id, l.sku, l.quantity FROM orders.orders o, jsonb_to_recordset(o.items) AS l (sku text, quantity int);
