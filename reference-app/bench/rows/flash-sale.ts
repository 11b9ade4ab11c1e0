import { median } from '../../load/statistics.ts';
import { inventoryHandler } from '../../services/inventory-service/handler.ts';
import { newId } from '../../services/shared/events/index.ts';
import type { Context, Row } from '../context.ts';
import { commandPool, warm } from '../database/server.ts';
import { assertInvariants, InvariantError } from '../measure/assert-invariants.ts';
import { handleBatch, work } from '../measure/work.ts';
import { batches, confirmedEvent, skuName, stockUp, storeOrders, validatedEvent, type Order } from '../pipeline/orders.ts';
import { BATCH } from '../pipeline/reserve-variant.ts';
import { number } from '../report/results.ts';

const SALES = 12;

const UNITS = 20_000;
const ORDERS = 100_000;
const DUPLICATES = 0.05;
/** The number of places by which a message may be too late. */
const REORDERED = 2_000;
const WORKERS = 4;

/** 100,000 orders for one piece each of 20,000; some messages come twice, and few in their order. */
async function flashSale(context: Context, run: number): Promise<{ sold: number; seconds: number }> {
  const server = await context.server();
  const database = await server.database('bench_flash_sale');
  const pool = commandPool(database.location, WORKERS);
  try {
    await stockUp(database.admin, 1, UNITS);
    await warm(pool, WORKERS);
    const orders = Array.from({ length: ORDERS }, (): Order => ({ orderId: newId(), customerId: 'customer', items: [{ sku: skuName(0), quantity: 1 }] }));
    const events = orders.map(validatedEvent);
    await storeOrders(pool, events);
    const messages = events.flatMap((event) => (context.random() < DUPLICATES ? [event, event] : [event]))
      .map((event, at) => ({ event, at: at + context.random() * REORDERED })).sort((a, b) => a.at - b.at).map(({ event }) => event);
    // A batch holds a message once; the consumer ensures that.
    const pieces = batches(messages, BATCH).map((batch) => [...new Map(batch.map((event) => [event.id, event])).values()]);
    const { seconds } = await work(pieces, { workers: WORKERS }, (batch) => handleBatch(inventoryHandler, batch, pool));
    const { rows } = await database.admin.query<{ order_id: string }>('SELECT document_id AS order_id FROM inventory.ledger WHERE type = \'RESERVE\'');
    const confirmations = rows.map(({ order_id }) => confirmedEvent({ orderId: order_id, customerId: 'customer', items: [] }));
    await storeOrders(pool, confirmations);
    await work(batches(confirmations, BATCH), { workers: WORKERS }, (batch) => handleBatch(inventoryHandler, batch, pool));
    await assertInvariants(database.admin, { orders: 'none', published: false }, {
      'decisions': { sql: 'SELECT count(*) FROM inventory.ledger WHERE event_id IS NOT NULL AND version = 1 AND line = 1', value: ORDERS },
      'pieces left': { sql: 'SELECT on_hand FROM inventory.stock_level', value: 0 },
      'pieces promised': { sql: 'SELECT reserved FROM inventory.stock_level', value: 0 },
    });
    if (rows.length !== UNITS) throw new InvariantError(`flash sale ${run}: ${rows.length} pieces of ${UNITS} were sold`);
    return { sold: rows.length, seconds };
  } finally {
    await pool.end();
    await database.drop();
  }
}

export const flashSaleRow: Row = {
  name: 'flash-sale',
  title: `${SALES} flash sales`,
  async run(context) {
    const runs = [];
    for (let run = 1; run <= SALES; run++) {
      context.progress(`flash sale ${run} of ${SALES}`);
      runs.push(await flashSale(context, run));
    }
    const exact = runs.filter(({ sold }) => sold === UNITS).length;
    return {
      figures: [{
        name: `flash sales of ${number(UNITS)} pieces to ${number(ORDERS)} orders, 5 % of the messages twice, all of them shuffled: exactly ${number(UNITS)} sold`,
        measured: `${exact} of ${SALES}, ${number(median(runs.map(({ seconds }) => ORDERS / seconds)))} orders/s`,
      }],
      raw: { runs },
    };
  },
};
