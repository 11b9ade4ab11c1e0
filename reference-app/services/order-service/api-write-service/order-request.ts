import { createHash } from 'node:crypto';
import { setImmediate as immediate } from 'node:timers/promises';
import Type from 'typebox';
import type { Caller } from '../../shared/http/caller.ts';
import { invalid, invalidFields, Problem } from '../../shared/http/problem.ts';
import { textPattern } from '../../shared/http/text.ts';
import { parser } from '../../shared/http/validation.ts';

/** Names of the fields: ours, or those of clients that were written for snake case. The answer uses the client's. */
export type Style = 'camel' | 'snake';

export interface OrderRequest {
  readonly style: Style;
  readonly customerId: string;
  readonly items: readonly { readonly sku: string; readonly quantity: number }[];
}

const CUSTOMER_RULE = 'text of 1 to 64 visible characters, without spaces at its ends';
const customerId = Type.String({
  description: CUSTOMER_RULE,
  pattern: textPattern(64),
});
const sku = Type.String({
  description: 'text of 1 to 64 letters, digits, dots, underscores or hyphens',
  pattern: '^[A-Za-z0-9._\\-]{1,64}$',
});
const quantity = Type.Integer({ description: 'a whole number from 1 to 10000', minimum: 1, maximum: 10_000 });

const items = { description: 'a list of 1 to 100 items', minItems: 1, maxItems: 100 };
const closed = { additionalProperties: false };

const CompleteCamelOrder = Type.Object({
  customerId,
  items: Type.Array(Type.Object({ sku, quantity }, { ...closed, description: 'an object with sku and quantity' }), items),
}, { ...closed, description: 'a JSON object with customerId and items' });

const CompleteSnakeOrder = Type.Object({
  customer_id: customerId,
  items: Type.Array(
    Type.Object({ product_id: sku, quantity }, { ...closed, description: 'an object with product_id and quantity' }), items),
}, { ...closed, description: 'a JSON object with customer_id and items' });

/** The field as clients send it, since the token of a customer has it. */
const ownCustomerId = Type.Optional(Type.String({
  ...customerId, description: `${CUSTOMER_RULE}; a customer can leave it out, and can give no other than the one of its token`,
}));
export const CamelOrder = Type.Object({ ...CompleteCamelOrder.properties, customerId: ownCustomerId }, {
  ...closed,
  title: 'OrderRequest',
  examples: [{ customerId: 'cust-42', items: [{ sku: 'SKU-123', quantity: 2 }] }],
});
export const SnakeOrder = Type.Object({ ...CompleteSnakeOrder.properties, customer_id: ownCustomerId }, {
  ...closed,
  title: 'OrderRequestSnake',
  examples: [{ customer_id: 'cust-42', items: [{ product_id: 'SKU-123', quantity: 2 }] }],
});

/** A merge patch of an order: only its items can be changed, and a list takes the place of the old one (RFC 7396). */
export const CamelPatch = Type.Object({ items: CamelOrder.properties.items }, { ...closed, description: 'a JSON object with items' });
export const SnakePatch = Type.Object({ items: SnakeOrder.properties.items }, { ...closed, description: 'a JSON object with items' });

export const Cancellation = Type.Object({
  reason: Type.Optional(Type.String({ description: 'text of 1 to 200 visible characters, without spaces at its ends', pattern: textPattern(200) })),
}, { ...closed, description: 'a JSON object with a reason, or nothing' });

const parseCamel = parser(CompleteCamelOrder, 'body');
const parseSnake = parser(CompleteSnakeOrder, 'body');

/**
 * An order of the caller's customer, or of the one that the body names. Throws a `validation` problem that names every wrong field in the
 * client's own style.
 */
export function parseOrderRequest(body: unknown, caller: Pick<Caller, 'customerId'>): OrderRequest {
  const style = styleOf(body);
  const field = style === 'snake' ? 'customer_id' : 'customerId';
  const complete = caller.customerId !== undefined && typeof body === 'object' && body !== null ? { [field]: caller.customerId, ...body } : body;
  const request = style === 'snake' ? fromSnake(complete) : { style, ...parseCamel(complete) };
  if (caller.customerId !== undefined && request.customerId !== caller.customerId) {
    throw invalid(field, 'must be the customer of the token; leave it out, or send the token of that customer');
  }
  refuseHalves(field, request.customerId, CUSTOMER_RULE);
  refuseDuplicates(request);
  return request;
}

