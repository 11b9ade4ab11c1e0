// Accepts orders: POST /orders {"customerId": "cust-1", "items": [{"sku": "SKU-1", "quantity": 2}]}
import { randomUUID } from 'node:crypto';
import { connect, problem, publish, run, transaction } from './shared.js';

const pool = await connect();

await run({
  pool,
  async answer(method, path, body) {
    if (method !== 'POST' || path !== '/orders') return undefined;
    check(body);
    const orderId = randomUUID();
    const { customerId, items } = body;
    // State and event in one transaction: no order without its event, no event without its order.
    await transaction(pool, async (tx) => {
      await tx.query('INSERT INTO orders (id, customer_id, items) VALUES ($1, $2, $3)', [orderId, customerId, JSON.stringify(items)]);
      await publish(tx, { type: 'order.created', orderId, version: 1, data: { customerId, items, createdAt: new Date().toISOString() } });
    });
    // 202: accepted, not decided yet. GET /orders/<id> of the read API shows the decision.
    return [202, { orderId, status: 'PENDING' }];
  },
});

/** The limits keep an event small: ten of the largest fit into one PutEvents call of 256 KB. */
function check(body) {
  const { customerId, items } = body ?? {};
  const name = (value, pattern) => typeof value === 'string' && pattern.test(value);
  if (!name(customerId, /^[\w.-]{1,64}$/)) throw problem(400, 'customerId must be 1 to 64 letters, digits, dots, underscores or hyphens.');
  if (!Array.isArray(items) || items.length < 1 || items.length > 100) throw problem(400, 'items must be a list of 1 to 100 items.');
  for (const item of items) {
    if (!name(item?.sku, /^[\w.-]{1,64}$/)) throw problem(400, 'sku must be 1 to 64 letters, digits, dots, underscores or hyphens.');
    if (!Number.isInteger(item.quantity) || item.quantity < 1 || item.quantity > 10_000) throw problem(400, 'quantity must be 1 to 10000.');
  }
  if (new Set(items.map(({ sku }) => sku)).size < items.length) throw problem(400, 'Each sku may be in the list only once.');
}
