-- Something to order. Delete this file before the first deployment.
INSERT INTO stock (sku, on_hand) VALUES ('SKU-1', 100), ('SKU-2', 10), ('SKU-3', 0);
