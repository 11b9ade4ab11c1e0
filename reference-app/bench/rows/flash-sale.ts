import { inventoryHandler } from '../../services/inventory-service/handler.ts';
import type { Context, Row } from '../context.ts';
import { assertInvariants, InvariantError } from '../invariants.ts';
import { batches, confirmedEvent, skuName, stockUp, validatedEvent, type Order } from '../load.ts';
import { newId } from '../../services/shared/events/index.ts';
import { number } from '../report.ts';
import { commandPool, warm } from '../server.ts';
import { handleBatch, work } from '../stages.ts';
import { summarize } from '../statistics.ts';

const UNITS = 20_000;
const ORDERS = 100_000;
const DUPLICATES = 0.05;
/** How far a message may be from its place. */
const REORDERED = 2_000;
const WORKERS = 4;
const BATCH = 500;

/** 100,000 orders want one piece each of 20,000; some messages come twice, and none in its place. */
export async function flashSale(context: Context, run: number): Promise<{ sold: number; seconds: number }> {
  const server = await context.server();
  const database = await server.database('bench_flash_sale');
  const pool = commandPool(database.target, WORKERS);
  try {
    await stockUp(database.admin, 1, UNITS);
    await warm(pool, WORKERS);
    const orders: Order[] = Array.from({ length: ORDERS }, () => ({ orderId: newId(), customerId: 'customer', items: [{ sku: skuName(0), quantity: 1 }] }));
    const events = orders.map(validatedEvent);
    const messages = events.flatMap((event) => (context.random() < DUPLICATES ? [event, event] : [event]))
      .map((event, at) => ({ event, at: at + context.random() * REORDERED })).sort((a, b) => a.at - b.at).map(({ event }) => event);
    // A batch holds a message once, as the consumer sees to it.
    const pieces = batches(messages, BATCH).map((batch) => [...new Map(batch.map((event) => [event.id, event])).values()]);
    const { seconds } = await work(pieces, { workers: WORKERS }, (batch) => handleBatch(inventoryHandler, batch, pool));
    const { rows } = await database.admin.query<{ order_id: string }>(`SELECT document_id AS order_id FROM inventory.ledger WHERE type = 'RESERVE'`);
    const confirmations = rows.map(({ order_id }) => confirmedEvent({ orderId: order_id, customerId: 'customer', items: [] }));
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
  title: 'Twelve flash sales',
  async run(context) {
    const runs = [];
    for (let run = 1; run <= 12; run++) {
      context.progress(`flash sale ${run} of 12`);
      runs.push(await flashSale(context, run));
    }
    const rates = summarize(runs.map(({ seconds }) => ORDERS / seconds));
    return {
      figures: [{
        id: 'flash-sale', name: `flash sales of ${number(UNITS)} pieces, ${number(ORDERS)} orders, 5 % of the messages twice, reordered, that sold exactly ${number(UNITS)}`, naive: '–',
        value: runs.filter(({ sold }) => sold === UNITS).length, text: `${runs.filter(({ sold }) => sold === UNITS).length} of 12, ${number(rates.median)} orders/s`,
        must: { at: 12, better: 'more', text: '12 of 12' },
      }],
      raw: { runs },
    };
  },
};
