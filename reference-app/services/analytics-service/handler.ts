import type { EventEnvelope } from '../shared/events/index.ts';
import { transactional } from '../shared/messaging/inbox.ts';
import type { Handler } from '../shared/messaging/handler.ts';

type Counted = 'order.created' | 'order.confirmed' | 'order.rejected' | 'inventory.updated';

const ADD_ORDERS = {
  name: 'analytics-add-orders',
  text: `INSERT INTO analytics.order_minute AS t
           (minute, accepted, confirmed, rejected, units_accepted, units_confirmed, units_rejected, units_deducted, seconds_to_terminal_sum, seconds_to_terminal_max)
         SELECT date_trunc('minute', at), sum(accepted), sum(confirmed), sum(rejected), sum(units_accepted), sum(units_confirmed), sum(units_rejected),
                sum(units_deducted), sum(seconds), max(seconds)
         FROM unnest($1::timestamptz[], $2::int[], $3::int[], $4::int[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::float8[])
           AS d (at, accepted, confirmed, rejected, units_accepted, units_confirmed, units_rejected, units_deducted, seconds)
         GROUP BY 1 ORDER BY 1
         ON CONFLICT (minute) DO UPDATE SET
           accepted = t.accepted + excluded.accepted, confirmed = t.confirmed + excluded.confirmed, rejected = t.rejected + excluded.rejected,
           units_accepted = t.units_accepted + excluded.units_accepted, units_confirmed = t.units_confirmed + excluded.units_confirmed,
           units_rejected = t.units_rejected + excluded.units_rejected, units_deducted = t.units_deducted + excluded.units_deducted,
           seconds_to_terminal_sum = t.seconds_to_terminal_sum + excluded.seconds_to_terminal_sum,
           seconds_to_terminal_max = greatest(t.seconds_to_terminal_max, excluded.seconds_to_terminal_max)`,
};

const ADD_SKUS = {
  name: 'analytics-add-skus',
  text: `INSERT INTO analytics.sku_minute AS t (minute, sku, units_ordered, units_reserved, units_deducted, rejections)
         SELECT date_trunc('minute', at), sku, sum(ordered), sum(reserved), sum(deducted), sum(rejections)
         FROM unnest($1::timestamptz[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::int[]) AS d (at, sku, ordered, reserved, deducted, rejections)
         GROUP BY 1, 2 ORDER BY 1, 2
         ON CONFLICT (minute, sku) DO UPDATE SET
           units_ordered = t.units_ordered + excluded.units_ordered, units_reserved = t.units_reserved + excluded.units_reserved,
           units_deducted = t.units_deducted + excluded.units_deducted, rejections = t.rejections + excluded.rejections`,
};

/** Counts what happened, by the minute in which it happened, whenever it is heard of. */
export const analyticsHandler: Handler<Counted> = transactional<Counted>({
  name: 'analytics-service',
  types: ['order.created', 'order.confirmed', 'order.rejected', 'inventory.updated'],
  async handle(events, tx) {
    const orders = events.map(orderCounts);
    await tx.query({
      ...ADD_ORDERS,
      values: [
        events.map(({ time }) => time),
        orders.map(({ accepted }) => accepted), orders.map(({ confirmed }) => confirmed), orders.map(({ rejected }) => rejected),
        orders.map(({ unitsAccepted }) => unitsAccepted), orders.map(({ unitsConfirmed }) => unitsConfirmed), orders.map(({ unitsRejected }) => unitsRejected),
        orders.map(({ unitsDeducted }) => unitsDeducted), orders.map(({ seconds }) => seconds),
      ],
    });
    const skus = events.flatMap((event) => skuCounts(event).map((count) => ({ ...count, time: event.time })));
    if (skus.length > 0) {
      await tx.query({
        ...ADD_SKUS,
        values: [
          skus.map(({ time }) => time), skus.map(({ sku }) => sku), skus.map(({ ordered }) => ordered ?? 0), skus.map(({ reserved }) => reserved ?? 0),
          skus.map(({ deducted }) => deducted ?? 0), skus.map(({ rejections }) => rejections ?? 0),
        ],
      });
    }
    return events.map(({ id }) => ({ eventId: id, result: 'ok' }));
  },
});

const NOTHING = { accepted: 0, confirmed: 0, rejected: 0, unitsAccepted: 0, unitsConfirmed: 0, unitsRejected: 0, unitsDeducted: 0, seconds: 0 };

function orderCounts(event: EventEnvelope<Counted>): typeof NOTHING {
  switch (event.type) {
    case 'order.created': return { ...NOTHING, accepted: 1, unitsAccepted: units(event.data.items) };
    case 'order.confirmed': return { ...NOTHING, confirmed: 1, seconds: secondsBetween(event.data.createdAt, event.data.confirmedAt) };
    case 'order.rejected': return { ...NOTHING, rejected: 1, seconds: secondsBetween(event.data.createdAt, event.data.rejectedAt) };
    case 'inventory.updated': {
      // The decision on stock is the one on the order; only it knows the units.
      const count = units(event.data.lines);
      switch (event.data.outcome) {
        case 'RESERVED': return { ...NOTHING, unitsConfirmed: count };
        case 'REJECTED': return { ...NOTHING, unitsRejected: count };
        case 'DEDUCTED': return { ...NOTHING, unitsDeducted: count };
      }
    }
  }
}

interface SkuCount { sku: string; ordered?: number; reserved?: number; deducted?: number; rejections?: number }

function skuCounts(event: EventEnvelope<Counted>): SkuCount[] {
  if (event.type === 'order.created') return event.data.items.map(({ sku, quantity }) => ({ sku, ordered: quantity }));
  if (event.type !== 'inventory.updated') return [];
  switch (event.data.outcome) {
    case 'RESERVED': return event.data.lines.map(({ sku, quantity }) => ({ sku, reserved: quantity }));
    case 'DEDUCTED': return event.data.lines.map(({ sku, quantity }) => ({ sku, deducted: quantity }));
    case 'REJECTED': return event.data.shortages.map(({ sku }) => ({ sku, rejections: 1 }));
  }
}

function units(lines: readonly { quantity: number }[]): number {
  return lines.reduce((sum, { quantity }) => sum + quantity, 0);
}

function secondsBetween(from: string | undefined, to: string): number {
  return from === undefined ? 0 : Math.max(0, Date.parse(to) - Date.parse(from)) / 1000;
}
