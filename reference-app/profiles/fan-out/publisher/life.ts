import { readCatalog } from '../../../load/orders.ts';
import { seeded } from '../../../load/random.ts';
import { newEvent, newId, type EventEnvelope, type OrderItem } from '../../../services/shared/events/index.ts';

/** The life of one order: it is created, updated and cancelled. Each event is made when it is to be published, from the one before. */
export interface Life {
  readonly orderId: string;
  create(): LifeEvent;
  update(created: LifeEvent): LifeEvent;
  cancel(updated: LifeEvent): LifeEvent;
}

export type LifeEvent = EventEnvelope<'order.created' | 'order.updated' | 'order.cancelled'>;

const SOURCE = '/publisher';

/** `count` random orders; the same customers, products and quantities for the same seed, the ids are always new. */
export function* lives(count: number, seed: number): Generator<Life> {
  const random = seeded(seed);
  const upTo = (n: number) => 1 + Math.floor(random() * n);
  const skus = readCatalog().map(({ sku }) => sku);
  for (let n = 0; n < count; n++) {
    const chosen = new Set(Array.from({ length: upTo(3) }, () => skus[Math.floor(random() * skus.length)]!));
    const items = [...chosen].map((sku) => ({ sku, quantity: upTo(4) }));
    yield life(`cust-${100 + Math.floor(random() * 900)}`, items, upTo(3));
  }
}

/** The update orders `more` pieces of the first product. */
function life(customerId: string, old: readonly OrderItem[], more: number): Life {
  const orderId = newId();
  const items = [...old];
  const [first] = old;
  const changed = { sku: first!.sku, from: first!.quantity, to: first!.quantity + more };
  const order = { source: SOURCE, subject: orderId };
  return {
    orderId,
    create: () => newEvent({
      ...order,
      type: 'order.created',
      sequence: 1,
      cause: { id: newId() },
      data: { orderId, customerId, items, createdAt: new Date().toISOString() },
    }),
    update: (created) => newEvent({
      ...order,
      type: 'order.updated',
      sequence: 2,
      previous: created.id,
      cause: created,
      data: {
        orderId,
        customerId,
        version: 2,
        old: items,
        new: items.map((item) => (item === first ? { ...item, quantity: changed.to } : item)),
        changed: [changed],
        updatedAt: new Date().toISOString(),
        createdAt: created.time,
      },
    }),
    cancel: (updated) => newEvent({
      ...order,
      type: 'order.cancelled',
      sequence: 3,
      previous: updated.id,
      cause: updated,
      data: { orderId, customerId, version: 3, reason: 'cancelled by the customer', cancelledAt: new Date().toISOString() },
    }),
  };
}