/** A pattern cannot say it: half a character is one that cannot even be written into a JSON document. */
function refuseHalves(field: string, text: string, rule: string): void {
  if (!text.isWellFormed()) throw invalid(field, `must be ${rule}`);
}

function styleOf(body: unknown): Style {
  if (typeof body !== 'object' || body === null) return 'camel';
  if ('customerId' in body) return 'camel';
  if ('customer_id' in body) return 'snake';
  const first: unknown = 'items' in body && Array.isArray(body.items) ? body.items[0] : undefined;
  return typeof first === 'object' && first !== null && 'product_id' in first ? 'snake' : 'camel';
}

function fromSnake(body: unknown): OrderRequest {
  const order = parseSnake(body);
  return {
    style: 'snake',
    customerId: order.customer_id,
    items: order.items.map((item) => ({ sku: item.product_id, quantity: item.quantity })),
  };
}

function refuseDuplicates({ style, items: lines }: Pick<OrderRequest, 'style' | 'items'>): void {
  const first = new Map<string, number>();
  const errors = lines.flatMap((line, n) => {
    const before = first.get(line.sku);
    if (before === undefined) {
      first.set(line.sku, n);
      return [];
    }
    const message = `is the same as ${skuField(style, before)}; order a SKU once, with the sum of its quantities`;
    return [{ field: skuField(style, n), message }];
  });
  if (errors.length > 0) throw invalidFields(errors);
}

export function skuField(style: Style, n: number): string {
  return `items[${n}].${style === 'snake' ? 'product_id' : 'sku'}`;
}

const parseCamelPatch = parser(CamelPatch, 'body');
const parseSnakePatch = parser(SnakePatch, 'body');
const parseReason = parser(Cancellation, 'body');

/** The items that the order shall have. */
export function parsePatch(body: unknown): Pick<OrderRequest, 'style' | 'items'> {
  const request = styleOf(body) === 'snake'
    ? { style: 'snake' as const, items: parseSnakePatch(body).items.map((item) => ({ sku: item.product_id, quantity: item.quantity })) }
    : { style: 'camel' as const, items: parseCamelPatch(body).items };
  refuseDuplicates(request);
  return request;
}

export function parseCancellation(body: unknown): string {
  const { reason = NO_REASON } = body === undefined || body === null ? {} : parseReason(body);
  refuseHalves('reason', reason, 'text of whole characters');
  return reason;
}

const NO_REASON = 'CUSTOMER_REQUEST';

/** The versions that a command may be about: undefined for whatever it is now, `*`. */
export function parseIfMatch(header: string | undefined): ReadonlySet<number> | undefined {
  if (header === undefined || header.trim() === '') {
    const message = 'is missing; send the ETag of the last answer about the order, or * for whatever it is now';
    throw new Problem('precondition-required', `If-Match ${message}`, { errors: [{ field: 'If-Match', message }] });
  }
  if (header.trim() === '*') return undefined;
  const tags = header.split(',').map((tag) => tag.trim());
  if (!tags.every((tag) => /^(W\/)?"[\x21\x23-\x7e]*"$/.test(tag))) {
    throw invalid('If-Match', 'must be the ETag of an answer about the order, with its quotes, for example "1"');
  }
  // Others, weak ones too, match no version.
  return new Set(tags.filter((tag) => /^"[1-9]\d{0,8}"$/.test(tag)).map((tag) => Number(tag.slice(1, -1))));
}

/** The fingerprint of a command: the same key may not be used for another order or another change. */
export function commandFingerprint(orderId: string, command: unknown): Buffer {
  return createHash('sha256').update(JSON.stringify([orderId, command])).digest();
}

export function unknownSkuProblem(
  named: readonly { readonly sku: string }[], unknown: readonly string[], field: (n: number) => string,
): Problem {
  const errors = named.flatMap(({ sku: name }, n) => (unknown.includes(name)
    ? [{ field: field(n), message: `names "${name}", which is not in the catalogue; use a SKU that GET /inventory/{sku} knows` }]
    : []));
  return new Problem('unknown-sku', errors.map((e) => `${e.field} ${e.message}`).join('; '), { errors });
}

