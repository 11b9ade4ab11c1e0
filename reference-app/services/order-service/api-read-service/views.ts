import type { OrderRow, StockRow, TimelineRow } from './statements.ts';

/** What the API shows; rows stay free to change. */
export function orderView(row: OrderRow) {
  return {
    orderId: row.orderId,
    customerId: row.customerId,
    status: row.status,
    version: row.version,
    items: row.items,
    ...(row.reason === null ? {} : { reason: row.reason }),
    ...(row.shortages === null ? {} : { shortages: row.shortages }),
    createdAt: row.createdAt.toISOString(),
    updatedAt: row.updatedAt.toISOString(),
  };
}

export function stockView({ sku, name, onHand, reserved }: StockRow) {
  return { sku, name, onHand, reserved, available: onHand - reserved };
}

interface TimelineEntry {
  readonly at: string;
  readonly type?: string;
  readonly eventId?: string;
  readonly source?: string;
  /** The event, or for the first one the request, that led to this. */
  readonly causationId: string | null;
  /** Set where the order's status changed with this event. */
  readonly status?: { readonly from: string | null; readonly to: string; readonly version: number };
  readonly data?: Readonly<Record<string, unknown>>;
}

/** One entry per event, with the status change that it announces; a change whose event is no longer kept stands alone. */
export function timelineView(orderId: string, row: TimelineRow) {
  const open = new Map(row.changes.map((change) => [change.eventId ?? `version ${change.version}`, change]));
  const entries: TimelineEntry[] = row.events.map((event) => {
    const change = open.get(event.id);
    open.delete(event.id);
    const { orderId: _same, ...data } = event.data;
    return {
      at: event.time,
      type: event.type,
      eventId: event.id,
      source: event.source,
      causationId: event.causationid,
      ...(change ? { status: { from: change.from, to: change.to, version: change.version } } : {}),
      data,
    };
  });
  if (open.size > 0) {
    for (const { at, causeId, from, to, version } of open.values()) {
      entries.push({ at: new Date(at).toISOString(), causationId: causeId, status: { from, to, version } });
    }
    entries.sort((a, b) => Date.parse(a.at) - Date.parse(b.at));
  }
  return { orderId, status: row.status, version: row.version, entries };
}

/** The same answer for clients that speak snake_case; what we call a SKU they call a product id. */
export function toSnake(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(toSnake);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [
    key === 'sku' ? 'product_id' : key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
    toSnake(inner),
  ]));
}
