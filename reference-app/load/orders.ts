import { readFileSync } from 'node:fs';
import { seeded } from './random.ts';

/** A body of POST /orders, in either style of the API. */
export type OrderBody = Readonly<Record<string, unknown>>;

export interface PlannedOrder {
  readonly body: OrderBody;
  /** The expected end if the stock is that of the catalogue; `EITHER` when it competes with another order for the last item. */
  readonly expect: 'CONFIRMED' | 'REJECTED' | 'EITHER';
}

export interface Product {
  readonly sku: string;
  readonly name: string;
  readonly onHand: number;
}

const DATA = new URL('../data/', import.meta.url);

export function readCatalog(): Product[] {
  return JSON.parse(readFileSync(new URL('catalog.json', DATA), 'utf8')) as Product[];
}

export function readSampleOrders(): PlannedOrder[] {
  const samples = JSON.parse(readFileSync(new URL('orders.json', DATA), 'utf8')) as { expect: PlannedOrder['expect']; order: OrderBody }[];
  return samples.map(({ expect, order }) => ({ expect, body: order }));
}

/** Above anything in stock, and still a valid quantity. */
const TOO_MUCH = 10_000;
const BULK_SHARE = 0.04;

/**
 * `count` random orders, the same for the same seed: one to four products, the first ones of the catalogue much more often than the last
 * ones (as sales are), and one in 25 that no stock can fill.
 */
export function* randomOrders(count: number, seed: number, catalog: readonly Product[] = readCatalog()): Generator<PlannedOrder> {
  const random = seeded(seed);
  const upTo = (n: number) => 1 + Math.floor(random() * n);
  const popular = catalog.filter(({ onHand }) => onHand > 100);
  const scarce = catalog.filter(({ onHand }) => onHand <= 100);
  const stock = new Map(catalog.map(({ sku, onHand }) => [sku, onHand]));
  for (let n = 0; n < count; n++) {
    const skus = new Set<string>();
    for (let line = upTo(3); line > 0; line--) {
      const shelf = (random() < 0.02 && scarce.length > 0) || popular.length === 0 ? scarce : popular;
      // The square makes the head of the list popular: half of the lines fall on a quarter of the products.
      skus.add(shelf[Math.floor(random() ** 2 * shelf.length)]!.sku);
    }
    const items = [...skus].map((sku) => ({ sku, quantity: random() < 0.7 ? 1 : upTo(4) }));
    if (random() < BULK_SHARE) items[0]!.quantity = TOO_MUCH;
    const customerId = `cust-${100 + Math.floor(random() * 900)}`;
    const body = random() < 0.1
      ? { customer_id: customerId, items: items.map(({ sku, quantity }) => ({ product_id: sku, quantity })) }
      : { customerId, items };
    yield { body, expect: items.some(({ sku, quantity }) => quantity > stock.get(sku)!) ? 'REJECTED' : 'EITHER' };
  }
}
