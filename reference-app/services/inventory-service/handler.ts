import { Counter } from 'prom-client';
import type { PoolClient } from 'pg';
import { newEvent, newId, type EventEnvelope, type InventoryLine } from '../shared/events/index.ts';
import { transactional } from '../shared/messaging/inbox.ts';
import type { Handler, Outcome } from '../shared/messaging/handler.ts';
import { appendToOutbox } from '../shared/messaging/outbox.ts';
import { registry } from '../shared/telemetry.ts';
import { COMMIT_RESERVATIONS, LOCK_STOCK, RESERVE } from './statements.ts';

const reservations = new Counter({
  name: 'inventory_reservations_total', help: 'Reservations by result: reserved, rejected, deducted', labelNames: ['result'], registers: [registry],
});

type Validated = EventEnvelope<'inventory.validated'>;
type Confirmed = EventEnvelope<'order.confirmed'>;
type Updated = EventEnvelope<'inventory.updated'>;
interface Result { outcomes: Outcome[]; updates: Updated[] }

/** Decides on stock: StockValidated → reserved or rejected; OrderConfirmed → deducted. Each answers InventoryUpdated. */
export const inventoryHandler: Handler<'inventory.validated' | 'order.confirmed'> = transactional<'inventory.validated' | 'order.confirmed'>({
  name: 'inventory-service',
  types: ['inventory.validated', 'order.confirmed'],
  async handle(events, tx) {
    const validated = events.filter((event) => event.type === 'inventory.validated');
    const confirmed = events.filter((event) => event.type === 'order.confirmed');
    if (validated.length > 0 && confirmed.length > 0) {
      await tx.query({ ...LOCK_STOCK, values: [[...skusOf(validated)], confirmed.map(({ data }) => data.orderId)] });
    }
    const results = [await reserve(validated, tx), await deduct(confirmed, tx)];
    await appendToOutbox(tx, results.flatMap(({ updates }) => updates));
    return results.flatMap(({ outcomes }) => outcomes);
  },
});

/** Whatever the advice says, the writer decides; the advice is only a copy of the order's lines here. */
async function reserve(events: readonly Validated[], tx: PoolClient): Promise<Result> {
  const { first, repeated } = firstPerOrder(events);
  if (first.length === 0) return { outcomes: repeated, updates: [] };
  const orders = first.map((event) => ({ event, reservationId: newId(), lines: linesOf(event) }));
  const skus = [...skusOf(first)];
  const index = new Map(skus.map((sku, i) => [sku, i + 1]));
  const lines = orders.flatMap((order, i) => order.lines.map((line) => ({ order: i + 1, sku: index.get(line.sku)!, quantity: line.quantity })));
  const { rows: [decided] } = await tx.query<{ verdicts: number[]; line_on_hand: number[]; line_reserved: number[] }>({
    ...RESERVE,
    values: [
      orders.map(({ event }) => event.data.orderId), orders.map(({ reservationId }) => reservationId), orders.map(({ event }) => event.id),
      skus, lines.map(({ order }) => order), lines.map(({ sku }) => sku), lines.map(({ quantity }) => quantity),
    ],
  });
  const { verdicts, line_on_hand: onHand, line_reserved: reserved } = decided!;

  const outcomes: Outcome[] = repeated;
  const updates: Updated[] = [];
  let line = 0;
  orders.forEach(({ event, reservationId, lines: wanted }, i) => {
    const levels = wanted.map(({ sku, quantity }) => {
      const level = { sku, quantity, onHand: onHand[line]!, reserved: reserved[line]! };
      line++;
      return level;
    });
    if (verdicts[i] === 0) {
      outcomes.push({ eventId: event.id, result: 'duplicate', reason: 'the order was decided before' });
      return;
    }
    const isReserved = verdicts[i] === 1;
    outcomes.push({ eventId: event.id, result: 'ok', committed: () => reservations.inc({ result: isReserved ? 'reserved' : 'rejected' }) });
    updates.push(newEvent({
      type: 'inventory.updated', source: '/inventory-service', subject: event.data.orderId, sequence: 1, cause: event,
      data: {
        orderId: event.data.orderId,
        reservationId,
        outcome: isReserved ? 'RESERVED' : 'REJECTED',
        lines: levels.map((level) => ({ ...level, deltaOnHand: 0, deltaReserved: isReserved ? level.quantity : 0 })),
        shortages: isReserved ? [] : levels
          .filter((level) => level.onHand - level.reserved < level.quantity)
          .map((level) => ({ sku: level.sku, requested: level.quantity, available: level.onHand - level.reserved })),
      },
    }));
  });
  return { outcomes, updates };
}

