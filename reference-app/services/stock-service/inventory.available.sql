-- Of each SKU, over all locations; those that are nowhere are left out.
CREATE OR REPLACE FUNCTION inventory.available(p_skus text[], OUT skus text[], OUT available int[])
LANGUAGE plpgsql STABLE SET enable_seqscan = off SET enable_bitmapscan = off AS $$
BEGIN
  SELECT array_agg(s.sku), array_agg(s.available) INTO skus, available
  FROM (SELECT l.sku, sum(l.on_hand - l.reserved)::int AS available FROM inventory.stock_level l WHERE l.sku = ANY (p_skus) GROUP BY l.sku) AS s;
END $$;
