import { setTimeout as sleep } from 'node:timers/promises';
import type { Pool, Queryable } from '../shared/database.ts';
import { newEvent, type EventEnvelope, type OrderCreated, type StockLine } from '../shared/events/index.ts';
import type { Handler } from '../shared/messaging/handler.ts';
import { handledBefore, isYoung, writeAnswers } from '../shared/messaging/inbox.ts';
import { arrayOf, textArray } from '../shared/sql-arrays.ts';
import type { Logger } from '../shared/telemetry.ts';

const AVAILABLE = {
  name: 'stock-available',
  text: 'SELECT skus::text, available::text FROM inventory.available($1::text::text[])',
};

const NAME = 'stock-service';

interface Stock {
  readonly available: ReadonlyMap<string, number>;
  readonly asOf: Date;
}

export interface StockHandlerOptions {
  /** The database from which stock is read; it may lag, since the answer is only advice. */
  readonly reader: Pool;
  /** Asked when the reader does not answer in time, so that advice never holds up an order. */
  readonly writer: Pool;
  readonly logger: Logger;
  /** @default 1 s */
  readonly readerTimeoutMs?: number;
  /** A reader that did not answer is asked again after this; until then no batch waits for it. @default 5 s */
  readonly readerRestMs?: number;
}

/** OrderCreated → StockValidated: says early whether the stock is probably enough. */
export function createStockHandler({
  reader, writer, logger, readerTimeoutMs = 1_000, readerRestMs = 5_000,
}: StockHandlerOptions): Handler<'order.created'> {
  let readerAnswers = true;
  let nextTry = 0;

  async function readStock(events: readonly EventEnvelope<'order.created'>[]): Promise<Stock> {
    const wanted = new Set<string>();
    for (const { data: { items } } of events) for (const { sku } of items) wanted.add(sku);
    const skus = textArray([...wanted]);
    const asOf = new Date();
    if (!readerAnswers) {
      if (Date.now() < nextTry) return { available: await availableIn(writer, skus), asOf };
      // One batch tries; those beside it go on with the writer.
      nextTry = Date.now() + readerRestMs;
    }
    try {
      const stock = await Promise.race([
        availableIn(reader, skus),
        sleep(readerTimeoutMs, undefined, { ref: false }).then(() => Promise.reject(new Error(`no answer within ${readerTimeoutMs} ms`))),
      ]);
      if (!readerAnswers) logger.info('the reader answers again');
      readerAnswers = true;
      return { available: stock, asOf };
    } catch (error) {
      if (readerAnswers) logger.warn({ err: error }, 'the reader does not answer; reading stock from the writer');
      readerAnswers = false;
      nextTry = Date.now() + readerRestMs;
      return { available: await availableIn(writer, skus), asOf: new Date() };
    }
  }

  return {
    name: NAME,
    types: ['order.created'],
    async handle(events, pool) {
      const { available, asOf } = await readStock(events);
      const time = asOf.toISOString();
      const write = (fresh: typeof events) => writeAnswers(
        NAME, fresh, fresh.map((event) => validated(event, linesOf(event.data, available), time)), pool);
      // Nearly all are new. The write itself fails if one of them was handled before, unless that is longer ago than the inbox remembers.
      if (events.every(({ id }) => isYoung(id)) && await succeeds(write(events))) return events.map(({ id }) => ({ eventId: id, result: 'ok' }));
      const known = await handledBefore(NAME, events, pool);
      await write(events.filter(({ id }) => !known.has(id)));
      return events.map(({ id }) => ({ eventId: id, result: known.has(id) ? 'duplicate' : 'ok' }));
    },
  };
}

/** False if an event was handled before. */
async function succeeds(write: Promise<void>): Promise<boolean> {
  try {
    await write;
    return true;
  } catch (error) {
    if ((error as { code?: unknown }).code !== '23505') throw error;
    return false;
  }
}

function validated(event: EventEnvelope<'order.created'>, lines: StockLine[], asOf: string): EventEnvelope<'inventory.validated'> {
  const { orderId } = event.data;
  return newEvent({
    type: 'inventory.validated',
    source: '/stock-service',
    subject: orderId,
    // Of the version of the order that was checked.
    sequence: event.sequence,
    data: { orderId, lines, sufficient: lines.every(({ requested, available }) => requested <= available), asOf },
    cause: event,
  });
}

async function availableIn(database: Queryable, skus: string): Promise<Map<string, number>> {
  const { rows: [row] } = await database.query<{ skus: string | null; available: string | null }>({ ...AVAILABLE, values: [skus] });
  const available = arrayOf(row!.available);
  return new Map(arrayOf(row!.skus).map((sku, i) => [sku, Number(available[i])]));
}

/** One line per SKU, in sorted order. */
function linesOf({ items }: OrderCreated, available: ReadonlyMap<string, number>): StockLine[] {
  const requested = new Map<string, number>();
  for (const { sku, quantity } of items) requested.set(sku, (requested.get(sku) ?? 0) + quantity);
  return [...requested].sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([sku, quantity]) => ({ sku, requested: quantity, available: available.get(sku) ?? 0 }));
}