/** Says whether two requests ask for the same, whatever their white space, order of fields or style. */
export function fingerprint({ customerId: customer, items: lines }: OrderRequest): Buffer {
  return createHash('sha256').update(JSON.stringify([customer, lines.map((line) => [line.sku, line.quantity])])).digest();
}

export const BATCH_LIMIT = 500;

/** The entries of `{"orders": […]}`, not looked at yet: what is wrong with one is its own outcome. */
export function parseBatch(body: unknown): readonly unknown[] {
  const orders = typeof body === 'object' && body !== null && !Array.isArray(body) ? (body as Record<string, unknown>).orders : undefined;
  if (!Array.isArray(orders) || orders.length < 1 || orders.length > BATCH_LIMIT) {
    throw invalid('orders', `must be a list of 1 to ${BATCH_LIMIT} orders${Array.isArray(orders) ? `, not of ${orders.length}; send the rest in another batch` : ''}`);
  }
  const unknown = Object.keys(body as object).filter((name) => name !== 'orders');
  if (unknown.length > 0) throw invalidFields(unknown.map((name) => ({ field: name.slice(0, 64), message: 'is not a known field; remove it (known: orders)' })));
  return orders;
}

export interface BatchEntry {
  readonly order: OrderRequest;
  readonly key: string | undefined;
  readonly keyField: string;
}

/** Wrong orders between two turns of others: the search for the errors of one takes a hundred times as long as its reading. */
const REFUSED_AT_ONCE = 20;

/** The orders of a batch, or their problems. Others have their turn in between, since a batch of wrong ones takes long. */
export async function parseEntries(entries: readonly unknown[], caller: Pick<Caller, 'customerId'>): Promise<(BatchEntry | Problem)[]> {
  const parsed: (BatchEntry | Problem)[] = [];
  let refused = 0;
  for (const entry of entries) {
    try {
      parsed.push(parseEntry(entry, caller));
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      parsed.push(error);
      if (++refused % REFUSED_AT_ONCE === 0) await immediate();
    }
  }
  return parsed;
}

/** An order of a batch: as a single one, with its idempotency key beside the other fields. */
function parseEntry(entry: unknown, caller: Pick<Caller, 'customerId'>): BatchEntry {
  if (typeof entry !== 'object' || entry === null || Array.isArray(entry)) return { order: parseOrderRequest(entry, caller), key: undefined, keyField: '' };
  const { idempotencyKey, idempotency_key: snakeKey, ...body } = entry as Record<string, unknown>;
  const keyField = snakeKey === undefined ? 'idempotencyKey' : 'idempotency_key';
  const key = snakeKey ?? idempotencyKey;
  if (key !== undefined && (typeof key !== 'string' || !KEY.test(key))) throw invalid(keyField, `must be ${KEY_RULE}`);
  return { order: parseOrderRequest(body, caller), key, keyField };
}

const KEY = /^[\x21\x23-\x7e]{1,255}$/;
const KEY_RULE = 'text of 1 to 255 visible ASCII characters without space or quote, for example a UUID';
const Key = Type.Optional(Type.String({ pattern: KEY.source, description: KEY_RULE }));
export const CamelEntry = Type.Object({ ...CamelOrder.properties, idempotencyKey: Key }, { ...closed, title: 'BatchEntry' });
export const SnakeEntry = Type.Object({ ...SnakeOrder.properties, idempotency_key: Key }, { ...closed, title: 'BatchEntrySnake' });
const KEY_HEADER = /^(?:"([\x21\x23-\x7e]{1,255})"|([\x21\x23-\x7e]{1,255}))$/;
export const IdempotencyKey = Type.String({
  pattern: KEY_HEADER.source,
  description: `${KEY_RULE}; quoted or bare. The same key and order again answers with the first order, another order is refused`,
});

/** The header of draft-ietf-httpapi-idempotency-key-header: a quoted string; the bare form is what most clients send. */
export function parseIdempotencyKey(header: string | string[] | undefined): string | undefined {
  if (header === undefined) return undefined;
  const key = KEY_HEADER.exec(String(header));
  if (!key) {
    throw invalid('Idempotency-Key', 'must be given once, as 1 to 255 visible ASCII characters without space or quote, for example a UUID');
  }
  return key[1] ?? key[2];
}
