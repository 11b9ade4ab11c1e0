import { setTimeout as sleep } from 'node:timers/promises';
import type { Pool, Queryable } from '../shared/database.ts';
import { newEvent, type OrderCreated } from '../shared/events/index.ts';
import { transactional } from '../shared/messaging/inbox.ts';
import { appendToOutbox } from '../shared/messaging/outbox.ts';
import type { Handler } from '../shared/messaging/handler.ts';
import type { Logger } from '../shared/telemetry.ts';

const AVAILABLE = {
  name: 'stock-available',
  text: `SELECT sku, sum(on_hand - reserved)::int AS available FROM inventory.stock_level WHERE sku = ANY ($1::text[]) GROUP BY sku`,
};

interface Stock {
  readonly available: ReadonlyMap<string, number>;
  readonly asOf: Date;
}

export interface StockHandlerOptions {
  /** Where stock is read; it may lag, since the answer is only advice. */
  readonly reader: Pool;
  /** Asked when the reader does not answer in time, so that advice never holds up an order. */
  readonly writer: Pool;
  readonly logger: Logger;
  /** @default 1 s */
  readonly readerTimeoutMs?: number;
}

/** OrderCreated → StockValidated: tells early whether the stock will probably do. */
export function createStockHandler({ reader, writer, logger, readerTimeoutMs = 1_000 }: StockHandlerOptions): Handler<'order.created'> {
  let readerAnswers = true;

  async function readStock(skus: string[]): Promise<Stock> {
    const asOf = new Date();
    try {
      const stock = await Promise.race([
        available(reader, skus),
        sleep(readerTimeoutMs, undefined, { ref: false }).then(() => Promise.reject(new Error(`no answer within ${readerTimeoutMs} ms`))),
      ]);
      if (!readerAnswers) logger.info('the reader answers again');
      readerAnswers = true;
      return { available: stock, asOf };
    } catch (error) {
      if (readerAnswers) logger.warn({ err: error }, 'the reader does not answer; reading stock from the writer');
      readerAnswers = false;
      return { available: await available(writer, skus), asOf: new Date() };
    }
  }

  return transactional<'order.created', Stock>({
    name: 'stock-service',
    types: ['order.created'],
    prepare: (events) => readStock([...new Set(events.flatMap(({ data }) => data.items.map(({ sku }) => sku)))]),
    async handle(events, tx, stock) {
      await appendToOutbox(tx, events.map((event) => {
        const lines = linesOf(event.data, stock.available);
        return newEvent({
          type: 'inventory.validated',
          source: '/stock-service',
          subject: event.data.orderId,
          // Of the version of the order that was checked.
          sequence: event.sequence,
          data: {
            orderId: event.data.orderId, lines,
            sufficient: lines.every(({ requested, available }) => requested <= available),
            asOf: stock.asOf.toISOString(),
          },
          cause: event,
        });
      }));
      return events.map(({ id }) => ({ eventId: id, result: 'ok' }));
    },
  });
}

async function available(database: Queryable, skus: string[]): Promise<Map<string, number>> {
  const { rows } = await database.query<{ sku: string; available: number }>({ ...AVAILABLE, values: [skus] });
  return new Map(rows.map(({ sku, available }) => [sku, available]));
}

/** One line per SKU, in sorted order. */
function linesOf({ items }: OrderCreated, available: ReadonlyMap<string, number>) {
  const requested = new Map<string, number>();
  for (const { sku, quantity } of items) requested.set(sku, (requested.get(sku) ?? 0) + quantity);
  return [...requested].sort(([a], [b]) => (a < b ? -1 : 1)).map(([sku, quantity]) => ({ sku, requested: quantity, available: available.get(sku) ?? 0 }));
}