async function deduct(events: readonly Confirmed[], tx: PoolClient): Promise<Result> {
  const { first, repeated } = firstPerOrder(events);
  if (first.length === 0) return { outcomes: repeated, updates: [] };
  const { rows } = await tx.query<{
    order_id: string; reservation_id: string; state: string; version: number; sku: string; quantity: number; on_hand: number; reserved: number;
  }>({ ...COMMIT_RESERVATIONS, values: [first.map(({ data }) => data.orderId), first.map(({ id }) => id)] });
  const byOrder = Map.groupBy(rows, (row) => row.order_id);

  const outcomes: Outcome[] = repeated;
  const updates: Updated[] = [];
  for (const event of first) {
    const { orderId } = event.data;
    const levels = byOrder.get(orderId.toLowerCase()) ?? [];
    const reservation = levels[0];
    if (!reservation) {
      outcomes.push({ eventId: event.id, result: 'retry', reason: 'the reservation of the order is not there yet' });
    } else if (reservation.state === 'COMMITTED') {
      outcomes.push({ eventId: event.id, result: 'duplicate', reason: 'the stock was deducted before' });
    } else if (reservation.state !== 'HELD') {
      outcomes.push({ eventId: event.id, result: 'ignored', reason: `the reservation is ${reservation.state}` });
    } else {
      outcomes.push({ eventId: event.id, result: 'ok', committed: () => reservations.inc({ result: 'deducted' }) });
      updates.push(newEvent({
        type: 'inventory.updated', source: '/inventory-service', subject: orderId, sequence: reservation.version, cause: event,
        data: {
          orderId,
          reservationId: reservation.reservation_id,
          outcome: 'DEDUCTED',
          lines: levels.map((level): InventoryLine => ({
            sku: level.sku, quantity: level.quantity, deltaOnHand: -level.quantity, deltaReserved: -level.quantity, onHand: level.on_hand, reserved: level.reserved,
          })),
          shortages: [],
        },
      }));
    }
  }
  return { outcomes, updates };
}

/** The inbox knows event ids; two events with different ids may still be about the same order, and the first counts. */
function firstPerOrder<E extends Validated | Confirmed>(events: readonly E[]): { first: E[]; repeated: Outcome[] } {
  const byOrder = new Map<string, E>();
  const repeated: Outcome[] = [];
  for (const event of events) {
    const orderId = event.data.orderId.toLowerCase();
    if (byOrder.has(orderId)) {
      repeated.push({ eventId: event.id, result: 'duplicate', reason: 'the order stands twice in the batch' });
    } else {
      byOrder.set(orderId, event);
    }
  }
  return { first: [...byOrder.values()], repeated };
}

/** Quantities added up per SKU, since two lines that fit one by one may not fit together. */
function linesOf(event: Validated): { sku: string; quantity: number }[] {
  const quantities = new Map<string, number>();
  for (const { sku, requested } of event.data.lines) quantities.set(sku, (quantities.get(sku) ?? 0) + requested);
  return [...quantities].sort(([a], [b]) => (a < b ? -1 : 1)).map(([sku, quantity]) => ({ sku, quantity }));
}

function skusOf(events: readonly Validated[]): Set<string> {
  return new Set(events.flatMap(({ data }) => data.lines.map(({ sku }) => sku)).sort());
}
