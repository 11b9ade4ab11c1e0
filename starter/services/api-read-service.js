// Shows orders and stock: GET /orders/<id>, GET /stock/<sku>. It uses a reader, which is some milliseconds behind the writer.
import { connect, problem, run } from './shared.js';

const pool = await connect('READER');

const STATEMENTS = {
  orders: 'SELECT id AS "orderId", customer_id AS "customerId", items, status, created_at AS "createdAt" FROM orders WHERE id = $1',
  stock: 'SELECT sku, on_hand AS "onHand", reserved FROM stock WHERE sku = $1',
};

await run({
  pool,
  async answer(method, path) {
    const [, kind, id] = /^\/(orders|stock)\/([\w.-]{1,64})$/.exec(path) ?? [];
    if (method !== 'GET' || !kind) return undefined;
    const isUuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(id);
    const { rows } = kind === 'orders' && !isUuid ? { rows: [] } : await pool.query(STATEMENTS[kind], [id]);
    if (rows.length === 0) throw problem(404, `There is no ${kind} ${id}.`);
    return [200, rows[0]];
  },
});
