import type { ClientBase } from 'pg';
import Type, { type Static } from 'typebox';
import { Value } from 'typebox/value';
import { Sku } from '../shared/events/index.ts';

const Catalog = Type.Array(Type.Object({
  sku: Sku,
  name: Type.String({ minLength: 1, maxLength: 200 }),
  onHand: Type.Integer({ minimum: 0, maximum: 1_000_000_000 }),
}));
export type Catalog = Static<typeof Catalog>;

export function parseCatalog(json: unknown): Catalog {
  const [error] = Value.Errors(Catalog, json);
  if (error) throw new Error(`The seed file is wrong at ${error.instancePath || '/'}: ${error.message}. It holds [{"sku", "name", "onHand"}].`);
  return json as Catalog;
}

/** Receives the first stock of products that are not there yet; what is there stays as it is. Returns how many were new. */
export async function seedCatalog(client: ClientBase, catalog: Catalog): Promise<number> {
  const { rowCount } = await client.query(
    `WITH catalog AS (
       SELECT DISTINCT ON (sku) * FROM unnest($1::text[], $2::text[], $3::int[]) AS c (sku, name, on_hand)
     ), product AS (
       INSERT INTO inventory.product (sku, name) SELECT sku, name FROM catalog ORDER BY sku ON CONFLICT (sku) DO NOTHING RETURNING sku
     ), stock AS (
       INSERT INTO inventory.stock_level (sku, on_hand) SELECT sku, on_hand FROM catalog JOIN product USING (sku)
       RETURNING sku, location, on_hand
     )
     INSERT INTO inventory.ledger (sku, location, type, delta_on_hand, delta_reserved)
     SELECT sku, location, 'RECEIPT', on_hand, 0 FROM stock`,
    [catalog.map(({ sku }) => sku), catalog.map(({ name }) => name), catalog.map(({ onHand }) => onHand)],
  );
  return rowCount ?? 0;
}
