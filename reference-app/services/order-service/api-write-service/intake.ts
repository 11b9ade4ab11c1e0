import type { Queryable } from '../../shared/database.ts';
import { lines, numberArray, textArray, uuidArray } from '../../shared/sql-arrays.ts';

/** An order that passed validation, with everything that is stored for it. */
export interface NewOrder {
  readonly orderId: string;
  readonly customerId: string;
  readonly items: readonly { readonly sku: string; readonly quantity: number }[];
  readonly createdAt: Date;
  readonly traceparent: string;
  /** Id of the request, the cause of the order's first event. */
  readonly causeId: string;
  readonly idempotency: Idempotency | undefined;
  /** The OrderCreated event. */
  readonly event: { readonly id: string; readonly envelope: string };
}

export interface Idempotency {
  /** The owner of the key. The same key of another one is another key. */
  readonly subject: string;
  readonly key: string;
  readonly fingerprint: Buffer;
}

export type IntakeOutcome =
  | { readonly result: 'accepted'; readonly orderId: string }
  /** The key was used before for the same request: this is its order. */
  | { readonly result: 'replayed'; readonly orderId: string }
  /** The key was used before for another request. */
  | { readonly result: 'mismatch' }
  | { readonly result: 'unknown-sku'; readonly skus: readonly string[] };

const ACCEPT = {
  name: 'orders-intake',
  text: `SELECT accepted, unknown_skus, taken_keys, taken_subjects, taken_by, taken_hashes, stored
    FROM orders.intake($1::text::uuid[], $2::text::text[], $3::text::timestamptz[], $4::text::text[], $5::text::text[], $6, $7::text::uuid[], $8,
      $9::text::text[], $10::text::int[], $11::text::text[], $12::text::bytea[], $13::text::text[])`,
  /** Above the statement timeout of the server: this one is for a server that says nothing any more. */
  query_timeout: 6_000,
};

interface Answer {
  readonly accepted: boolean;
  readonly unknown_skus: string[];
  readonly taken_keys: string[] | null;
  readonly taken_subjects: string[] | null;
  readonly taken_by: string[] | null;
  readonly taken_hashes: Buffer[] | null;
  readonly stored: string[];
}

/**
 * Stores the orders and their events; answers for each, in the order given. Order ids must be unique within the call. One round trip if
 * nothing is wrong with any of them; else those with an answer are taken out and the others are sent again. An order
 * id that is stored already counts as accepted: that makes it safe to send the same orders again when the answer got lost.
 *
 * Over a pool each attempt is a transaction of its own; over a client it is part of the caller's. Throws a unique_violation
 * if another transaction takes a key of theirs at this moment: none of them is stored then, and the next call will know it.
 */
export async function acceptOrders(orders: readonly NewOrder[], db: Queryable): Promise<IntakeOutcome[]> {
  const outcomes = new Map<NewOrder, IntakeOutcome>();
  let open = orders;
  while (open.length > 0) {
    // Of several with one key the first goes; what the others are depends on it.
    const keys = new Set<string>();
    const first = open.filter(({ idempotency }) => !idempotency || (!keys.has(nameOf(idempotency)) && keys.add(nameOf(idempotency))));
    const { rows: [answer] } = await db.query<Answer>({ ...ACCEPT, values: parameters(first) });
    if (!answer) throw new Error('Intake gave no answer.');
    if (answer.accepted) {
      for (const order of first) outcomes.set(order, { result: 'accepted', orderId: order.orderId });
    } else {
      settle(first, answer, outcomes);
    }
    const left = open.filter((order) => !outcomes.has(order));
    if (!answer.accepted && left.length === open.length) throw new Error('Intake neither stored the orders nor said why not.');
    open = left;
  }
  return orders.map((order) => outcomes.get(order)!);
}

function settle(orders: readonly NewOrder[], answer: Answer, outcomes: Map<NewOrder, IntakeOutcome>): void {
  const stored = new Set(answer.stored);
  const unknown = new Set(answer.unknown_skus);
  const taken = new Map(answer.taken_keys?.map((key, i) => [
    nameOf({ key, subject: answer.taken_subjects![i]! }), { orderId: answer.taken_by![i]!, fingerprint: answer.taken_hashes![i]! },
  ]));
  for (const order of orders) {
    const owner = order.idempotency && taken.get(nameOf(order.idempotency));
    const skus = order.items.map(({ sku }) => sku).filter((sku) => unknown.has(sku));
    if (stored.has(order.orderId)) {
      outcomes.set(order, { result: 'accepted', orderId: order.orderId });
    } else if (owner) {
      outcomes.set(order, order.idempotency!.fingerprint.equals(owner.fingerprint) ? { result: 'replayed', orderId: owner.orderId } : { result: 'mismatch' });
    } else if (skus.length > 0) {
      outcomes.set(order, { result: 'unknown-sku', skus });
    }
  }
}

/** A key has no spaces. */
function nameOf({ key, subject }: Pick<Idempotency, 'key' | 'subject'>): string {
  return `${key} ${subject}`;
}

function parameters(orders: readonly NewOrder[]): string[] {
  const skus = new Set<string>();
  const keyOrders: number[] = [];
  const keys: string[] = [];
  const hashes: string[] = [];
  const subjects: string[] = [];
  orders.forEach((order, i) => {
    for (const { sku } of order.items) skus.add(sku);
    if (order.idempotency) {
      keyOrders.push(i + 1);
      keys.push(order.idempotency.key);
      subjects.push(order.idempotency.subject);
      hashes.push(`\\x${order.idempotency.fingerprint.toString('hex')}`);
    }
  });
  return [
    uuidArray(orders.map((o) => o.orderId)),
    textArray(orders.map((o) => o.customerId)),
    textArray(orders.map((o) => o.createdAt.toISOString())),
    textArray(orders.map((o) => o.traceparent)),
    textArray(orders.map((o) => o.causeId)),
    lines(orders.map((o) => JSON.stringify([...o.items].sort((a, b) => (a.sku < b.sku ? -1 : 1))))),
    uuidArray(orders.map((o) => o.event.id)),
    lines(orders.map((o) => o.event.envelope)),
    textArray([...skus]),
    numberArray(keyOrders),
    textArray(keys),
    textArray(hashes),
    textArray(subjects),
  ];
}
