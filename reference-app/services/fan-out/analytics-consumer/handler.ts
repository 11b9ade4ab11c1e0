import { numberArray, textArray } from '../../shared/sql-arrays.ts';
import { inOrder, type OrderEvent } from '../in-order.ts';

const ADD = {
  name: 'analytics-consumer-add',
  text: `INSERT INTO fan_out.order_minute AS m (minute, created, updated, cancelled, units)
         SELECT * FROM unnest($1::text::timestamptz[], $2::text::bigint[], $3::text::bigint[], $4::text::bigint[], $5::text::bigint[]) AS n ORDER BY 1
         ON CONFLICT (minute) DO UPDATE SET created = m.created + excluded.created, updated = m.updated + excluded.updated,
           cancelled = m.cancelled + excluded.cancelled, units = m.units + excluded.units`,
};

interface Minute { created: number; updated: number; cancelled: number; units: number }

/** Counts what happened, by the minute in which it happened. */
export const analyticsHandler = inOrder('analytics-consumer', async (events, tx) => {
  const minutes = new Map<string, Minute>();
  for (const event of events) {
    const at = new Date(Math.floor(Date.parse(event.time) / 60_000) * 60_000).toISOString();
    const minute = minutes.get(at) ?? { created: 0, updated: 0, cancelled: 0, units: 0 };
    minutes.set(at, minute);
    count(event, minute);
  }
  const of = (read: (minute: Minute) => number) => numberArray([...minutes.values()].map(read));
  await tx.query({
    ...ADD,
    values: [
      textArray([...minutes.keys()]), of(({ created }) => created), of(({ updated }) => updated), of(({ cancelled }) => cancelled),
      of(({ units }) => units),
    ],
  });
});

function count(event: OrderEvent, minute: Minute): void {
  switch (event.type) {
    case 'order.created':
      minute.created++;
      minute.units += event.data.items.reduce((sum, { quantity }) => sum + quantity, 0);
      return;
    case 'order.updated':
      minute.updated++;
      minute.units += event.data.changed.reduce((sum, { from, to }) => sum + to - from, 0);
      return;
    case 'order.cancelled':
      minute.cancelled++;
  }
}
