// Each is one call of a function that a migration makes (migrations/003-inventory.sql): the rows it touches are locked
// for one round trip only.

export const RESERVE = {
  name: 'inventory-reserve',
  text: 'SELECT verdicts, line_on_hand, line_reserved FROM inventory.reserve($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::int[], $6::int[], $7::int[])',
};

export const COMMIT_RESERVATIONS = {
  name: 'inventory-commit-reservations',
  text: 'SELECT order_id, reservation_id, state, version, sku, quantity, on_hand, reserved FROM inventory.commit_reservations($1::uuid[], $2::uuid[])',
};

/** What both functions will lock, in their order, so that a batch with both kinds of event can't deadlock with another. */
export const LOCK_STOCK = {
  name: 'inventory-lock-stock',
  text: `SELECT FROM inventory.stock_level
         WHERE sku = ANY ($1::text[] || ARRAY(SELECT sku FROM inventory.reservation_line WHERE order_id = ANY ($2::uuid[])))
         ORDER BY sku, location FOR NO KEY UPDATE`,
};
